# shellcheck shell=bash
# Sourced by the scripts that look something up by its name.

# The line of standard input that takes the fewest changed letters from $1.
nearest() {
    awk -v wanted="$1" '
        function least(a, b, c) { return a < b ? (a < c ? a : c) : (b < c ? b : c) }
        function distance(a, b,    i, j, row, before, kept) {
            for (j = 0; j <= length(b); j++) row[j] = j
            for (i = 1; i <= length(a); i++) {
                before = row[0]
                row[0] = i
                for (j = 1; j <= length(b); j++) {
                    kept = row[j]
                    row[j] = least(row[j] + 1, row[j - 1] + 1, before + (substr(a, i, 1) != substr(b, j, 1)))
                    before = kept
                }
            }
            return row[length(b)]
        }
        { d = distance(wanted, $0); if (NR == 1 || d < best) { best = d; name = $0 } }
        END { print name }'
}
