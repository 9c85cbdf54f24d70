#!/bin/bash
# Runs a command of this checkout on a bare Debian 12: a root file system that mmdebstrap makes, with
# what Debian itself needs, sudo and certificates, and nothing else. A package that install-deps.sh
# forgets, or a test that needs something of the machine it was written on, is found there. Needs
# root and the packages mmdebstrap and git; see --help.
set -eu

usage() {
    cat <<'END'
usage: tests/bare_debian.sh [--user] [--root DIR] [--fresh] COMMAND [ARGUMENT...]

Clones what is committed into a bare Debian 12 and runs COMMAND there, in the clone:

    tests/bare_debian.sh deploy/demo.sh               as root
    tests/bare_debian.sh --user deploy/demo.sh        as an ordinary user who may use sudo
    tests/bare_debian.sh tests/run.sh                 builds and passes the tests
    tests/bare_debian.sh --user .ci/run               what must pass before a change is taken
    tests/bare_debian.sh env OPENBLAS_CORETYPE=Haswell tests/run.sh

The exit code is COMMAND's. The system has the machine's processors and network, and fetches packages
as the host does (its apt sources and proxies). Mounts, processes, /dev/shm and host name are its own
and end with COMMAND. The folders that CEMOE_TEST_DATA and CEMOE_TEST_CASES name, where they are set,
are seen read-only.

    --user      as the ordinary user "builder", with sudo without a password, instead of root
    --root DIR  keep the system in DIR, and go on there the next time: packages stay installed and
                the folder build as it is. Without it the system is removed at the end
    --fresh     make the system again instead of unpacking the one kept in ~/.cache/cemoe
END
}

fail() {
    echo "$0: $*" >&2
    exit 1
}

# How the host fetches packages, but none of its hooks.
fetch_settings() {
    apt-config dump | grep -E '^Acquire::(Check-|https?::|ftp::|Retries)' || true
}

make_base() {
    local base=$1 work file sources=()
    command -v mmdebstrap >/dev/null || fail "needs the package mmdebstrap"
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
        if [ -f "$file" ] && grep -q bookworm "$file"; then
            sources+=("$file")
        fi
    done
    mkdir -p "$(dirname "$base")"
    work=$(mktemp -d "$base.XXXXXX")
    fetch_settings >"$work/99fetch"
    # Without sources for Debian 12 on the host mmdebstrap takes Debian's own.
    # shellcheck disable=SC2016 # $1 is the root file system, in mmdebstrap's shell
    mmdebstrap --quiet --variant=minbase --include=sudo,ca-certificates --aptopt="$work/99fetch" \
        --customize-hook='chroot "$1" useradd --create-home --shell /bin/bash builder' \
        --customize-hook='echo "builder ALL=(ALL) NOPASSWD: ALL" >"$1/etc/sudoers.d/builder"' \
        --customize-hook='printf "127.0.0.1 localhost\n127.0.1.1 bare\n" >"$1/etc/hosts"' \
        --customize-hook='echo bare >"$1/etc/hostname"; : >"$1/etc/resolv.conf"' \
        bookworm "$work/base.tar" "${sources[@]}" </dev/null
    mv "$work/base.tar" "$base"
    rm -r "$work"
}

# Only what has no mounts in it is deleted.
# shellcheck disable=SC2317 # it is called when the script ends
remove_tree() {
    ! grep -qF " $1/" /proc/self/mountinfo || fail "$1 has mounts in it; it is left as it is"
    rm -rf --one-file-system -- "$1"
}

# What the clone may see of the machine. Called in a mount namespace of its own.
mount_all() {
    local root=$1 node
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    mount -t tmpfs -o mode=755,nosuid tmpfs "$root/dev"
    mkdir "$root/dev/pts" "$root/dev/shm"
    for node in null zero full random urandom tty; do
        touch "$root/dev/$node"
        mount --bind "/dev/$node" "$root/dev/$node"
    done
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
    mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/dev/shm"
    ln -s pts/ptmx "$root/dev/ptmx"
    ln -s /proc/self/fd "$root/dev/fd"
    for node in 0:stdin 1:stdout 2:stderr; do
        ln -s "fd/${node%:*}" "$root/dev/${node#*:}"
    done
    mount -t tmpfs -o mode=755,nosuid tmpfs "$root/run"
    mkdir -m 1777 "$root/run/lock"
    [ ! -f /etc/resolv.conf ] || mount --bind /etc/resolv.conf "$root/etc/resolv.conf"
}

