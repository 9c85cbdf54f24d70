#!/bin/sh
# Builds llama.cpp for measure.py: for the CPU alone, static, from the source that the npm package
# node-llama-cpp brings along as a git bundle, and makes the model files.
set -eu

package=node-llama-cpp@3.22.1

usage() {
    cat <<'EOF'
Usage: bench/peers/build.sh [options] DIR

Everything is written to DIR, which must not lie in a repository that it could be committed to:
DIR/llama.cpp (source), DIR/llama-ISA (programs), DIR/*.gguf (13 GB) and DIR/shape/config.json.
What is there already is not made again.

  --isa native|avx2   instructions llama.cpp may use: all of this CPU, or AVX2, FMA and F16C
                      (default native)
  --jobs N            compilers at once (default: one for each processor)
  --layers N          layers of the model (default 4; 16 is OLMoE-1B-7B)
  --vocabulary N      its vocabulary (default 12576; 50304 is OLMoE-1B-7B)
  --build-only        make no model files
EOF
}

isa=native
jobs=$(nproc)
layers=4
vocabulary=12576
files=yes
while [ $# -gt 0 ]; do
    case $1 in
    --isa) isa=$2 && shift ;;
    --jobs) jobs=$2 && shift ;;
    --layers) layers=$2 && shift ;;
    --vocabulary) vocabulary=$2 && shift ;;
    --build-only) files=no ;;
    -h | --help) usage && exit 0 ;;
    -*) usage >&2 && exit 2 ;;
    *) break ;;
    esac
    shift
done
if [ $# -ne 1 ]; then
    usage >&2
    exit 2
fi

here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
cd "$1"

if [ ! -d llama.cpp ]; then
    if [ ! -f package/llama/gitRelease.bundle ]; then
        npm pack --silent "$package"
        tar xzf node-llama-cpp-*.tgz package/llama/gitRelease.bundle
    fi
    git -c advice.detachedHead=false clone --quiet package/llama/gitRelease.bundle llama.cpp
fi

case $isa in
native) set -- -DGGML_NATIVE=ON ;;
avx2) set -- -DGGML_NATIVE=OFF -DGGML_SSE42=ON -DGGML_AVX=ON -DGGML_AVX2=ON -DGGML_FMA=ON \
    -DGGML_F16C=ON -DGGML_BMI2=ON ;;
*) usage >&2 && exit 2 ;;
esac
cmake -S llama.cpp -B "llama-$isa" -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF \
    -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF \
    -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_UI=OFF "$@"
cmake --build "llama-$isa" -j "$jobs" --target llama-bench llama-batched-bench llama-quantize

if [ $files = no ]; then
    exit 0
fi
python3 -B "$here/make_gguf.py" --layers "$layers" --vocabulary "$vocabulary" --config shape
[ -f bf16-8.gguf ] || python3 -B "$here/make_gguf.py" --layers "$layers" --vocabulary "$vocabulary" \
    --gguf bf16-8.gguf
for format in q8_0 q4_0; do
    [ -f "$format-8.gguf" ] || "llama-$isa/bin/llama-quantize" bf16-8.gguf "$format-8.gguf" "$format" "$jobs"
done
for format in bf16 q8_0 q4_0; do
    if [ ! -f "$format-4.gguf" ]; then
        cp "$format-8.gguf" "$format-4.gguf"
        python3 -B "$here/make_gguf.py" --experts-used "$format-4.gguf" --used 4
    fi
done
