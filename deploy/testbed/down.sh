#!/bin/sh
# down.sh - remove the hosts that up.sh made, and end what still runs on them, Slurm first
#
# CEMOE_TESTBED is the PREFIX given to up.sh (default cemoe). Other testbeds and the machine's
# own network are not touched; without a testbed there is nothing to do. Needs root.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=deploy/testbed/common.sh
. "$here/common.sh"

help_if_asked "${1:-}"
[ $# -eq 0 ] || wrong_usage "takes no arguments"
check_able
"$here/slurm-down.sh"
for name in $(namespaces); do
    # A process would keep its namespace, and the namespace its end of the network.
    for process in $(ip netns pids "$name"); do
        kill -9 "$process" 2>/dev/null || true
    done
    ip netns delete "$name"
done
