#!/bin/sh
# mpirun.sh RANKS PROGRAM [ARG...] - run a test program on RANKS ranks of this machine
#
# More ranks than cores is normal here, so nothing is bound and idle ranks
# yield, also the OpenMP threads that wait for each other. CE_TEST_SECONDS bounds the run, so that no test can hang.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
ranks=$1
shift

export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"

command -v mpirun >/dev/null || { echo 'skipped: there is no mpirun'; exit 77; }

# Open MPI refuses to run for root unless told twice that it is meant.
if [ "$(id -u)" -eq 0 ]; then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi

# Read by sanitizer builds only. The libraries below MPI have no frame pointers,
# without which a leak of theirs could not be told from one of ours.
export LSAN_OPTIONS="suppressions=$here/lsan.supp:print_suppressions=0"
export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}fast_unwind_on_malloc=0"

exec timeout --kill-after=5 "${CE_TEST_SECONDS:-110}" \
  mpirun --oversubscribe --bind-to none --mca mpi_yield_when_idle 1 -n "$ranks" "$@"
