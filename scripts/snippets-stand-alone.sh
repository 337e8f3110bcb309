#!/usr/bin/env bash
# Proves that every snippet stands alone: copies each into a foreign library, deep in a module, and builds it there with
# its own crates and features only, warnings denied, in editions 2021 and 2024; then runs its tests and its examples.
#
#   scripts/snippets-stand-alone.sh [NAME...]     these; without a name, all
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/require.sh
source "$root/scripts/require.sh"
require_cargo
require_compiler

foreign=$(target_directory "$root")/foreign
host=$(rustc -vV | sed -n 's/^host: //p')
cargo fetch --quiet --locked --target "$host" --manifest-path "$root/Cargo.toml"
export CARGO_NET_OFFLINE=true # The same versions as the workspace has, all fetched by now.
export CARGO_TARGET_DIR=$foreign/target CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=0
export RUSTFLAGS="-D warnings" RUSTDOCFLAGS="-D warnings"

# A library of one snippet, at $2.
settle() {
    local snippet=$1 project=$2 name=${1##*/}
    rm -rf "$project"
    mkdir -p "$project/src/deep/er"
    cat >"$project/Cargo.toml" <<END
[package]
name = "stranger"
version = "0.0.0"
edition = "2021"
publish = false

[workspace] # Its own: not a member of the one around it.
END
    cp "$root/Cargo.lock" "$project/Cargo.lock"
    echo "pub mod deep { pub mod er { pub mod $name; } }" >"$project/src/lib.rs"
    "$root/scripts/snippet.sh" add "$snippet" "$project" &&
        mv "$project/src/$name.rs" "$project/src/deep/er/$name.rs"
}

prove() {
    local snippet=$1 project=$2 edition
    settle "$snippet" "$project" || return
    for edition in 2021 2024; do
        echo "== edition $edition"
        sed -i "s/^edition = .*/edition = \"$edition\"/" "$project/Cargo.toml"
        cargo build --manifest-path "$project/Cargo.toml" || return # Without what only its tests need.
        cargo test --manifest-path "$project/Cargo.toml" || return
    done
}

snippets=("$@")
if [[ $# == 0 ]]; then
    mapfile -t snippets < <("$root/scripts/snippet.sh" list | cut -f 1)
fi
failed=()
for snippet in "${snippets[@]}"; do
    project=$foreign/${snippet//\//-}
    mkdir -p "$foreign"
    if prove "$snippet" "$project" >"$project.log" 2>&1; then
        echo "$snippet stands alone"
    else
        echo "$snippet does NOT stand alone:"
        tail -n 60 "$project.log"
        failed+=("$snippet")
    fi
done
if [[ ${#failed[@]} != 0 ]]; then
    echo "Of ${#snippets[@]} snippets these do not stand alone: ${failed[*]}"
    exit 1
fi
