#!/bin/sh
# slurm-down.sh - end the Slurm that slurm-up.sh started, and the jobs it has
#
# Ends the processes whose ids slurm-up.sh recorded and no others, then removes
# /run/cemoe-testbed-PREFIX with the logs. The hosts stay; down.sh does both. Without a Slurm
# there is nothing to do. CEMOE_TESTBED is the PREFIX given to up.sh (default cemoe). Needs root.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=deploy/testbed/common.sh
. "$here/common.sh"
# shellcheck source=deploy/testbed/slurm-common.sh
. "$here/slurm-common.sh"

PATIENCE_S=10

# wait_for_end COMMAND: until it prints nothing any more.
wait_for_end() {
    tries=$((PATIENCE_S * 10))
    while [ "$tries" -gt 0 ] && [ -n "$("$1")" ]; do
        tries=$((tries - 1))
        sleep 0.1
    done
}

jobs() {
    ip netns exec "$prefix-0" squeue --noheader --format=%A 2>/dev/null || true
}

# Processes of jobs would outlive the daemons.
end_jobs() {
    [ -n "$(pid_of slurmctld "$slurm/run/slurmctld.pid")" ] || return 0
    export SLURM_CONF="$slurm/slurm.conf"
    running=$(jobs)
    [ -z "$running" ] || {
        # shellcheck disable=SC2086 # one word a job
        ip netns exec "$prefix-0" scancel $running 2>/dev/null || true
        wait_for_end jobs
    }
}

# Nodes before the controller, which would else call them lost; munged is asked until the last.
end_daemons() {
    for process in $(daemons); do
        kill "$process" 2>/dev/null || true
    done
    wait_for_end daemons
    for process in $(daemons); do
        kill -9 "$process" 2>/dev/null || true
    done
}

help_if_asked "${1:-}"
[ $# -eq 0 ] || wrong_usage "takes no arguments"
check_able
[ -d "$slurm" ] || exit 0
end_jobs
end_daemons
rm -rf "$slurm"
