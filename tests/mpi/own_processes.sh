#!/bin/sh
# own_processes.sh PROGRAM [ARG...] - run a rank where it sees no process of other ranks
#
# As on another host it cannot reach their memory. Exits 77 where that may not be made
# (it takes root).
set -eu

unshare --pid --fork --mount-proc true 2>/dev/null || { echo 'skipped: processes of its own need root'; exit 77; }
exec unshare --pid --fork --mount-proc "$@"
