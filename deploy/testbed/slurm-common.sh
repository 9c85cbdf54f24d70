# shellcheck shell=sh
# slurm-common.sh - where slurm-up.sh keeps things, and who runs; sourced after common.sh

# shellcheck disable=SC2154 # prefix: common.sh
slurm=/run/cemoe-testbed-$prefix

# pid_of NAME FILE: of a daemon of this testbed that still runs. Ids are used again, and one
# that has ended may not have been waited for: it has a name, but no program.
pid_of() {
    [ -f "$2" ] || return 0
    process=$(cat "$2" 2>/dev/null) || return 0
    [ "$(cat "/proc/$process/comm" 2>/dev/null)" = "$1" ] || return 0
    [ -z "$(readlink "/proc/$process/exe")" ] || echo "$process"
}

# The daemons that run, a line "PID" each, in the order in which they have to end: who is
# asked last.
daemons() {
    for file in "$slurm"/run/slurmd-*.pid; do
        pid_of slurmd "$file"
    done
    pid_of slurmctld "$slurm/run/slurmctld.pid"
    pid_of munged "$slurm/munge/pid"
}
