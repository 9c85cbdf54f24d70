#!/bin/sh
# Installs the Debian 12 packages that cemoe needs to be built, run and tested; --dev adds what
# the lint, sanitizer and fuzz builds and all tests need, --plots the gnuplot that cemoe compare
# draws with, --slurm the Slurm that deploy/testbed starts for tests/slurm, and the jq of slurm/README.md.
# Says nothing when all of them are there already. Needs root or sudo only when something is missing.
set -eu

RUN="cmake gcc iproute2 libc6-dev libcmocka-dev libjansson-dev libonig-dev
    libopenblas-openmp-dev libopenmpi-dev libprotobuf-c-dev libucx-dev libutf8proc-dev libxxhash-dev
    nettle-dev ninja-build openmpi-bin pkg-config protobuf-c-compiler python3 util-linux"
DEV="clang clang-format clang-tidy git libclang-rt-14-dev libomp-14-dev shellcheck universal-ctags"
PLOTS="gnuplot-nox"
SLURM="jq munge slurm-wlm"

wanted=$RUN
for switch in "$@"; do
    case "$switch" in
    --dev) wanted="$wanted $DEV $PLOTS" ;;
    --plots) wanted="$wanted $PLOTS" ;;
    --slurm) wanted="$wanted $SLURM" ;;
    *)
        echo "usage: $0 [--dev] [--plots] [--slurm]" >&2
        exit 2
        ;;
    esac
done

missing=
for package in $wanted; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
        missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "$0: no apt-get here; install what Debian 12 calls:$missing" >&2
    exit 1
fi
if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
    echo "$0: no sudo here; let root run: apt-get install --no-install-recommends$missing" >&2
    exit 1
fi
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}
# Another apt at work is waited for instead of failing at once.
apt() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@" >&2
}

echo "installing:$missing" >&2
apt update
# shellcheck disable=SC2086 # one word a package
apt install -y --no-install-recommends $missing
