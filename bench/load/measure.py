#!/usr/bin/env python3
"""How long a job waits for a packed model, beside how fast its file system gives the same bytes.

Makes a checkpoint of random BF16 weights in DIR (3.5 GB: OLMoE-1B-7B with 4 of its layers and a quarter of its vocabulary),
packs it, and takes turns, with the file in the page cache:

  read  all threads read the file into buffers they use again: the rate of the file system
  copy  all threads read it into fresh memory, on huge pages where there are some: what a copy costs at least
  load  cemoe loads it: the same, checksums and the start of the engine
  mmap  cemoe --mmap: no copy, checksums and the start of the engine

Medians of --repeat.
"""

import argparse
import json
import mmap
import os
import pathlib
import statistics
import struct
import subprocess
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
HIDDEN, INTERMEDIATE, EXPERTS, LAYERS, VOCABULARY = 2048, 1024, 64, 4, 12576
CONFIG = {"architectures": ["OlmoeForCausalLM"], "model_type": "olmoe", "hidden_size": HIDDEN, "intermediate_size": INTERMEDIATE,
          "num_experts": EXPERTS, "num_experts_per_tok": 8, "num_hidden_layers": LAYERS, "num_attention_heads": 16,
          "num_key_value_heads": 16, "vocab_size": VOCABULARY, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
          "max_position_embeddings": 4096, "torch_dtype": "bfloat16", "eos_token_id": 2, "hidden_act": "silu"}
BUFFER = 1 << 20
SLICE = 16 << 20  # of a file, to one thread


def list_tensors():
    yield "model.embed_tokens.weight", [VOCABULARY, HIDDEN]
    yield "lm_head.weight", [VOCABULARY, HIDDEN]
    yield "model.norm.weight", [HIDDEN]
    for layer in (f"model.layers.{number}" for number in range(LAYERS)):
        for name in ("input_layernorm", "post_attention_layernorm", "self_attn.q_norm", "self_attn.k_norm"):
            yield f"{layer}.{name}.weight", [HIDDEN]
        for name in "qkvo":
            yield f"{layer}.self_attn.{name}_proj.weight", [HIDDEN, HIDDEN]
        yield f"{layer}.mlp.gate.weight", [EXPERTS, HIDDEN]
        for expert in range(EXPERTS):
            yield f"{layer}.mlp.experts.{expert}.gate_proj.weight", [INTERMEDIATE, HIDDEN]
            yield f"{layer}.mlp.experts.{expert}.up_proj.weight", [INTERMEDIATE, HIDDEN]
            yield f"{layer}.mlp.experts.{expert}.down_proj.weight", [HIDDEN, INTERMEDIATE]


def make_checkpoint(folder):
    """Every tensor is the beginning of one block of random numbers below 1."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    block = bytearray(os.urandom(2 * VOCABULARY * HIDDEN))
    block[1::2] = bytes(0x3c | byte & 0x80 for byte in block[1::2])  # the upper bytes: about +-0.01
    header, end = {}, 0
    for name, shape in list_tensors():
        size = 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in header.values():
            begin, end = tensor["data_offsets"]
            file.write(memoryview(block)[:end - begin])


def read_slices(file, todo, lock, whole):
    buffer = None if whole else memoryview(bytearray(BUFFER))
    while True:
        with lock:
            if not todo:
                return
            at, end = todo.pop()
        while at < end:
            at += os.preadv(file, [whole[at:min(at + BUFFER, end)] if whole else buffer[:end - at]], at)


def read_file(path, threads, fresh):
    """(bytes, seconds) of reading all of it, to fresh memory or to a buffer a thread."""
    file = os.open(path, os.O_RDONLY)
    size = os.fstat(file).st_size
    todo = [(at, min(at + SLICE, size)) for at in range(0, size, SLICE)]
    lock = threading.Lock()
    began = time.perf_counter()
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) if fresh else None
    if fresh:
        memory.madvise(mmap.MADV_HUGEPAGE)
    whole = memoryview(memory) if fresh else None
    workers = [threading.Thread(target=read_slices, args=(file, todo, lock, whole)) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    seconds = time.perf_counter() - began
    os.close(file)
    return size, seconds


def load(cemoe, model, threads, *options):
    """(bytes, seconds) that the program says."""
    done = subprocess.run([cemoe, "bench", "step", "--model", model, "--prompt-tokens", "1", "--decode-steps", "1", "--repeat", "1",
                           "--read-bytes", "0", "--cache-tokens", "1K", "--json", "-q", *options], check=True,
                          stdout=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": str(threads)})
    found = json.loads(done.stdout)["load"]
    return found["weight_bytes"], found["seconds"]


def measure(options, weights):
    packed = options.dir / f"packed-{weights}"
    if not packed.exists():
        subprocess.run([options.cemoe, "pack", "--model", options.dir / "checkpoint", "--out", packed, "--weights", weights,
                        "--dense-weights", weights], check=True)
    file = packed / "model.cemoe"
    lanes = {"read": lambda: read_file(file, options.threads, False),
             "copy": lambda: read_file(file, options.threads, True),
             "load": lambda: load(options.cemoe, packed, options.threads),
             "mmap": lambda: load(options.cemoe, packed, options.threads, "--mmap")}
    rates = {name: [] for name in lanes}
    for turn in range(options.repeat + 1):
        for name, lane in lanes.items():
            size, seconds = lane()
            if turn > 0:  # the first fills the page cache
                rates[name].append(size / seconds / 1e9)
    median = {name: statistics.median(found) for name, found in rates.items()}
    for name, found in rates.items():
        print(f"{weights:6} {name} {median[name]:6.2f} ({min(found):.2f} .. {max(found):.2f}) GB/s"
              f"{100 * median[name] / median['read']:5.0f} % of read", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", type=pathlib.Path, metavar="DIR", help="scratch folder, 12 GB; what is there is used again")
    parser.add_argument("--cemoe", type=pathlib.Path, default=HERE.parents[1] / "build/release/cemoe")
    parser.add_argument("--formats", nargs="+", choices=["stored", "q8", "q4"], default=["stored", "q8", "q4"])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="default all processors")
    parser.add_argument("--repeat", type=int, default=5, help="default 5")
    options = parser.parse_args()
    if not (options.dir / "checkpoint").exists():
        make_checkpoint(options.dir / "checkpoint")
    for weights in options.formats:
        measure(options, weights)


main()
