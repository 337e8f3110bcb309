#!/usr/bin/env bash
# Runs everything that must pass: format, clippy, tests, documentation, snippets on their own, a quick tour.
#
#   scripts/test.sh            all of it
#   scripts/test.sh --fast     without the proofs, the snippets on their own and the tour
#   scripts/test.sh --peers    and ipc-demo/peers, which alone takes minutes to build
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/require.sh
source "$root/scripts/require.sh"

case "$#:${1-}" in
    0:) fast=no peers=no ;;
    1:--fast) fast=yes peers=no ;;
    1:--peers) fast=no peers=yes ;;
    *)
        sed -n 's/^#   //p' "${BASH_SOURCE[0]}" >&2
        exit 2
        ;;
esac
require_cargo
require_compiler

manifest=(--manifest-path "$root/Cargo.toml")
packages=(--workspace)
if [[ $fast == yes ]]; then
    packages+=(--exclude proofs --exclude loom_std --exclude loom_nix) # loom alone takes 40 s to compile.
fi
target=$(target_directory "$root")
logs=$target/test-logs
mkdir -p "$logs"
failed=()

# Runs a command as the step $1; shows what it printed only if it fails.
step() {
    local name=$1 start=$SECONDS log=$logs/${1// /-}.log
    shift
    printf '%-24s ' "$name"
    if "$@" >"$log" 2>&1; then
        echo "ok      $((SECONDS - start)) s"
    else
        echo "FAILED  $((SECONDS - start)) s"
        tail -n 80 "$log"
        echo "(all of it: $log)"
        failed+=("$name")
    fi
}

documentation() {
    RUSTDOCFLAGS="-D warnings" cargo doc "${manifest[@]}" "${packages[@]}" --no-deps
}

step "format" cargo fmt "${manifest[@]}" --all --check
step "clippy" cargo clippy "${manifest[@]}" "${packages[@]}" --all-targets -- -D warnings
step "tests" cargo test "${manifest[@]}" "${packages[@]}" --no-fail-fast
step "documentation" documentation
if [[ $fast == no ]]; then
    step "snippets on their own" "$root/scripts/snippets-stand-alone.sh"
    step "quick tour" "$root/scripts/tour.sh" --effort quick --out "$target/test-tour"
fi
if [[ $peers == yes ]]; then
    beside=(--manifest-path "$root/ipc-demo/peers/Cargo.toml")
    step "peers, format" cargo fmt "${beside[@]}" --check
    step "peers, clippy" cargo clippy "${beside[@]}" --all-targets -- -D warnings
    step "peers, tests" cargo test "${beside[@]}"
fi

# How many tests ran.
awk '/^test result:/ { passed += $4; failed += $6 } END { print passed + 0 " passed, " failed + 0 " failed" }' \
    "$logs"/tests.log

if [[ ${#failed[@]} != 0 ]]; then
    printf 'Failed after %s s:' "$SECONDS"
    printf ' %s;' "${failed[@]}"
    echo
    exit 1
fi
echo "All passed in $SECONDS s."
