#!/bin/sh
# Compressed experts of the small model in deploy/model, fitted to its three domains and judged on
# held-out text of each: deploy/calibrate.sh OUT [RANKS]. For 2 and 3 of 4 experts compressed there are
# files of rank 0, 4, 8 and 16, and one with the bytes of rank 8 given to the experts that need them;
# beside them the scaling tables that come with the model. Fits, comparisons and plots go to
# OUT/DOMAIN, one table of all to stdout and OUT/table.md.
set -eu
cd "$(dirname "$0")/.."

if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    sed -n '2,6s/^# //p' "$0" >&2
    exit 2
fi
out=$1
ranks=${2:-2}
tokens=65536 # 256 windows, of which every 8th is held out
most=32      # the largest rank that the budget may choose
root=
if [ "$(id -u)" = 0 ]; then
    root=--allow-run-as-root
fi

cemoe() {
    command=$1
    shift
    # shellcheck disable=SC2086 # nothing, or one word
    OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" mpirun $root --oversubscribe --bind-to none -n "$ranks" \
        "${CEMOE:-build/release/cemoe}" "$command" --model deploy/model "$@"
}

# Of the values alone: a file is 8 bytes that say how long its header is, the header, and the values.
value_bytes() {
    echo $(($(stat -c %s "$1") - 8 - $(od -An -t u8 -N 8 "$1")))
}

# fit DOMAIN N_CE NAME OPTION VALUE: the first of a domain and n_ce runs the model, the others choose
# other ranks from its parts.
fit() {
    cemoe calibrate --data "deploy/model/calibration/$1.txt" --tokens "$tokens" --compressed "$2" "$4" "$5" \
        --most-rank "$most" --parts "$out/$1/parts-n$2" --keep-parts --out "$out/$1/$3.safetensors" --quiet \
        >"$out/$1/$3.txt"
}

for domain in math code general; do
    mkdir -p "$out/$domain"
    set -- "deploy/model/ces-$domain.safetensors"
    for n in 2 3; do
        for rank in 0 4 8 16; do
            fit "$domain" "$n" "rank$rank-n$n" --rank "$rank"
            set -- "$@" "$out/$domain/rank$rank-n$n.safetensors"
        done
        fit "$domain" "$n" "budget8-n$n" --budget "$(value_bytes "$out/$domain/rank8-n$n.safetensors")"
        set -- "$@" "$out/$domain/budget8-n$n.safetensors"
        rm -r "$out/$domain/parts-n$n"
    done
    cemoe compare --data "deploy/model/heldout/$domain.txt" --windows 200 --compressed 2 3 --quiet \
        --compressed-experts "$@" --out "$out/$domain" >/dev/null
done
deploy/calibrate-table.py "$out/math" "$out/code" "$out/general" | tee "$out/table.md"
