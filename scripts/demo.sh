#!/usr/bin/env bash
# Finds a demonstration in any of the five programs, builds that program, and runs it.
#
#   scripts/demo.sh                       lists all: program and name, tab, question
#   scripts/demo.sh NAME [options]        runs it; --help lists the options of its program
#   scripts/demo.sh PROGRAM/NAME [...]    the same, where two programs have one of that name
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/require.sh
source "$root/scripts/require.sh"
# shellcheck source=scripts/lookup.sh
source "$root/scripts/lookup.sh"

# Every demonstration as `program/name`, tab, its question, in reading order, read from the sources: nothing is built.
all() {
    local program file
    for program in threads-demo process-demo ipc-demo sync-demo race-demo; do
        grep -o '[a-z_]*::DEMO' "$root/$program/src/main.rs" | while IFS=: read -r file _; do
            sed -n 's/^    question: "\(.*\)",$/\1/p' "$root/$program/src/$file.rs" | head -n 1 |
                sed "s|^|$program/${file//_/-}\t|"
        done
    done
}

case ${1-} in
    '') all; exit ;;
    -h | --help) sed -n 's/^#   //p' "${BASH_SOURCE[0]}"; exit ;;
    -*) sed -n 's/^#   //p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
wanted=$1
shift
names=$(all | cut -f 1)
found=$(awk -F/ -v wanted="$wanted" '$0 == wanted || $2 == wanted' <<<"$names")
if [[ -z $found ]]; then
    like=$(awk -F/ -v whole="$wanted" '{ print index(whole, "/") ? $0 : $2 }' <<<"$names" | nearest "$wanted")
    echo "There is no demonstration '$wanted'; did you mean '$like'? Without a name, all are listed." >&2
    exit 2
elif [[ $found == *$'\n'* ]]; then
    echo "Several programs have a demonstration '$wanted': ${found//$'\n'/, }." >&2
    exit 2
fi
require_cargo
require_compiler
program=${found%/*}
cargo build --quiet --release --package "$program" --bin "$program" --manifest-path "$root/Cargo.toml"
exec "$(target_directory "$root")/release/$program" "${found#*/}" "$@"
