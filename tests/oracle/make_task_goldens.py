#!/usr/bin/env python3
"""Records what lm-evaluation-harness asks for our sample documents: make_task_goldens.py [--out FOLDER]

    python3.11 -m venv tasks-venv && tasks-venv/bin/pip install lm_eval==0.4.13
    tasks-venv/bin/python tests/oracle/make_task_goldens.py

Writes tests/golden/tasks_NAME.jsonl, one line a document and number of examples, and
tasks_sampler.jsonl, samples that Python's module random draws. Byte for byte the same everywhere.
"""

import argparse
import json
import pathlib
import random

import harness_tasks

HERE = pathlib.Path(__file__).resolve().parent
SAMPLE = harness_tasks.DEPLOY / "sample"

# name: (numbers of examples, None for the task's own; most documents of each part, None for all)
CASES = {
    "gsm8k": ([None, 0, 7], None),
    "arc_easy": ([None, 3], None),
    "arc_challenge": ([None, 4], None),
    "hellaswag": ([None, 3], None),
    "piqa": ([None, 2, 4], None),
    "winogrande": ([None, 3], None),
    "lambada_openai": ([None, 2], None),
    "wikitext": ([None], None),
    "mmlu": ([None, 5], None),
    "cemoe_arithmetic": ([None, 5, 12], 8),
    "cemoe_answer": ([None], 40),
    "cemoe_text": ([None], 2),
}


def record_document(task, doc, requests):
    """What is compared: the requests, the target, the texts that acc_norm divides by."""
    line = {"requests": [list(r.arguments) for r in requests], "target": str(task.doc_to_target(doc))}
    if task.OUTPUT_TYPE == "multiple_choice":
        choices = task.doc_to_choice(doc)
        gold = task.doc_to_text(doc) if task.multiple_input else task.doc_to_target(doc)
        line["choices"] = choices
        line["gold"] = gold if isinstance(gold, int) else choices.index(gold)
    if task.OUTPUT_TYPE == "loglikelihood_rolling":
        pairs = task.process_results(doc, [0.0])
        line["bytes"] = pairs["byte_perplexity"][1]
    return line


def record_task(name, part, fewshot, limit):
    task = harness_tasks.open_task(name, part, SAMPLE, fewshot)
    task.build_all_requests(limit=limit)
    for doc_id, doc in task.doc_iterator(limit=limit):
        requests = [r for r in task.instances if r.doc_id == doc_id]
        requests.sort(key=lambda r: r.idx)
        yield {"task": name, "part": part, "fewshot": fewshot, "doc_id": doc_id,
               **record_document(task, doc, requests)}


def record_sampler():
    """Several samples in a row from one generator; the method changes with the sizes."""
    for seed in (0, 1, 1234, 2**32 + 7, 2**62 + 5):
        generator = random.Random(seed)
        for population, wanted in ((1, 1), (8, 5), (21, 5), (22, 5), (7473, 5), (85, 6), (86, 6), (300, 25),
                                   (1000, 40), (4096, 4), (65537, 21), (5, 0)):
            yield {"seed": seed, "population": population, "wanted": wanted,
                   "chosen": generator.sample(range(population), wanted)}


def write(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    print(path.name)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=pathlib.Path, default=HERE.parent / "golden")
    out = parser.parse_args().out
    for name, (counts, limit) in CASES.items():
        write(out / f"tasks_{name}.jsonl",
              [line for count in counts for part in harness_tasks.parts(name, SAMPLE)
               for line in record_task(name, part, count, limit)])
    write(out / "tasks_sampler.jsonl", record_sampler())


if __name__ == "__main__":
    main()
