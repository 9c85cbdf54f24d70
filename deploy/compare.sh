#!/bin/sh
# Full, truncated and compressed experts of the small model in deploy/model on its three domains, each
# with the compressed experts made for it: deploy/compare.sh OUT [RANKS]. Journals and results go to OUT.
set -eu
cd "$(dirname "$0")/.."

if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    sed -n '2,3s/^# //p' "$0" >&2
    exit 2
fi
ranks=${2:-2}
root=
if [ "$(id -u)" = 0 ]; then
    root=--allow-run-as-root
fi
for domain in math code general; do
    OMP_NUM_THREADS=1 mpirun $root --oversubscribe -n "$ranks" "${CEMOE:-build/release/cemoe}" eval \
        --model deploy/model --compressed-experts "deploy/model/ces-$domain.safetensors" --compressed 2 \
        --compare --tasks "cemoe_text_$domain" --out "$1/$domain" --quiet
done
