#!/usr/bin/env bash
# Builds everything once, runs the tour of all five programs, and writes its report to target/tour.
#
#   scripts/tour.sh [--effort quick|normal|thorough] [--out DIR] [...]     (--help lists the rest)
#   scripts/tour.sh explain CLAIM     the claim, and the rules by which the five programs answer it
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/require.sh
source "$root/scripts/require.sh"
require_cargo
require_compiler

cargo build --release --workspace --bins --manifest-path "$root/Cargo.toml"
target=$(target_directory "$root")

if [[ ${1-} == explain ]]; then
    exec "$target/release/tour" "$@"
fi
for argument in "$@"; do
    case $argument in
        --out | --out=*) exec "$target/release/tour" run "$@" ;;
    esac
done
exec "$target/release/tour" run --out "$target/tour" "$@"
