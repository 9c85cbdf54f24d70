#!/usr/bin/env python3
"""Records what lm-evaluation-harness makes of what a model said: make_metric_goldens.py [--out FOLDER]

    python3.11 -m venv tasks-venv && tasks-venv/bin/pip install lm_eval==0.4.13
    tasks-venv/bin/python tests/oracle/make_metric_goldens.py

Writes, byte for byte the same everywhere:
  tests/golden/metrics.jsonl          single functions: a line each, "kind" says which
  tests/golden/results/TASK.jsonl     samples_TASK_*.jsonl of an evaluation with a model that answers by a table of its own
  tests/golden/results/results.jsonl  the same jobs' entry of "results" and of "task_hashes"

CPython 3.11: from 3.12 on sum() compensates rounding errors, so that last digits differ.
"""

import argparse
import json
import math
import os
import pathlib
import random
import struct
import sys
import tempfile
from types import SimpleNamespace

os.environ["DISABLE_MULTIPROC"] = "1"  # the same draws in one process

import harness_tasks
from lm_eval.api import metrics
from lm_eval.api.model import LM
from lm_eval.api.task import ConfigurableTask
from lm_eval.evaluator import evaluate
from lm_eval.filters import build_filter_ensemble
from lm_eval.loggers import EvaluationTracker

HERE = pathlib.Path(__file__).resolve().parent
SAMPLE = harness_tasks.DEPLOY / "sample"

# name of the file: (task, part, most documents, None for all)
JOBS = {
    "arc_easy": ("arc_easy", None, None),
    "winogrande": ("winogrande", None, None),
    "lambada_openai": ("lambada_openai", None, None),
    "wikitext": ("wikitext", None, None),
    "gsm8k": ("gsm8k", None, None),
    "cemoe_answer": ("cemoe_answer", None, 12),
    "cemoe_arithmetic": ("cemoe_arithmetic", None, 12),
}
DRAWS = 3500  # the last half thousand is never drawn


# ---------------------------------------------------------------------------------------------- one document
def choice_lines():
    rng = random.Random(1)
    names = ["acc", "acc_norm", "acc_bytes", "exact_match", "acc_mutual_info"]
    texts = ["a", "bb", "ccc", "\u00e9\u00e9", "\U0001f600", "long choice", "e\u0301", "\u65e5\u672c\u8a9e", " "]
    for index in range(120):
        count = rng.randint(1, 5)
        choices = [rng.choice(texts) for _ in range(count)]
        gold = rng.randrange(count)
        queries = 2 * count  # half of them without context
        ties = index % 3 == 0
        lls = [float(-rng.randint(1, 3)) if ties else -rng.expovariate(0.2) for _ in range(queries)]
        greedy = [rng.random() < 0.4 for _ in lls]
        for used in (names, names[:-1], ["acc_norm"]):
            asked = queries if "acc_mutual_info" in used else count
            task = stub("multiple_choice", used, doc_to_choice=choices, doc_to_target=gold)
            values = ConfigurableTask.process_results(task, {}, list(zip(lls[:asked], greedy[:asked])))
            yield {"kind": "multiple_choice", "choices": choices, "gold": gold, "logprobs": lls[:asked],
                   "greedy": greedy[:asked], "values": [[name, value] for name, value in values.items()]}


def stub(output_type, names, **fields):
    """As much of a task as process_results() asks for."""
    made = SimpleNamespace(OUTPUT_TYPE=output_type, multiple_input=0, multiple_target=0, config=SimpleNamespace(doc_to_choice=None, process_results=None),
                           count_words=ConfigurableTask.count_words, count_bytes=ConfigurableTask.count_bytes,
                           _metric_fn_list={name: None for name in names})
    for name, value in fields.items():
        setattr(made, name, lambda doc, value=value: value)
    return made


def rolling_lines():
    texts = ["a", "a b", " a b ", "\n\n", "one\u00a0two\u3000three\x1ffour", "caf\u00e9 \U0001f600", "x\u200by", "tab\there\r\n", "\u180e \x85z"]
    for index, text in enumerate(texts):
        task = stub("loglikelihood_rolling", ["word_perplexity", "byte_perplexity", "bits_per_byte"], doc_to_target=text)
        values = ConfigurableTask.process_results(task, {}, [-1.5 * index])
        yield {"kind": "loglikelihood_rolling", "text": text, "logprob": -1.5 * index,
               "values": [[name, *pair] for name, pair in values.items()]}


