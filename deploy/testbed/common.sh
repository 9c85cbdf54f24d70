# shellcheck shell=sh
# common.sh - names and checks that the scripts of this folder share; they source it
#
# Testbed PREFIX is the namespaces PREFIX-hub and PREFIX-0, PREFIX-1, ... and nothing else.

prefix=${CEMOE_TESTBED:-cemoe}
# shellcheck disable=SC2034 # up.sh
network=10.77.0

fail() {
    echo "testbed: $*" >&2
    exit 1
}

wrong_usage() {
    echo "${0##*/}: $*; --help tells more" >&2
    exit 2
}

# The comment at the top of a script is its help.
help_if_asked() {
    case $1 in
    -h | --help)
        sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
        exit
        ;;
    esac
}

# need_number NAME VALUE LIMIT
need_number() {
    case $2 in
    '' | *[!0-9]* | 0* | ????*) ;;
    *) [ "$2" -gt "$3" ] || return 0 ;;
    esac
    wrong_usage "$1 is a number from 1 to $3, not \"$2\""
}

# Ends with the reason where a testbed cannot be.
check_able() {
    case $prefix in
    '' | *[!a-zA-Z0-9]*) fail "CEMOE_TESTBED is letters and digits, not \"$prefix\"" ;;
    esac
    [ "$(id -u)" -eq 0 ] || fail "network namespaces need root"
    for tool in ip tc nsenter unshare hostname; do
        command -v "$tool" >/dev/null || fail "$tool is missing; deploy/install-deps.sh installs it"
    done
}

# The namespaces of this testbed that exist, a line each; hosts: without the hub.
namespaces() {
    ip netns list | sed -n "s/^\($prefix-\(hub\|[0-9]\{1,\}\)\)\( .*\)\{0,1\}\$/\1/p"
}

hosts() {
    namespaces | grep -v -- '-hub$'
}
