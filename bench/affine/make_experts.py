#!/usr/bin/env python3
"""Write random compressed experts of the affine kind for a config.json: for benchmarks with --dummy-weights.

usage: make_experts.py CONFIG.json OUT.safetensors [--rank R] [--neurons S] [--n-ce N]

Values are small, so that a model of random weights stays finite; the speed does not depend on them.
"""
import argparse
import json
import struct
from pathlib import Path

import numpy as np

PARTS = ("b", "u", "v", "gate", "up", "down")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, metavar="CONFIG.json")
    parser.add_argument("out", type=Path, metavar="OUT.safetensors")
    parser.add_argument("--rank", type=int, default=32, help="of every expert; default: 32")
    parser.add_argument("--neurons", type=int, default=0, help="of every expert; default: 0")
    parser.add_argument("--n-ce", type=int, default=4, help="what the metadata say; default: 4")
    args = parser.parse_args()
    config = json.loads(args.config.read_text())
    shapes = list(names_and_shapes(config, args.rank, args.neurons))
    with args.out.open("wb") as out:
        out.write(header_of(shapes, args.n_ce))
        rng = np.random.default_rng(1)
        for _, shape in shapes:
            values = rng.uniform(-0.01, 0.01, shape).astype(np.float32)
            out.write((values.view(np.uint32) >> 16).astype("<u2").tobytes())


def names_and_shapes(config, rank, neurons):
    d = config["hidden_size"]
    shape = {"b": (d,), "u": (d, rank), "v": (rank, d), "gate": (neurons, d), "up": (neurons, d), "down": (d, neurons)}
    for layer in range(config["num_hidden_layers"]):
        for expert in range(config["num_experts"]):
            for part in PARTS:
                if min(shape[part]) > 0:
                    yield f"model.layers.{layer}.mlp.affine.{expert}.{part}", shape[part]


def header_of(shapes, n_ce):
    header, end = {"__metadata__": {"kind": "affine", "n_ce": str(n_ce)}}, 0
    for name, shape in shapes:
        begin, end = end, end + 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


if __name__ == "__main__":
    main()
