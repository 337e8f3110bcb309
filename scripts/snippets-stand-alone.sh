#!/usr/bin/env bash
# Proves that every snippet stands alone, in editions 2021 and 2024, with warnings denied: copies each into a foreign
# library, deep in a module, builds it there with its own crates and features only, and runs its tests and its examples;
# then copies all of them into a foreign program that uses of each what the example of its header uses.
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

# A project without code, at $1; $2 ends the table of its package.
empty_project() {
    rm -rf "$1"
    mkdir -p "$1/src"
    cat >"$1/Cargo.toml" <<END
[package]
name = "stranger"
version = "0.0.0"
edition = "2021"
publish = false
$2

[workspace] # Its own: not a member of the one around it.
END
    cp "$root/Cargo.lock" "$1/Cargo.lock"
}

# Runs each of the further arguments, a command of cargo's, for the project at $1, in both editions.
in_both_editions() {
    local manifest=$1/Cargo.toml edition command
    shift
    for edition in 2021 2024; do
        echo "== edition $edition"
        sed -i "s/^edition = .*/edition = \"$edition\"/" "$manifest"
        for command; do
            # shellcheck disable=SC2086 # Split into its words.
            cargo $command --manifest-path "$manifest" || return
        done
    done
}

# A library of the snippet $1, at $2. Here it must do without its leave for dead code: in a public module nothing that is
# public is dead, and so what the compiler finds is.
library() {
    local name=${1##*/}
    name=${name//-/_}
    empty_project "$2" ""
    echo "pub mod deep { pub mod er { pub mod $name; } }" >"$2/src/lib.rs"
    "$root/scripts/snippet.sh" add "$1" "$2" || return
    mkdir -p "$2/src/deep/er"
    sed '/^#!\[allow(dead_code)\]/d' "$2/src/$name.rs" >"$2/src/deep/er/$name.rs"
    rm "$2/src/$name.rs"
}

stands_alone() {
    library "$1" "$2" && in_both_editions "$2" build test # Built without what only its tests need.
}

# A program of the snippets that are the further arguments, at $1. To cargo it is one of its package's examples, which may
# use the crates that only tests and examples need; to the compiler there is no difference.
program() {
    local project=$1 snippet name module code=
    shift
    empty_project "$project" $'autobins = false\n\n[[example]]\nname = "program"\npath = "src/main.rs"'
    touch "$project/src/main.rs"
    for snippet; do
        name=${snippet##*/} module=${snippet//[\/-]/_}
        name=${name//-/_}
        "$root/scripts/snippet.sh" add "$snippet" "$project" || return
        mv --no-clobber "$project/src/$name.rs" "$project/src/$module.rs"
        code+="mod $module;"$'\n'$(examples_of "$project/src/$module.rs" "$module")$'\n\n'
    done
    echo "$code" >"$project/src/main.rs"
    {
        echo "fn main() {"
        sed -n 's/^fn \(example_[0-9]*_of_[a-z0-9_]*\)().*/    let _ = \1();/p' <<<"$code"
        echo "}"
    } >>"$project/src/main.rs"
}

# Each example in the header of the file $1 as a function that uses the module $2.
examples_of() {
    awk -v module="$2" '
        /^#!\[doc = concat!/ { inside = 1; body = ""; next }
        !/^\/\/!/ { exit }
        inside && /^\/\/! ```$/ {
            result = last ~ /^Ok::</ ? " -> Result<(), impl std::fmt::Debug>" : ""
            printf "fn example_%d_of_%s()%s {\nuse crate::%s::*;\n%s}\n", ++count, module, result, module, body
            inside = 0
        }
        inside { sub(/^\/\/! ?(# )?/, ""); body = body $0 "\n"; last = $0 }' "$1"
}

works_in_a_program() {
    program "$@" && in_both_editions "$1" "check --examples"
}

snippets=("$@")
if [[ $# == 0 ]]; then
    mapfile -t snippets < <("$root/scripts/snippet.sh" list | cut -f 1)
fi
mkdir -p "$foreign"
failed=()
for snippet in "${snippets[@]}"; do
    project=$foreign/${snippet//\//-}
    if stands_alone "$snippet" "$project" >"$project.log" 2>&1; then
        echo "$snippet stands alone"
    else
        echo "$snippet does NOT stand alone:"
        tail -n 60 "$project.log"
        failed+=("$snippet")
    fi
done
if works_in_a_program "$foreign/program" "${snippets[@]}" >"$foreign/program.log" 2>&1; then
    echo "A program that uses the example of each is built without a warning"
else
    echo "A program that uses the example of each is NOT built without a warning:"
    grep -v '^Copied' "$foreign/program.log" | tail -n 60
    failed+=("all in one program")
fi
if [[ ${#failed[@]} != 0 ]]; then
    printf 'Of %s snippets these do not stand alone:' "${#snippets[@]}"
    printf ' %s;' "${failed[@]}"
    echo
    exit 1
fi
