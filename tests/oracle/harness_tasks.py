"""The tasks of deploy/tasks as lm-evaluation-harness defines them, over JSON Lines of ours.

Nothing is downloaded: lm_eval's own description of a task is loaded, and its data set replaced.
"""

import functools
import json
import pathlib

import datasets
import lm_eval
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks._yaml_loader import load_yaml

HERE = pathlib.Path(__file__).resolve().parent
HARNESS = pathlib.Path(lm_eval.__file__).parent / "tasks"
DEPLOY = HERE.parent.parent / "deploy/tasks"
SEED = 1234  # lm_eval's default for the sampler of examples

# name: (description, {split: file}, the field whose value names a part)
TASKS = {
    "gsm8k": ("gsm8k/gsm8k.yaml", {"test": "gsm8k_test", "train": "gsm8k_train"}, None),
    "arc_easy": ("arc/arc_easy.yaml", {"test": "arc_easy_test", "train": "arc_easy_train"}, None),
    "arc_challenge": ("arc/arc_challenge.yaml",
                      {"test": "arc_challenge_test", "train": "arc_challenge_train"}, None),
    "hellaswag": ("hellaswag/hellaswag.yaml",
                  {"validation": "hellaswag_validation", "train": "hellaswag_train"}, None),
    "piqa": ("piqa/piqa.yaml", {"validation": "piqa_validation", "train": "piqa_train"}, None),
    "winogrande": ("winogrande/default.yaml",
                   {"validation": "winogrande_validation", "train": "winogrande_train"}, None),
    "lambada_openai": ("lambada/lambada_openai.yaml", {"test": "lambada_openai_test"}, None),
    "wikitext": ("wikitext/wikitext.yaml", {"test": "wikitext_test"}, None),
    "mmlu": ("mmlu/default/mmlu_{part}.yaml", {"test": "mmlu_test", "dev": "mmlu_dev"}, "subject"),
    "cemoe_arithmetic": (HERE / "lm_eval_tasks/cemoe_arithmetic.yaml", {"test": "cemoe_arithmetic"}, None),
    "cemoe_answer": (HERE / "lm_eval_tasks/cemoe_answer.yaml", {"test": "cemoe_answer"}, None),
    "cemoe_text": (HERE / "lm_eval_tasks/cemoe_text.yaml", {"test": "cemoe_text"}, "domain"),
}


def read_documents(folder, name):
    path = next(p for p in (pathlib.Path(folder, f"{name}.jsonl"), DEPLOY / f"{name}.jsonl") if p.exists())
    return [json.loads(line) for line in path.read_text().split("\n") if line.strip()]


def parts(name, folder):
    """The parts of a task in the order of the file; [None] for a task without."""
    _, splits, field = TASKS[name]
    return list(dict.fromkeys(d[field] for d in read_documents(folder, splits["test"]))) if field else [None]


def read_splits(splits, field, part, folder, **_):
    read = {split: [d for d in read_documents(folder, file) if part is None or d[field] == part]
            for split, file in splits.items()}
    for split in ("train", "validation", "test"):  # those that a description names must be there
        read.setdefault(split, next(iter(read.values())))
    return datasets.DatasetDict({split: datasets.Dataset.from_list(d) for split, d in read.items()})


def open_task(name, part, folder, fewshot=None):
    """lm_eval's task over the documents in a folder; `fewshot` replaces its count of examples."""
    description, splits, field = TASKS[name]
    config = load_yaml(HARNESS / str(description).format(part=part), resolve_func=True)
    for key in ("dataset_path", "dataset_name", "dataset_kwargs"):
        config.pop(key, None)
    config["custom_dataset"] = functools.partial(read_splits, splits, field, part, folder)
    if fewshot is not None:
        config["num_fewshot"] = fewshot
    task = ConfigurableTask(config=config)
    task.set_fewshot_seed(SEED)
    return task
