#!/bin/sh
# up.sh K [RATE] - make K hosts on this machine, joined by one network
#
# Each host is a network namespace, PREFIX-0 to PREFIX-(K-1), whose interface eth0 (10.77.0.1,
# 10.77.0.2, ...) is plugged into a bridge in one more namespace, PREFIX-hub: nothing is added
# to the machine's own network. RATE limits each host in both directions, written as tc does:
# 200mbit, 1gbit.
#
# CEMOE_TESTBED is the PREFIX (default cemoe). Testbeds of different prefixes do not see each
# other, so all have the same addresses. Needs root.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=deploy/testbed/common.sh
. "$here/common.sh"

# limit NAMESPACE INTERFACE; tbf also cuts the segments of up to 64 KiB that leave a host
limit() {
    [ -z "$rate" ] || tc -n "$1" qdisc add dev "$2" root tbf rate "$rate" burst 256kb latency 50ms
}

add_hub() {
    ip netns add "$prefix-hub"
    ip -n "$prefix-hub" link add br0 type bridge
    ip -n "$prefix-hub" link set br0 up
}

# add_host NUMBER. Without IPv6, whose announcements nobody needs and the counters would show.
add_host() {
    ip netns add "$prefix-$1"
    ip link add eth0 netns "$prefix-$1" type veth peer name "host$1" netns "$prefix-hub"
    ip -n "$prefix-hub" link set "host$1" addrgenmode none master br0 up
    ip -n "$prefix-$1" link set lo up
    ip -n "$prefix-$1" link set eth0 addrgenmode none up
    ip -n "$prefix-$1" address add "$network.$(($1 + 1))/24" dev eth0
    limit "$prefix-$1" eth0
    limit "$prefix-hub" "host$1"
}

help_if_asked "${1:-}"
[ $# -eq 1 ] || [ $# -eq 2 ] || wrong_usage "expected K [RATE]"
rate=${2:-}
need_number K "$1" 250
check_able
[ -z "$(namespaces)" ] || fail "testbed $prefix is up already; down.sh removes it"

# All or nothing.
trap '"$here/down.sh"' EXIT
trap 'exit 1' HUP INT TERM
add_hub
number=0
while [ "$number" -lt "$1" ]; do
    add_host "$number"
    number=$((number + 1))
done
trap - EXIT
