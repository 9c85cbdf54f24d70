#!/bin/sh
# Installs what is missing, builds and passes all tests, once as released and once under
# AddressSanitizer and UndefinedBehaviorSanitizer. Without arguments both; or: run.sh PRESET...
set -eu
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- release asan

deploy/install-deps.sh --slurm
export CTEST_PARALLEL_LEVEL="${CTEST_PARALLEL_LEVEL:-$(nproc)}"
# Tests run side by side: threads that wait must not spin on a core another needs.
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"

failed=
for preset in "$@"; do
    echo "== $preset"
    cmake --preset "$preset"
    cmake --build --preset "$preset"
    ctest --preset "$preset" --output-log "build/$preset/tests.log" || failed="$failed $preset"
done

echo "== summary"
for preset in "$@"; do
    skipped=$(sed -n 's/.*Test *#[0-9]*: \([^ ]*\) .*\*\*\*Skipped.*/\1/p' \
        "build/$preset/tests.log" | tr '\n' ' ')
    echo "$preset: $(grep 'tests passed' "build/$preset/tests.log")"
    echo "$preset: skipped: ${skipped:-none}"
done
[ -z "$failed" ] || { echo "failed:$failed"; exit 1; }
