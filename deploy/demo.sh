#!/bin/sh
# From a fresh checkout to text: installs what is missing, builds the release and lets two ranks
# continue a prompt with the model in deploy/model, first with all experts, then with the two
# lightest of each token's four replaced by compressed experts. The texts go to stdout, everything
# else (build, tokens per second, bytes moved between the ranks, what to try next) to stderr.
#
#     deploy/demo.sh [PROMPT]
set -eu
cd "$(dirname "$0")/.."
prompt=${1:-Question: A farmer has 3 fields}

deploy/install-deps.sh
for folder in . build build/release; do
    if [ -e "$folder" ] && [ ! -w "$folder" ]; then
        echo "$0: $(cd "$folder" && pwd) belongs to $(stat -c %U "$folder"), who must run this, or give it to you" >&2
        exit 1
    fi
done
{
    # A tree that was configured here keeps what it was configured with; one that came with a copy
    # of a checkout would build the original.
    if [ ! -f build/release/build.ninja ] ||
        ! grep -Fqx "CMAKE_HOME_DIRECTORY:INTERNAL=$(pwd -P)" build/release/CMakeCache.txt; then
        cmake --preset release --fresh
    fi
    cmake --build --preset release --target cemoe
} >&2

# Open MPI refuses to run as root unless told twice.
if [ "$(id -u)" -eq 0 ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
# Two ranks share this machine: half of its cores for each, one where there is but one.
cores=$(nproc)
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$(((cores + 1) / 2))}"

generate() {
    mpirun -n 2 --oversubscribe --bind-to none build/release/cemoe generate \
        --model deploy/model --prompt "$prompt" --max-tokens 64 "$@"
}

echo "== all experts" >&2
generate --compressed 0
echo "== two of four experts compressed" >&2
generate --compressed 2 --compressed-experts deploy/model/ces-math.safetensors
cat >&2 <<'END'
== Shown: two ranks continued a prompt, with all 4 experts per token and with 2 of them compressed; "saved" says how much less they sent.
== Next: cmake --install build/release --prefix ~/.local && export PATH="$HOME/.local/bin:$PATH" && cemoe --help
== Then: README.md goes on with scoring a text, a checkpoint of your own, evaluation and clusters.
END
