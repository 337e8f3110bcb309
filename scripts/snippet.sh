#!/usr/bin/env bash
# Finds and copies snippets: files that stand alone, with the crates that their headers name.
#
#   scripts/snippet.sh list                 name, tab, what it is, tab, crates it needs
#   scripts/snippet.sh find WORD            the same lines, of those whose name, first sentence, limits ("What it does
#                                           not do") or better choices ("Instead") have the word, in any case
#   scripts/snippet.sh show NAME            the file
#   scripts/snippet.sh add NAME PROJECT     copies it to PROJECT/src, adds its crates (its tests' too) to the manifest, and
#                                           says which line to write where
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/require.sh
source "$root/scripts/require.sh"
# shellcheck source=scripts/lookup.sh
source "$root/scripts/lookup.sh"

usage() {
    sed -n 's/^#   //p' "${BASH_SOURCE[0]}" >&2
    exit 2
}

# Every snippet as `topic/name`, one a line.
all() {
    local file topic
    for file in "$root"/*-demo/snippets/*.rs; do
        topic=${file%/snippets/*}
        [[ $file == */lib.rs ]] || echo "${topic##*/}/$(basename "$file" .rs)"
    done
}

# Reads `topic/name` lines, and leaves out the topic where the name alone is enough.
shortest() {
    awk -F/ '{ line[NR] = $0; name[NR] = $2; count[$2]++ }
        END { for (i = 1; i <= NR; i++) print (count[name[i]] > 1 ? line[i] : name[i]) }'
}

file_of() {
    echo "$root/${1%/*}/snippets/${1##*/}.rs"
}

# The first paragraph of the header of $1 that begins with $2, in one line.
paragraph_of() {
    awk -v begin="$2" '
        !/^\/\/!/ { exit }
        /^\/\/!$/ { if (found) exit; between = 1; next }
        { sub(/^\/\/! /, "") }
        (between || NR == 1) && index($0, begin) == 1 { found = 1 }
        found { printf "%s%s", (words++ ? " " : ""), $0 }
        { between = 0 }' "$1"
}

# What the header of $1 lists after the key $2; nothing if it has no such line.
listed() {
    sed -n "s|^//! $2: ||p" "$1" | head -n 1
}

list() {
    local short topic_and_name file
    paste <(all) <(all | shortest) | while IFS=$'\t' read -r topic_and_name short; do
        file=$(file_of "$topic_and_name")
        printf '%s\t%s\t%s\n' "$short" "$(paragraph_of "$file" '')" "$(listed "$file" Needs)"
    done
}

# The lines of `list` whose snippet has the word $1 where people look for it.
find_word() {
    local topic_and_name line found=no
    while IFS=$'\t' read -r topic_and_name line; do
        if grep -qiF -e "$1" <<<"$(searched "$topic_and_name")"; then
            echo "$line"
            found=yes
        fi
    done < <(paste <(all) <(list))
    if [[ $found == no ]]; then
        echo "No snippet has '$1' in its name, its first sentence, its limits or its better choices." >&2
        exit 1
    fi
}

# What of a snippet is searched: its name, spelt both ways, and of its header the sentence, the limits and the choices.
searched() {
    local file name=${1##*/}
    file=$(file_of "$1")
    echo "$name ${name//_/-}"
    paragraph_of "$file" ''
    echo
    paragraph_of "$file" 'What it does not do:'
    echo
    listed "$file" Instead
}

# The `topic/name` that the user means; a name that is not there, or not there once, ends the script.
find_snippet() {
    local wanted=${1//-/_} found
    [[ $1 != */* ]] || wanted="${1%/*}/${wanted##*/}"
    found=$(all | awk -v wanted="$wanted" -F/ '$0 == wanted || $2 == wanted')
    if [[ -z $found ]]; then
        echo "There is no snippet '$1'; did you mean '$(all | shortest | nearest "${wanted##*/}")'?" >&2
        exit 2
    elif [[ $found == *$'\n'* ]]; then
        echo "There are several snippets '$1': ${found//$'\n'/, }." >&2
        exit 2
    fi
    echo "$found"
}

# Adds what a header lists, `nix 0.31 (process, signal); crossbeam-channel 0.5`, by cargo add with the other arguments.
add_crates() {
    local needs=$1 one name version features
    shift
    while IFS= read -r one; do
        [[ $one =~ ^([A-Za-z0-9_-]+)\ ([0-9][^ ]*)(\ \((.*)\))?$ ]] || continue # std has no version.
        name=${BASH_REMATCH[1]} version=${BASH_REMATCH[2]} features=${BASH_REMATCH[4]// /}
        cargo add --quiet "$@" "$name@$version" ${features:+--features "$features"}
    done < <(sed 's/; */\n/g' <<<"$needs")
}

add() {
    local found file name project=$2 to
    found=$(find_snippet "$1")
    file=$(file_of "$found")
    name=${found##*/}
    to=$project/src/$name.rs
    if [[ ! -f $project/Cargo.toml ]]; then
        echo "'$project' has no Cargo.toml: name the directory of a Rust project." >&2
        exit 2
    elif [[ -e $to || -L $to ]]; then
        echo "'$to' exists already; nothing was changed." >&2
        exit 1
    fi
    require_cargo
    add_crates "$(listed "$file" Needs)" --manifest-path "$project/Cargo.toml"
    add_crates "$(listed "$file" 'Tests need')" --manifest-path "$project/Cargo.toml" --dev
    mkdir -p "$project/src"
    cp "$file" "$to"
    echo "Copied to $to, which needs $(listed "$file" Needs). $(now_write "$name" "$project")"
}

# Which line makes the module $1 a part of the project $2, and where to write it.
now_write() {
    local public="'pub mod $1;'" private="'mod $1;'" # Public in a library: there its example is a test that uses it.
    if [[ -f $2/src/lib.rs && -f $2/src/main.rs ]]; then
        echo "Now write $public into src/lib.rs, if the library or both use it; if only the program does," \
            "$private into src/main.rs. Not into both."
    elif [[ -f $2/src/lib.rs ]]; then
        echo "Now write $public into src/lib.rs."
    elif [[ -f $2/src/main.rs ]]; then
        echo "Now write $private into src/main.rs."
    else
        echo "Now write $private into the root file of your program, or $public into that of your library."
    fi
}

case ${1-} in
    list) [[ $# == 1 ]] || usage; list ;;
    find) [[ $# == 2 && -n $2 ]] || usage; find_word "$2" ;;
    show) [[ $# == 2 ]] || usage; found=$(find_snippet "$2"); cat "$(file_of "$found")" ;;
    add) [[ $# == 3 ]] || usage; add "$2" "$3" ;;
    *) usage ;;
esac
