"""Regenerate tests/golden/affine: random affine compressed experts for deploy/model and what it computes with them.

Before anything is written, the same code without compressed experts has to agree with what Hugging Face computed for
the same prompts (tests/golden/shipped.safetensors). Needs NumPy and xxhash (Debian: python3-numpy
python3-xxhash); a few seconds.
"""
import argparse
import json
from pathlib import Path

import numpy as np

from affine import Model, decode, encode, fingerprint, random_experts, read_safetensors, write_safetensors

REPOSITORY = Path(__file__).resolve().parents[2]
SEED, N_CE, SCALE, PROMPTS, LAYERS, POSITIONS = 7, 2, 0.25, 3, (0, 2), 6


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=REPOSITORY / "tests/golden/affine", help="default: tests/golden/affine")
    args = parser.parse_args()
    folder = REPOSITORY / "deploy/model"
    config = json.loads((folder / "config.json").read_text())
    experts = random_experts(config, np.random.default_rng(SEED), SCALE)
    widened = {name: decode(*encode(value)).reshape(value.shape) for name, value in experts.items()}
    prompts = [prompt["ids"] for prompt in json.loads((folder / "prompts.json").read_text())][:PROMPTS]
    check_against_hugging_face(Model(folder), prompts)
    args.out.mkdir(parents=True, exist_ok=True)
    write_safetensors(args.out / "compressed.safetensors", experts,
                      {"format": "cemoe.compressed_experts", "version": "2", "kind": "affine", "n_ce": str(N_CE),
                       "model": fingerprint(folder, config)})
    write_safetensors(args.out / "golden.safetensors", goldens(Model(folder, N_CE, widened), prompts), {})


def check_against_hugging_face(model, prompts):
    known, _ = read_safetensors(REPOSITORY / "tests/golden/shipped.safetensors")
    for index, ids in enumerate(prompts):
        expected = known[f"p{index}.full.logits"]
        logits = model.run(ids)["logits"][known[f"p{index}.positions"]]
        error = (np.linalg.norm(logits - expected, axis=-1) / np.linalg.norm(expected, axis=-1)).max()
        print(f"prompt {index}: relative error {error:.1e} against Hugging Face")
        assert error < 1e-5


def goldens(model, prompts):
    tensors = {}
    for index, ids in enumerate(prompts):
        at = f"p{index}."
        positions = np.linspace(0, len(ids) - 1, min(len(ids), POSITIONS)).round().astype(np.int32)
        seen = model.run(ids)
        tensors |= {at + "ids": np.array(ids, np.int32), at + "positions": positions,
                    at + "affine.logits": seen["logits"][positions]}
        tensors |= {f"{at}affine.layer{layer}.moe_out": seen[f"layer{layer}.moe_out"] for layer in LAYERS}
    return tensors


if __name__ == "__main__":
    main()
