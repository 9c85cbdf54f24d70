#!/bin/sh
# run-on.sh HOST COMMAND [ARG...] - run a command as on that host of the testbed
#
# HOST is a number from 0 or a name, PREFIX-0. The command has the host's network and name,
# shared memory of its own (System V and /dev/shm) and the host's interfaces in /sys, so that
# MPI and UCX treat hosts as apart. Files, users and process ids are the machine's. Its exit
# code is that of the command.
#
# CEMOE_TESTBED is the PREFIX given to up.sh (default cemoe). Needs root.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=deploy/testbed/common.sh
. "$here/common.sh"

help_if_asked "${1:-}"
[ $# -ge 2 ] || wrong_usage "expected HOST COMMAND [ARG...]"
check_able
name=$prefix-${1#"$prefix-"}
shift
hosts | grep -Fqx -- "$name" || fail "no host $name; up.sh makes hosts, there are $(hosts | wc -l)"

# A fresh sysfs shows this network, but without the control groups: they move over by way of
# the fresh /dev/shm.
# shellcheck disable=SC2016 # expanded by the inner shell
exec nsenter --net="/run/netns/$name" unshare --uts --ipc --mount sh -euc '
    hostname "$0"
    mount -t tmpfs tmpfs /dev/shm
    mkdir /dev/shm/cgroup
    mount --rbind /sys/fs/cgroup /dev/shm/cgroup
    mount -t sysfs sysfs /sys
    mount --move /dev/shm/cgroup /sys/fs/cgroup
    rmdir /dev/shm/cgroup
    exec "$@"' "$name" "$@"