# Folders of the host that are not in the repository, as assignments for those who look for them.
mount_data() {
    local root=$1 name
    for name in CEMOE_TEST_DATA CEMOE_TEST_CASES; do
        if [ -n "${!name:-}" ]; then
            mkdir -p "$root/srv/$name"
            mount --bind "${!name}" "$root/srv/$name"
            mount -o remount,bind,ro "$root/srv/$name"
            echo "$name=/srv/$name"
        fi
    done
}

# The first process of the new namespaces: all others end with it.
inside() {
    local root=$1 user=$2 home=$3 data
    shift 3
    [ $$ -eq 1 ] || fail "--inside is for this script alone: everyone would see its mounts"
    mount --bind "$root" "$root"
    mount_all "$root"
    mapfile -t data < <(mount_data "$root")
    hostname bare
    # The root of the mount namespace, as on a machine: in a mere chroot no process may make namespaces of its own.
    cd "$root"
    pivot_root . .
    umount --lazy .
    cd /
    # shellcheck disable=SC2016 # expanded by the shell in there
    chroot --userspec="$user" / env -i HOME="$home" USER="$user" LOGNAME="$user" SHELL=/bin/bash \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "${data[@]}" \
        sh -c 'cd "$HOME/cemoe" && exec "$@"' sh "$@"
}

# All of the script is read before any of it runs: bash would go on in the middle of another one where the file changes
# in the hours that COMMAND may take.
main() {
    local user=root home=/root kept='' base=${XDG_CACHE_HOME:-$HOME/.cache}/cemoe/bare-debian-12.tar top clone code=0

    if [ "${1:-}" = --inside ]; then
        shift
        inside "$@"
        return
    fi
    while [ $# -gt 0 ]; do
        case "$1" in
        --user)
            user=builder
            home=/home/builder
            ;;
        --root)
            [ $# -gt 1 ] || fail "--root wants a directory"
            kept=$2
            shift
            ;;
        --fresh) rm -f "$base" ;;
        --help)
            usage
            exit 0
            ;;
        -*)
            usage >&2
            exit 2
            ;;
        *) break ;;
        esac
        shift
    done
    [ $# -gt 0 ] || {
        usage >&2
        exit 2
    }
    [ "$(id -u)" -eq 0 ] || fail "needs root, to mount and to change the root directory"
    top=$(git -C "$(dirname "$0")" rev-parse --show-toplevel)

    [ -f "$base" ] || make_base "$base"
    if [ -n "$kept" ]; then
        mkdir -p "$kept"
        root=$(cd "$kept" && pwd)
    else
        root=$(mktemp -d "${TMPDIR:-/tmp}/bare-debian.XXXXXX")
        trap 'remove_tree "$root"' EXIT
    fi
    chmod 755 "$root"
    [ -d "$root/usr" ] || tar -xf "$base" -C "$root"
    clone=$root$home/cemoe
    if [ -d "$clone" ]; then
        git -c safe.directory="$clone" -C "$clone" fetch --quiet "$top" HEAD
        git -c safe.directory="$clone" -C "$clone" reset --quiet --hard FETCH_HEAD
        git -c safe.directory="$clone" -C "$clone" clean --quiet -ffdx --exclude=/build
    else
        git clone --quiet --no-hardlinks "$top" "$clone"
    fi
    chroot "$root" chown -R "$user:" "$home/cemoe"

    # What COMMAND leaves behind is killed with the first process.
    unshare --mount --propagation private --pid --fork --kill-child --uts \
        "$0" --inside "$root" "$user" "$home" "$@" || code=$?
    return "$code"
}

# On one line, which is read as one.
main "$@"; exit
