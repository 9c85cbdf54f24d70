#!/bin/sh
# run.sh [--ci | --all | PART...] - build what a ring of tests needs, and pass it
#
#     tests/run.sh          before a change is taken; at most 12 minutes on 2 cores:
#                           release tidy-changed asan
#     tests/run.sh --ci     that, longer forms of some tests, and what needs more than the sources;
#                           at most 25 minutes on 2 cores:
#                           release tidy asan tsan machines
#     tests/run.sh --all    everything there is, in its longest form; more than an hour:
#                           release tidy asan-all tsan-all fuzz machines kills
#
# Parts, in any number and order:
#
#     release       all programs as users have them; every test that is not in another part
#     debug         the same for a debugger
#     tidy-changed  clang-tidy of what differs from the branch main
#     tidy          clang-tidy of all of src
#     asan          AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer: the tests of memory
#     asan-all      the same over every test
#     tsan          ThreadSanitizer: several ranks as threads of one process
#     tsan-all      the same over every test of one process
#     fuzz          the fuzz targets as libFuzzer has them, on their corpora
#     docs          the commands of the documents as they are written, as an ordinary user and as root
#     processors    results on other processors' BLAS and kernels
#     net           hosts joined by a network (root)
#     slurm         batch files in a real Slurm (root)
#     machines      these four, side by side
#     kills         60 kills of one evaluation
#
# One test: cmake --build --preset release && ctest --preset release -R unit.moe_plan
# CEMOE_RING=quick|ci|all says in which form tests run (quick, unless --ci or --all); tests/README.md says what
# each ring proves. Says at the end what took how long, and leaves the output in build/rings/PART.log.
set -eu
cd "$(dirname "$0")/.."

ring=quick
case "${1:-}" in
--help | -h)
    sed -n '2,/^set -eu/s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
--ci)
    ring=ci
    set -- release tidy asan tsan machines
    ;;
--all)
    ring=all
    set -- release tidy asan-all tsan-all fuzz machines kills
    ;;
"") set -- release tidy-changed asan ;;
esac
ring=${CEMOE_RING:-$ring}

# Jobs of several ranks wait more than they compute: one test more than cores at a time. Threads that wait must not
# spin on a core another needs.
cores=$(nproc)
export CTEST_PARALLEL_LEVEL="${CTEST_PARALLEL_LEVEL:-$((cores + 1))}"
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"

logs=build/rings

# timed PART PHASE COMMAND...: runs it, and notes its seconds.
timed() {
    part=$1 phase=$2
    shift 2
    began=$(date +%s)
    code=0
    "$@" || code=$?
    echo "$part $phase $(($(date +%s) - began))" >>"$logs/times"
    return "$code"
}

# build PRESET TARGET...
build() {
    preset=$1
    shift
    timed "$part" configure cmake --preset "$preset" &&
        timed "$part" build cmake --build --preset "$preset" --target "$@"
}

# ctest_of PRESET RING ARGUMENT...
ctest_of() {
    preset=$1
    export CEMOE_RING="$2"
    shift 2
    timed "$part" test ctest --preset "$preset" --output-log "$logs/$part.log" "$@"
}

# tidied MODE: 77, the tool is missing, is no failure.
tidied() {
    code=0
    tests/lint.sh "$1" build/release >"$logs/$part.log" 2>&1 || code=$?
    cat "$logs/$part.log"
    [ "$code" -ne 77 ] || echo "$part ***Skipped" >>"$logs/$part.log"
    [ "$code" -eq 0 ] || [ "$code" -eq 77 ]
}

