#!/bin/sh
# mpirun.sh HOSTS RANKS_PER_HOST [MPIRUN-ARG...] PROGRAM [ARG...] - mpirun across the testbed
#
# Runs mpirun on host 0 of the first HOSTS hosts, with one daemon on each, RANKS_PER_HOST ranks
# on host 0, the next on host 1 and so on. Ranks of different hosts have only TCP over eth0,
# those of one host shared memory too. Threads: OMP_NUM_THREADS (default 1 here, as the hosts
# share the cores of this machine).
#
#     up.sh 2
#     mpirun.sh 2 1 cemoe score --model deploy/model --file deploy/model/eval/math.txt
#     down.sh
#
# CEMOE_TESTBED is the PREFIX given to up.sh (default cemoe). Needs root.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=deploy/testbed/common.sh
. "$here/common.sh"

help_if_asked "${1:-}"
[ $# -ge 3 ] || wrong_usage "expected HOSTS RANKS_PER_HOST PROGRAM"
need_number HOSTS "$1" 250
need_number RANKS_PER_HOST "$2" 250
check_able
command -v mpirun >/dev/null || fail "no mpirun here; deploy/install-deps.sh installs it"
up=$(hosts | wc -l)
[ "$up" -ge "$1" ] || fail "only $up of $1 hosts are up; up.sh makes them"

ranks=$(($1 * $2))
list=
number=0
while [ "$number" -lt "$1" ]; do
    list=$list${list:+,}$prefix-$number:$2
    number=$((number + 1))
done
shift 2

# Open MPI refuses to run for root unless told twice that it is meant.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
# Ranks share cores, with each other and other hosts: who waits must not spin.
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"
export UCX_NET_DEVICES="${UCX_NET_DEVICES:-eth0}"

exec "$here/run-on.sh" 0 mpirun --mca plm_rsh_agent "$here/rsh.sh" \
    --host "$list" --map-by slot --oversubscribe --bind-to none -n "$ranks" \
    --mca oob_tcp_if_include eth0 --mca btl_tcp_if_include eth0 \
    --mca mpi_yield_when_idle 1 \
    -x OMP_NUM_THREADS -x OMP_WAIT_POLICY -x UCX_NET_DEVICES "$@"
