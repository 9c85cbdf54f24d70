#!/bin/sh
# Checks of the sources: lint.sh format | shell | tidy BUILD_DIR [FILE...]
# Exits 77 when the tool for it is not installed (deploy/install-deps.sh --dev installs all).
set -eu
cd "$(dirname "$0")/.."

# Of the folders that may hold sources, those that are there.
present() {
    for folder in "$@"; do
        [ ! -e "$folder" ] || echo "$folder"
    done
}

need() {
    command -v "$1" >/dev/null || { echo "$1 is not installed, skipped"; exit 77; }
}

case "${1:-}" in
format)
    need clang-format
    # shellcheck disable=SC2046 # names without spaces
    find $(present src include tests bench) -name '*.[ch]' -exec clang-format --dry-run -Werror {} +
    ;;
shell)
    need shellcheck
    # shellcheck disable=SC2046
    find $(present deploy tests bench slurm .ci) -type f \( -name '*.sh' -o -name '*.sbatch' -o -path .ci/run \) -exec shellcheck {} +
    ;;
tidy)
    need clang-tidy
    build=${2:?the build directory with compile_commands.json}
    shift 2
    if [ $# -eq 0 ]; then
        find src -name '*.c' -print0
    else
        printf '%s\0' "$@"
    fi | xargs -0 -P "$(nproc)" -n 4 clang-tidy --quiet -p "$build" 2>"$build/tidy.log" || {
        # Findings are on stdout; stderr is mostly the number of those in other people's headers.
        grep -v 'warnings\{0,1\} \(generated\|treated\)' "$build/tidy.log" >&2 || true
        exit 1
    }
    ;;
*)
    echo "usage: $0 format | shell | tidy BUILD_DIR [FILE...]" >&2
    exit 2
    ;;
esac
