#!/bin/sh
# rsh.sh HOST COMMAND... - what ssh is to a cluster: mpirun starts its daemons on hosts with it
#
# Like ssh, joins the words and hands them to a shell on the host. See run-on.sh.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=deploy/testbed/common.sh
. "$here/common.sh"

help_if_asked "${1:-}"
[ $# -ge 2 ] || wrong_usage "expected HOST COMMAND..."
host=$1
shift
exec "$here/run-on.sh" "$host" sh -c "$*"
