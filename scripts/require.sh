# shellcheck shell=bash
# Sourced by the scripts: what they need from the machine, and where cargo puts what it builds.

# One sentence that says what to install, and the end.
require_cargo() {
    if ! cargo --version >/dev/null 2>&1; then
        echo "cargo is missing: install the Rust toolchain from https://rustup.rs and open a new shell." >&2
        exit 2
    fi
}

# Rust links with the C compiler.
require_compiler() {
    if ! command -v cc >/dev/null && ! command -v gcc >/dev/null && ! command -v clang >/dev/null; then
        echo "A C compiler is missing: install gcc or clang, for instance by 'sudo apt-get install gcc'." >&2
        exit 2
    fi
}

# The target directory of the workspace at $1, wherever the user has put it (CARGO_TARGET_DIR, cargo's configuration).
target_directory() {
    cargo metadata --manifest-path "$1/Cargo.toml" --format-version 1 --no-deps |
        sed 's/.*"target_directory":"\([^"]*\)".*/\1/'
}
