#!/bin/sh
# Checks of the sources: lint.sh format | shell | tidy BUILD_DIR [FILE...] | tidy-changed BUILD_DIR
# Exits 77 when the tool for it is not installed (deploy/install-deps.sh --dev installs all).
set -eu
cd "$(dirname "$0")/.."

# Of the folders that may hold sources, those that are there.
present() {
    for folder in "$@"; do
        [ ! -e "$folder" ] || echo "$folder"
    done
}

# Files of src that differ from where this branch left main (on main: from the last commit), and those that include
# one that does.
changed() {
    main=$(git rev-parse --verify --quiet main || git rev-parse --verify --quiet origin/main) ||
        { find src -name '*.c'; return; }
    base=$(git merge-base "$main" HEAD)
    [ "$base" != "$(git rev-parse HEAD)" ] || base=$(git rev-parse --verify --quiet HEAD^ || echo "$base")
    { git diff --name-only --diff-filter=d "$base" -- src; git ls-files --others --exclude-standard -- src; } |
        while read -r file; do
            case $file in
            *.c) echo "$file" ;;
            *.h) grep -rl --include='*.c' "#include \"${file#src/}\"" src || true ;;
            esac
        done | sort -u
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
tidy-changed)
    need clang-tidy
    build=${2:?the build directory with compile_commands.json}
    files=$(changed)
    # shellcheck disable=SC2086 # names without spaces
    [ -z "$files" ] || exec "$0" tidy "$build" $files
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
    echo "usage: $0 format | shell | tidy BUILD_DIR [FILE...] | tidy-changed BUILD_DIR" >&2
    exit 2
    ;;
esac
