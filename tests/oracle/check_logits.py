"""Compare logits of cemoe with Hugging Face transformers.

usage: check_logits.py MODEL_DIR LOGITS.safetensors [--ids IDS] [--compressed N] [--table FILE] [--tolerance X]

MODEL_DIR is an OLMoE checkpoint, LOGITS.safetensors has an F32 tensor `logits` [tokens, vocabulary] as `cemoe logits`
writes it (fewer rows than ids: they are taken as the last positions).  Hugging Face computes the same ids in fp32 on the
CPU; with --compressed N its MoE blocks run with N compressed experts of the paper's (scaling) kind.
Prints the relative L2 error of the worst position.  Exit: 0 agrees, 3 above the tolerance, 1 failed, 2 wrong usage.
"""
import argparse
import sys
from contextlib import nullcontext
from pathlib import Path

import torch
from safetensors.torch import load_file

from capture import load_model, run
from compressed import read_tables, replaced_blocks


def main():
    parser = argument_parser()
    args = parser.parse_args()
    given = load_file(args.logits)
    ids = args.ids or given["ids"].tolist()
    model = load_model(args.model)
    n_ce = config_n_ce(model.config) if args.compressed is None else args.compressed
    if not 0 <= n_ce < model.config.num_experts_per_tok:
        parser.error(f"--compressed must be from 0 to {model.config.num_experts_per_tok - 1}")
    expected = hugging_face_logits(model, ids, n_ce, read_tables(args.table or args.model))
    mine = given["logits"].float()
    if mine.ndim != 2 or mine.shape[0] > len(ids) or mine.shape[1] != expected.shape[1]:
        sys.exit(f"logits have shape {tuple(mine.shape)}, expected {tuple(expected.shape)} or fewer rows")
    sys.exit(report(mine, expected[-mine.shape[0]:], len(ids) - mine.shape[0], args.tolerance))


def argument_parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, metavar="MODEL_DIR")
    parser.add_argument("logits", type=Path, metavar="LOGITS.safetensors")
    parser.add_argument("--ids", type=parse_ids, help="\"1 2 3\", \"1,2,3\" or @FILE; default: tensor `ids` of LOGITS.safetensors")
    parser.add_argument("--compressed", type=int, metavar="N", help="default: n_ce of config.json where use_ce is true, else 0")
    parser.add_argument("--table", type=Path, help="file with model.layers.N.mlp.ces; default: the checkpoint's own, else none")
    parser.add_argument("--tolerance", type=float, default=1e-4, help="default: 1e-4")
    return parser


def parse_ids(text):
    text = Path(text[1:]).read_text() if text.startswith("@") else text
    return [int(word) for word in text.replace(",", " ").replace("[", " ").replace("]", " ").split()]


def config_n_ce(config):
    return config.n_ce if getattr(config, "use_ce", False) else 0


def hugging_face_logits(model, ids, n_ce, tables):
    print(f"{len(ids)} tokens, {n_ce} of {model.config.num_experts_per_tok} experts compressed"
          + (" (no table: plain truncation)" if n_ce and not tables else ""))
    with replaced_blocks(model, n_ce, tables) if n_ce else nullcontext():
        return run(model, ids)["logits"]


def report(mine, expected, first, tolerance):
    error = (mine - expected).norm(dim=-1) / expected.norm(dim=-1)
    worst = int(error.nan_to_num(nan=torch.inf).argmax())
    same = int((mine.argmax(-1) == expected.argmax(-1)).sum())
    print(f"max relative L2 error {error[worst]:.3e} at position {first + worst}, mean {error.mean():.3e}; "
          f"same most likely token at {same} of {len(error)} positions")
    if error[worst] <= tolerance:                       # false for NaN
        return 0
    print(f"above the tolerance {tolerance:g}")
    return 3


if __name__ == "__main__":
    main()