run_part() {
    part=$1
    case $part in
    release | debug)
        build "$part" all &&
            ctest_of "$part" "$ring" -LE '^(tidy|docs|net|slurm|processors)$'
        ;;
    tidy | tidy-changed)
        timed "$part" configure cmake --preset release &&
            timed "$part" build cmake --build --preset release --target libcemoe && # what is generated
            timed "$part" test tidied "$part"
        ;;
    asan)
        build asan tests_memory &&
            ctest_of asan quick -L '^memory$'
        ;;
    asan-all)
        build asan all &&
            ctest_of asan quick -LE '^(tidy|lint|processors)$'
        ;;
    tsan)
        build tsan tests_ranks &&
            ctest_of tsan "$ring" -L '^ranks$'
        ;;
    tsan-all)
        build tsan tests_memory &&
            ctest_of tsan "$ring" -L '^memory$'
        ;;
    fuzz)
        build fuzz all &&
            ctest_of fuzz "$ring"
        ;;
    docs | processors | net | slurm)
        build release all &&
            ctest_of release "$ring" -L "^$part\$"
        ;;
    machines)
        build release all &&
            ctest_of release "$ring" -L '^(docs|processors|net|slurm)$'
        ;;
    kills)
        build release all &&
            ctest_of release "$ring" -L '^kill$' -C kill
        ;;
    esac
}

# Refuses a part that there is not; installs what the others need.
prepare() {
    needs=
    for part in "$@"; do
        case $part in
        tidy | tidy-changed | tsan | tsan-all | fuzz) needs="$needs --dev" ;;
        docs | slurm | machines) needs="$needs --slurm" ;;
        release | debug | asan | asan-all | processors | net | kills) ;;
        *)
            echo "$0: there is no part '$part'; --help lists them" >&2
            exit 2
            ;;
        esac
    done
    # shellcheck disable=SC2086 # one word a switch
    deploy/install-deps.sh $needs
}

# What took how long: of each part, then of its labels and its longest tests.
print_times() {
    echo "== seconds on $cores cores, $CTEST_PARALLEL_LEVEL tests at a time"
    awk '{ seconds[$1, $2] += $3; if (!($1 in seen)) { seen[$1]; order[++n] = $1 } }
         END { printf "%-13s %9s %6s %6s %6s\n", "part", "configure", "build", "test", "all"
               for (i = 1; i <= n; i++) {
                   p = order[i]; sum = seconds[p, "configure"] + seconds[p, "build"] + seconds[p, "test"]; total += sum
                   printf "%-13s %9d %6d %6d %6d\n", p, seconds[p, "configure"], seconds[p, "build"], seconds[p, "test"], sum }
               printf "%-13s %9s %6s %6s %6d\n", "total", "", "", "", total }' "$logs/times"
    for part in "$@"; do
        [ -f "$logs/$part.log" ] || continue
        echo "-- $part: seconds of tests by label (of a test with several, in each), and the longest tests"
        sed -n '/^Label Time Summary/,/^$/s/^\([a-z]\{1,\}\) *= *\([0-9.]*\) sec\*proc (\(.*\))$/   \2 \1 (\3)/p' "$logs/$part.log" | sort -rn
        sed -n 's/^ *[0-9]*\/[0-9]* Test *#[0-9]*: \([^ ]*\) .* \([0-9.]*\) sec.*$/   \2 \1/p' "$logs/$part.log" | sort -rn | head -15
    done
}

print_summary() {
    echo "== summary"
    for part in "$@"; do
        [ -f "$logs/$part.log" ] || continue
        skipped=$(sed -n -e 's/.*Test *#[0-9]*: \([^ ]*\) .*\*\*\*Skipped.*/\1/p' -e 's/^\(tidy[^ ]*\) \*\*\*Skipped$/\1/p' \
            "$logs/$part.log" | tr '\n' ' ')
        echo "$part: $(grep 'tests passed' "$logs/$part.log" || true)"
        echo "$part: skipped: ${skipped:-none}"
    done
}

prepare "$@"
mkdir -p "$logs"
: >"$logs/times"
failed=
for part in "$@"; do
    echo "== $part"
    rm -f "$logs/$part.log"
    ( run_part "$part" ) || failed="$failed $part"
done
print_times "$@"
print_summary "$@"
[ -z "$failed" ] || { echo "failed:$failed"; exit 1; }
