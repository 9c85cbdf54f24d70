"""Regenerate the model goldens in tests/golden with Hugging Face transformers.

tiny      four tiny random checkpoints OUT/<name>/ and what they compute, OUT/<name>/golden.safetensors
shipped   OUT/shipped.safetensors: what the model in deploy/model computes for its prompts.json
Weights are rounded to their stored type first; all arithmetic is fp32 on the CPU.
"""
import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from capture import greedy, load_model, router_gap, run
from compressed import CompressedBlock, read_tables, replaced_blocks
from tiny_models import TINY, prompts, table_source, write_checkpoint

REPOSITORY = Path(__file__).resolve().parents[2]
MIN_ROUTER_GAP, MIN_LOGIT_MARGIN = 2e-5, 2e-3      # of the tiny models: far above fp32 rounding differences
SHIPPED_LAYERS, SHIPPED_PROMPTS, SHIPPED_POSITIONS, SHIPPED_STEPS = (0, 2), 3, 48, 64


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["tiny", "shipped"], help="default: both")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "tests/golden", help="default: tests/golden")
    parser.add_argument("--model", type=Path, default=REPOSITORY / "deploy/model", help="default: deploy/model")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    if args.only != "shipped":
        for tiny in TINY:
            write_tiny(tiny, args.out / tiny.name)
    if args.only != "tiny":
        save(shipped_goldens(args.model), args.out / "shipped.safetensors")


def save(tensors, path, metadata=None):
    save_file({name: value.contiguous() for name, value in tensors.items()}, path, metadata=metadata)
    path.chmod(0o644)                                   # safetensors writes files that only their owner may read
    print(f"{path.parent.name}/{path.name}: {len(tensors)} tensors, {path.stat().st_size} bytes", flush=True)


# ---------------------------------------------------------------------------------------------- tiny checkpoints
def write_tiny(tiny, folder):
    write_checkpoint(tiny, folder)
    model = load_model(folder)
    tables = read_tables(table_source(tiny, folder))
    tensors = {}
    for index, ids in enumerate(prompts(tiny)):
        at = f"p{index}."
        tensors[at + "ids"] = torch.tensor(ids, dtype=torch.int32)
        tensors |= recorded(model, ids, at + "full.", steps=32)
        if tables:
            tensors |= compressed_on_full_input(model, tables, tiny.n_ce, tensors, at + "full.")
            with replaced_blocks(model, tiny.n_ce, tables):
                tensors |= recorded(model, ids, at + "ce.", steps=32)
        with replaced_blocks(model, tiny.n_ce):
            tensors[at + "top.logits"] = run(model, ids)["logits"]
    require_separation(tiny.name, tensors)
    save(tensors, folder / "golden.safetensors", metadata={"n_ce": str(tiny.n_ce)})


def recorded(model, ids, at, steps):
    """All stages of one run and its greedy continuation, named with the prefix `at`."""
    stage = run(model, ids)
    gap = router_gap(model, stage)
    kept = {at + name: value for name, value in stage.items() if not name.endswith("router_logits")}
    return kept | continued(model, ids, at, steps, gap)


def continued(model, ids, at, steps, gap=float("inf")):
    continuation, margin, met = greedy(model, ids, steps)
    return {at + "greedy": torch.tensor(continuation, dtype=torch.int32), at + "greedy_margin": torch.tensor([margin]),
            at + "router_gap": torch.tensor([min(gap, met)])}


@torch.no_grad()
def compressed_on_full_input(model, tables, n_ce, tensors, at, layers=None):
    """The compressed block on the input that the full run gave it, so that errors of earlier layers stay out."""
    outputs = {}
    for index in range(len(tables)) if layers is None else layers:
        block = CompressedBlock(model.model.layers[index].mlp, n_ce, tables[index])
        outputs[f"{at}layer{index}.moe_out_ce"] = block(tensors[f"{at}layer{index}.moe_in"])
    return outputs


def require_separation(name, tensors):
    """Goldens must not hang on a near-tie: any correct implementation has to choose the same experts and tokens."""
    gap = min(value.item() for key, value in tensors.items() if key.endswith("router_gap"))
    margin = min(value.item() for key, value in tensors.items() if key.endswith("greedy_margin"))
    print(f"{name}: smallest router gap {gap:.1e}, smallest greedy margin {margin:.1e}")
    assert gap >= MIN_ROUTER_GAP and margin >= MIN_LOGIT_MARGIN, f"{name}: near-tie, choose another seed"


# ---------------------------------------------------------------------------------------------- the shipped model
def shipped_goldens(folder):
    base, tuned = load_model(folder), load_model(folder / "ce-math")
    tables, tuned_tables = read_tables(folder / "ces-math.safetensors"), read_tables(folder / "ce-math")
    tensors = {}
    for index, prompt in enumerate(json.loads((folder / "prompts.json").read_text())):
        at, ids, deep = f"p{index}.", prompt["ids"], index < SHIPPED_PROMPTS
        tensors[at + "ids"] = torch.tensor(ids, dtype=torch.int32)
        tensors[at + "positions"] = spaced_positions(len(ids))
        tensors |= shipped_run(base, ids, at + "full.", tensors[at + "positions"], deep)
        if deep:
            tensors |= compressed_on_full_input(base, tables, 2, tensors, at + "full.", SHIPPED_LAYERS)
        with replaced_blocks(base, 2, tables):
            tensors |= shipped_run(base, ids, at + "ce.", tensors[at + "positions"], deep)
        with replaced_blocks(tuned, 2, tuned_tables):
            tensors |= shipped_run(tuned, ids, at + "cemath.", tensors[at + "positions"], False)
    return tensors


def spaced_positions(length):
    """At most 48 evenly spaced positions of a prompt, with the first and the last."""
    return torch.linspace(0, length - 1, min(length, SHIPPED_POSITIONS)).round().int()


def shipped_run(model, ids, at, positions, deep):
    stage = run(model, ids)
    tensors = {at + "logits": stage["logits"][positions]}
    for layer in SHIPPED_LAYERS if deep else ():
        for name in ("moe_in", "topk_ids", "topk_weights", "moe_out"):
            tensors[f"{at}layer{layer}.{name}"] = stage[f"layer{layer}.{name}"]
    return tensors | continued(model, ids, at, SHIPPED_STEPS, router_gap(model, stage))


if __name__ == "__main__":
    main()
