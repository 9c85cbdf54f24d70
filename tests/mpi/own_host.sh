#!/bin/sh
# own_host.sh PROGRAM [ARG...] - run a rank under a host name of its own
#
# The ucx transport then treats the ranks as on different hosts. Exits 77 where a
# process may not have its own host name (it takes root or a user namespace).
set -eu

unshare --uts true 2>/dev/null || { echo 'skipped: a host name of its own needs root'; exit 77; }
# shellcheck disable=SC2016 # expanded by the inner shell
exec unshare --uts sh -c 'hostname "host$OMPI_COMM_WORLD_RANK" && exec "$@"' sh "$@"