def exact_match_lines():
    pairs = [("5", "5"), ("5.", "5"), ("1,000", "1000"), ("$18", "18"), ("She has 3.\n#### 18", "18"), ("a\n#### 7\n#### 18", "x #### 18"),
             ("Yes", "yes"), ("\u00c9COLE", "\u00e9cole"), ("don't!", "dont"), ("a-b_c", "abc"), ("abc123", "abc"), ("", ""), ("x", ""), ("...", ""),
             ("a\u2014b", "ab"), ("\u0661\u0662", ""), (" 5", "5"), ("\u00df", "SS"), ("one  two", "one two"), ("#", "\t"), ("A1!", "a")]
    options = [{}, {"ignore_case": True}, {"ignore_punctuation": True}, {"ignore_numbers": True},
               {"regexes_to_ignore": [",", r"\$", "(?s).*#### ", r"\.$"]}, {"regexes_to_ignore": [r"\s+", "^a|b$"], "ignore_case": True},
               {"regexes_to_ignore": ["x*"]}, {"ignore_case": True, "ignore_punctuation": True, "ignore_numbers": True}]
    for option in options:
        for answer, target in pairs:
            value = metrics.exact_match_hf_evaluate(predictions=[answer], references=[target], **option)["exact_match"]
            yield {"kind": "exact_match", "answer": answer, "target": target, "ignore": option.get("regexes_to_ignore", []),
                   **{key: option.get(key, False) for key in ("ignore_case", "ignore_punctuation", "ignore_numbers")}, "value": float(value)}


# ---------------------------------------------------------------------------------------------- filters
def filter_lines():
    patterns = [r"#### (\-?[0-9\.\,]+)", r"(-?[$0-9.,]{2,})|(-?[0-9]+)", r"(-?[0-9][0-9,]*)", "a*", "(a*)", "(a*)(b*)", "x|", "(?i)answer is (\\w+)",
                r"\b(\w+)\b", r"(?:the )?(\d+)$", r"(?s)<a>(.*?)</a>", r"^(.*)$", r"(?m)^(.+)$", r"([A-D])(?=\))", r"(?<!\d)(\d)(?!\d)",
                r"(?P<word>[a-z]+) (?P=word)", r"\s+", r"[^\W\d_]+", "\u00e9+", r"(\d+)\D+(\d+)?", "(?:)", ".", r"\Z", r"[\u00e0-\u00ff]+",
                r"\((\S)\)|(\S)\.", r"(\s*)", r"()(\s+)"]
    texts = ["", "#### 18", "It is 18.\n#### 1,234.5\n#### -7", "$18.00 and 3", "no number", "aabab", "xaxx", "The answer is Paris. Answer is rome.",
             "the 42", "the 42\n", "<a> one\ntwo </a><a>3</a>", "line one\nline two\n", "(A) or B) ", "1 22 3", "the the cat cat", " \u3000 padded \u00a0",
             "\u00e9\u00e9 caf\u00e9 \u00c9", "\u0661\u0662 x", "a\U0001f600b", "\r\n", "1.", "A. yes"]
    for pattern in patterns:
        for select in (0, -1, 1):
            yield filter_line([{"kind": "regex", "pattern": pattern, "select": select, "fallback": "[invalid]"}, {"kind": "take_first"}], texts)
    for kind in ("take_first", "remove_whitespace", "lowercase"):
        yield filter_line([{"kind": kind}], [*texts, "\x1f1\x1f", "\x85 I\u2028"])
    yield filter_line([{"kind": "lowercase"}, {"kind": "regex", "pattern": "answer is ([a-z]+)", "select": 0, "fallback": " none "},
                       {"kind": "remove_whitespace"}, {"kind": "take_first"}], texts)
    yield filter_line([{"kind": "regex", "pattern": "(a)|(q)(z)?()", "select": 0, "fallback": " pad "}], texts)


def filter_line(steps, texts):
    """Every text is the one answer of a document of its own."""
    known = {"pattern": "regex_pattern", "select": "group_select", "fallback": "fallback"}
    ensemble = build_filter_ensemble("f", [(step["kind"], {known[key]: value for key, value in step.items() if key != "kind"})
                                           for step in steps])
    texts = [text for text in texts if applies(ensemble, text)]
    documents = [answer(text) for text in texts]
    if documents:
        ensemble.apply(documents)
    last = [document.filtered_resps["f"] for document in documents]
    return {"kind": "filter", "steps": steps, "texts": texts, "answers": [x if isinstance(x, str) else x[0] for x in last]}


def answer(text):
    return SimpleNamespace(resps=[text], doc={}, filtered_resps={})


def applies(ensemble, text):
    try:
        ensemble.apply([answer(text)])
    except IndexError:  # not so many matches: the harness ends there
        return False
    return True


# ---------------------------------------------------------------------------------------------- all documents
def aggregate_lines():
    rng = random.Random(2)
    for name in ("mean", "perplexity", "weighted_perplexity", "bits_per_byte"):
        function = getattr(metrics, name)
        for count in (1, 2, 3, 17, 100):
            weighted = name not in ("mean", "perplexity")
            values = [float(rng.random() < 0.6) if name == "mean" and count != 17 else -rng.expovariate(0.5) for _ in range(count)]
            weights = [rng.randint(1, 40) for _ in range(count)]
            items = list(zip(values, weights)) if weighted else values
            for draws in (0, 1, 2, 300, DRAWS) if name == "perplexity" else (0, 1000):
                error = metrics.stderr_for_metric(function, draws)
                known = error is not None and count > 1 and not (draws == 1 and name == "perplexity")
                yield {"kind": "aggregate", "aggregation": name, "values": values, "weights": weights if weighted else None, "draws": draws,
                       "value": function(items), "error": error(items) if known else None}


    # Python squares with pow(), whose last bit is not always that of a product.
    drawn = (rng.uniform(0, 4) for _ in range(100000))
    for x in [x for x in drawn if metrics.mean_stderr([x, -x]) != math.sqrt(2 * (x * x)) / math.sqrt(2)][:8]:
        yield {"kind": "aggregate", "aggregation": "mean", "values": [x, -x], "weights": None, "draws": 1, "value": 0.0,
               "error": metrics.mean_stderr([x, -x])}


