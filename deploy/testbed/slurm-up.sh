#!/bin/sh
# slurm-up.sh - start a real Slurm on the hosts that up.sh made
#
# munged for the testbed alone, slurmctld on host 0 and a slurmd on every host; nodes have the
# names of the hosts and the one partition "test" has all of them. Returns when all nodes are
# idle. The Slurm of the machine, if it has one, is not touched.
#
#     up.sh 2 && slurm-up.sh
#     run-on.sh 0 env SLURM_CONF=/run/cemoe-testbed-cemoe/slurm.conf sbatch job.sh
#     down.sh
#
# Everything is in /run/cemoe-testbed-PREFIX: slurm.conf, log/, state. CEMOE_TESTBED is the
# PREFIX given to up.sh (default cemoe). Needs root and the packages of
# deploy/install-deps.sh --slurm.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=deploy/testbed/common.sh
. "$here/common.sh"
# shellcheck source=deploy/testbed/slurm-common.sh
. "$here/slurm-common.sh"

MEMORY_MIB=4000 # of a node, as Slurm counts
DEADLINE_S=30

# The key and the socket are munged's alone: a job of the machine's own Slurm cannot come in.
start_munge() {
    mkdir "$slurm/munge"
    (umask 077 && head -c 1024 /dev/urandom >"$slurm/munge/key")
    chown -R munge:munge "$slurm/munge"
    setpriv --reuid munge --regid munge --clear-groups munged --key-file="$slurm/munge/key" \
        --socket="$slurm/munge/socket" --pid-file="$slurm/munge/pid" \
        --log-file="$slurm/munge/log" --seed-file="$slurm/munge/seed"
}

# A requeued job waits as long as credentials live: 120 s unless told otherwise, 5 at least. Slurm finds
# its processes without control groups, which a container may not let it make. PMIx would put
# the sockets of all nodes in /tmp; /dev/shm is private to a host.
write_configuration() {
    echo "PMIxCliTmpDirBase=/dev/shm" >"$slurm/mpi.conf"
    cat >"$slurm/slurm.conf" <<CONFIGURATION
ClusterName=$prefix
SlurmctldHost=$prefix-0($network.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$slurm/munge/socket,cred_expire=5
SlurmctldPort=17001
SlurmdPort=17010
StateSaveLocation=$slurm/state
SlurmdSpoolDir=$slurm/spool/%n
SlurmctldPidFile=$slurm/run/slurmctld.pid
SlurmdPidFile=$slurm/run/slurmd-%n.pid
SlurmctldLogFile=$slurm/log/slurmctld.log
SlurmdLogFile=$slurm/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
SlurmdParameters=config_overrides
SlurmctldTimeout=30
SlurmdTimeout=30
ReturnToService=2
KillWait=5
MinJobAge=600
JobRequeue=1
CONFIGURATION
    for host in $(hosts); do
        echo "NodeName=$host NodeAddr=$network.$((${host##*-} + 1)) CPUs=$(getconf _NPROCESSORS_ONLN)" \
            "RealMemory=$MEMORY_MIB State=UNKNOWN"
    done >>"$slurm/slurm.conf"
    echo "PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP" >>"$slurm/slurm.conf"
}

nodes_idle() {
    ip netns exec "$prefix-0" sinfo --noheader --Node --states=idle --format=%N 2>/dev/null | wc -l
}

wait_until_idle() {
    tries=$((DEADLINE_S * 10))
    until [ "$(nodes_idle)" -eq "$(hosts | wc -l)" ]; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || {
            tail -n 20 "$slurm"/log/*.log >&2
            fail "not all nodes are idle after $DEADLINE_S s"
        }
        sleep 0.1
    done
}

help_if_asked "${1:-}"
[ $# -eq 0 ] || wrong_usage "takes no arguments"
check_able
for tool in munged slurmctld slurmd sinfo scancel setpriv; do
    command -v "$tool" >/dev/null || fail "$tool is missing; deploy/install-deps.sh --slurm installs it"
done
[ -n "$(hosts)" ] || fail "no hosts are up; up.sh makes them"
[ -z "$(daemons)" ] || fail "Slurm is up already; slurm-down.sh ends it"

# All or nothing. What is there is of a testbed whose processes are gone.
trap '"$here/slurm-down.sh"' EXIT
trap 'exit 1' HUP INT TERM
rm -rf "$slurm"
mkdir -p "$slurm/state" "$slurm/spool" "$slurm/log" "$slurm/run"
start_munge
write_configuration
export SLURM_CONF="$slurm/slurm.conf"
"$here/run-on.sh" 0 slurmctld -f "$SLURM_CONF"
for host in $(hosts); do
    "$here/run-on.sh" "$host" slurmd -f "$SLURM_CONF"
done
wait_until_idle
trap - EXIT
