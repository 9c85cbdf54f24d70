#!/usr/bin/env python3
"""lm-evaluation-harness as the judge of `cemoe eval`: check_lm_eval.py CEMOE MODEL_DIR [OUT_DIR]

Both evaluate the same checkpoint on cemoe's own tasks (deploy/tasks): multiple choice, generation and whole texts in windows.
lm_eval runs it with its Hugging Face backend in F32, one request at a time, its own task definitions and metrics; cemoe on
--ranks ranks. Compared are every log-likelihood of every item (1e-3 absolute), every answer and every metric. Exit code 3
says that something differs. OUT_DIR keeps what cemoe wrote; what is there is not run again.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import lm_eval
import torch
from lm_eval.evaluator import evaluate
from lm_eval.models.huggingface import HFLM

import harness_tasks

TASKS = ("cemoe_arithmetic", "cemoe_answer", "cemoe_text")
TOLERANCE = 1e-3  # of a log-likelihood
RELATIVE = 1e-5   # of a metric that is computed from log-likelihoods


def run_cemoe(options, out):
    command = [options.cemoe, "eval", "--model", options.model, "--tasks",
               *(harness_tasks.DEPLOY / f"{name}.json" for name in TASKS), "--out", out, *options.options]
    if options.ranks > 1:
        root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
        command = ["mpirun", *root, "--oversubscribe", "-n", str(options.ranks), *command]
    subprocess.run(command, check=True, stdout=sys.stderr)


def read_cemoe(out):
    """({task: {metric: value}}, {(task, item, filter): sample})"""
    results = json.loads(next(pathlib.Path(out).glob("results_*.json")).read_text())["results"]
    samples = {}
    for path in pathlib.Path(out).glob("samples_*.jsonl"):
        task = next(name for name in sorted(results, key=len, reverse=True) if path.name.startswith(f"samples_{name}_"))
        for line in path.read_text().splitlines():
            sample = json.loads(line)
            samples[task, sample["doc_id"], sample["filter"]] = sample
    return results, samples


def run_lm_eval(options):
    """The same of lm_eval."""
    model = HFLM(pretrained=str(options.model), dtype="float32", device="cpu", batch_size=1)
    tasks = {name: harness_tasks.open_task(name, None, harness_tasks.DEPLOY) for name in TASKS}
    with torch.no_grad():
        found = evaluate(lm=model, task_dict=tasks, log_samples=True, bootstrap_iters=options.draws)
    samples = {(name, sample["doc_id"], sample["filter"]): sample for name in tasks for sample in found["samples"][name]}
    return {name: found["results"][name] for name in tasks}, samples


def numbers(answer):
    """Every number in a response: [["-1.5", "False"]], -1.5 and [(-1.5, False)] alike; None of text."""
    if isinstance(answer, (list, tuple)):
        found = [numbers(item) for item in answer]
        return None if any(item is None for item in found) else [value for item in found for value in item]
    if isinstance(answer, bool) or answer in ("True", "False"):
        return [1e6 * (str(answer) == "True")]  # a different one is no rounding
    try:
        return [float(answer)]
    except (TypeError, ValueError):
        return None


def compare_sample(mine, theirs):
    """(greatest difference of a log-likelihood, whether all is alike)"""
    ours, others = numbers(mine["filtered_resps"]), numbers(theirs["filtered_resps"])
    if ours is None or others is None or "exact_match" in mine:
        return 0.0, list(mine["filtered_resps"]) == list(theirs["filtered_resps"])
    if len(ours) != len(others):
        return float("inf"), False
    worst = max(abs(a - b) for a, b in zip(ours, others))
    return worst, worst <= TOLERANCE


def compare_metrics(mine, theirs):
    """(name, ours, lm_eval's) of those that differ"""
    for name, theirs_value in theirs.items():
        if "," not in name or not isinstance(theirs_value, (int, float)):
            continue
        value = mine.get(name)
        if not isinstance(value, (int, float)) or abs(value - theirs_value) > RELATIVE * abs(theirs_value):
            yield name, value, theirs_value


def report(name, mine, theirs):
    """Prints one task; whether all is alike."""
    keys = [key for key in theirs[1] if key[0] == name]
    missing = [key for key in keys if key not in mine[1]] + [key for key in mine[1] if key[0] == name and key not in theirs[1]]
    found = {key: compare_sample(mine[1][key], theirs[1][key]) for key in keys if key in mine[1]}
    differ = [key for key, (_, alike) in found.items() if not alike]
    metrics = list(compare_metrics(mine[0].get(name, {}), theirs[0][name]))
    worst = max((difference for difference, _ in found.values()), default=0.0)
    print(f"{name}: {len(keys)} items, {len(missing)} missing, {len(differ)} differ, largest difference {worst:.2e}; "
          f"{sum(',' in metric for metric in theirs[0][name])} metrics, {len(metrics)} differ")
    for key in differ[:5]:
        print(f"  item {key[1]} {key[2]}: {mine[1][key]['filtered_resps']} lm_eval {theirs[1][key]['filtered_resps']}")
    for metric in metrics:
        print("  {}: {} lm_eval {}".format(*metric))
    return len(keys), not missing and not differ and not metrics


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cemoe", type=pathlib.Path)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path, nargs="?")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--draws", type=int, default=1000, help="of a bootstrap, as cemoe's; default 1000")
    parser.add_argument("--options", nargs=argparse.REMAINDER, default=[], help="the rest is for cemoe eval")
    options = parser.parse_args()
    out = options.out or pathlib.Path(tempfile.mkdtemp(prefix="cemoe-judge-"))
    if not list(out.glob("results_*.json")):
        run_cemoe(options, out)
    mine, theirs = read_cemoe(out), run_lm_eval(options)
    verdicts = [report(name, mine, theirs) for name in theirs[0]]
    alike = all(verdict for _, verdict in verdicts)
    print(f"lm_eval {lm_eval.__version__}: {sum(count for count, _ in verdicts)} items, {'all alike' if alike else 'DIFFERENT'}")
    return 0 if alike else 3


sys.exit(main())