# ---------------------------------------------------------------------------------------------- Python's JSON
def json_lines():
    rng = random.Random(3)
    corner = [0.0, -0.0, 1.0, -1.5, 0.1, 1e15, 1e16, 123456789012345680.0, 9007199254740993.0, 1e-4, 1e-5, 0.00012345, 5e-324, 2.2250738585072014e-308,
              1.7976931348623157e308, 1e22, 1e23, 1e100, 2**-1074 * 3, 4.35, 0.3, 2 / 3, 100.0, 1e-10, 999999999999999.9, 9999999999999998.0]
    drawn = (struct.unpack("<d", struct.pack("<Q", rng.getrandbits(64)))[0] for _ in range(4000))
    drawn = [value for value in drawn if value - value == 0.0][:500]
    drawn += [rng.uniform(-1, 1) * 10 ** rng.randint(-6, 18) for _ in range(500)]
    yield {"kind": "float", "hex": [x.hex() for x in corner + drawn], "repr": [json.dumps(x) for x in corner + drawn]}
    values = [{}, [], {"a": []}, {"b": 1, "a": [1, -2.5, True, False, None, {"x": {}}, "s"]}, "\u00e9\U0001f600\u2028\x7f", '"\\/\b\f\n\r\t\x01\x1f',
              [[[1]], [], {}], {"k\u00e9y\n": "v", "": 0}, -(2**63), 2**63 - 1, 1.0, [1e300, 1e-7]]
    for value in values:
        yield {"kind": "json", "value": value, "line": json.dumps(value, ensure_ascii=False), "indented": json.dumps(value, indent=2, ensure_ascii=False)}


# ---------------------------------------------------------------------------------------------- whole evaluations
class Table(LM):
    """Says something of every kind, the same in every run."""

    def __init__(self):
        super().__init__()
        self.rng = random.Random(4)

    def loglikelihood(self, requests):
        return [(-self.rng.expovariate(0.1), self.rng.random() < 0.5) for _ in requests]

    def loglikelihood_rolling(self, requests):
        return [-self.rng.expovariate(0.002) for _ in requests]

    def generate_until(self, requests):
        return [self.answer(request.doc) for request in requests]

    def answer(self, document):
        right = str(document["answer"])
        return self.rng.choice([" " + right, right + ".", "It is 1,000 or $3.50\n#### 12", "\u00e9 \"none\"\t", "", f" so 3 = {right}\n"])


def run_job(name, part, limit):
    task = harness_tasks.open_task(name, part, SAMPLE)
    if task.OUTPUT_TYPE == "generate_until":
        given = task.config.generation_kwargs
        order = {key: given[key] for key in ("until", "do_sample", "temperature")}
        task.config.generation_kwargs = {**order, "max_gen_toks": given.get("max_gen_toks", 256)}
    found = evaluate(Table(), {"tasks": {name: task}, "groups": {}}, limit=limit, bootstrap_iters=DRAWS)
    with tempfile.TemporaryDirectory() as folder:
        tracker = EvaluationTracker(output_path=folder)
        tracker.general_config_tracker.model_name_sanitized = "model"
        samples = found.pop("samples")
        tracker.save_results_aggregated(results=found, samples=samples)
        tracker.save_results_samples(task_name=name, samples=samples[name])
        lines, = pathlib.Path(folder, "model").glob("samples_*.jsonl")
        whole, = pathlib.Path(folder, "model").glob("results_*.json")
        return lines.read_bytes(), json.loads(whole.read_text())


def write(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    print(path.name, path.stat().st_size, file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=pathlib.Path, default=HERE.parent / "golden")
    out = parser.parse_args().out
    write(out / "metrics.jsonl", [*choice_lines(), *rolling_lines(), *exact_match_lines(), *filter_lines(), *aggregate_lines(), *json_lines()])
    (out / "results").mkdir(exist_ok=True)
    jobs = []
    for name, job in JOBS.items():
        samples, found = run_job(*job)
        (out / "results" / f"{name}.jsonl").write_bytes(samples)
        jobs.append({"task": job[0], "part": job[1], "limit": job[2] or 0, "draws": DRAWS, "results": found["results"][job[0]],
                     "n-samples": found["n-samples"][job[0]], "higher_is_better": found["higher_is_better"][job[0]],
                     "version": found["versions"][job[0]], "n-shot": found["n-shot"][job[0]], "hash": found["task_hashes"][job[0]]})
    write(out / "results" / "results.jsonl", jobs)


if __name__ == "__main__":
    main()
