#!/usr/bin/env python3
"""cemoe beside llama.cpp: interleaved pairs on the same shapes, and the table of targets.

DIR is what build.sh has filled. Every pair runs each of our jobs next to that of the peer, each time in the other order;
ratios are taken within a pair, and their median and extremes are printed. Nothing else may run on the machine.
"""

import argparse
import contextlib
import fcntl
import itertools
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
LEAST_READ = 22e9  # bytes per second; a pair with less is void
BATCHES = [1, 4, 8, 16, 32]
OURS = {"bf16": [], "q8": ["--weights", "q8"], "q4": ["--weights", "q4"]}
FILES = {"bf16": "bf16", "q8": "q8_0", "q4": "q4_0"}
NAMES = {"bf16": "BF16", "q8": "Q8_0", "q4": "Q4_0"}
TOP_K = 8
COMPRESSED = 4


class Failed(Exception):
    """A program did not do what it was started for."""


def run(command, **environment):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False,
                          env={**os.environ, **environment})
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))}\n{done.stderr[-2000:]}")
    return done.stdout


def json_lines(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


# ---- one job each: tokens per second, {"prompt": .., "decode": {batch: ..}}

class Cemoe:
    def __init__(self, options):
        self.options = options
        self.help = run([options.cemoe, "bench", "step", "--help"])

    def has(self, option, word=""):
        """Whether the program has this option, with this word in what its help says of it."""
        _, found, rest = self.help.partition(f"  {option} ")
        return found != "" and re.search(rf"\b{word}\b", rest.split("\n  --")[0]) is not None

    def can(self, weights):
        return weights == "bf16" or self.has("--weights", weights)

    def step(self, job, *words, ranks=1):
        options = self.options
        command = [options.cemoe, "bench", "step", "--model", options.dir / "shape", "--dummy-weights", 1, "--json", "-q",
                   "--repeat", options.repeat, *OURS[job.weights], *words]
        if job.weights != "bf16" and self.has("--dense-weights"):
            command += ["--dense-weights", job.weights]
        if job.used < TOP_K:
            command += ["--compressed", TOP_K - job.used]
        if ranks > 1:
            root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
            command = ["mpirun", *root, "--bind-to", "none", "-n", ranks, *command]
            command += ["--expert-split", "node"] if self.has("--expert-split") else []
        return json.loads(run(command, OMP_NUM_THREADS=str(options.threads // ranks)))

    def measure(self, job):
        options = self.options
        batches = options.batches if job.ranks == 1 else [1]
        prompt = self.step(job, "--prompt-tokens", options.prompt, "--step-tokens", options.prompt, "--decode-steps", 1,
                           "--read-bytes", 0, ranks=job.ranks)
        decode = self.step(job, "--prompt-tokens", options.context, "--decode-steps", options.steps, "--batch", *batches,
                           "--read-bytes", options.read_bytes, ranks=job.ranks)
        return {"prompt": prompt["batches"][0]["prompt"]["tokens_per_second"],
                "decode": {str(one["batch"]): one["decode"]["tokens_per_second"] for one in decode["batches"]},
                "of_read": decode["batches"][0]["decode"]["of_read"],
                "bytes": decode["batches"][0]["decode"]["bytes_per_token"],
                "read": decode["limits"]["read_bytes_per_second"]["max"]}


class Llama:
    def __init__(self, options):
        self.options = options
        self.bin = options.dir / f"llama-{options.isa}/bin"

    def measure(self, job):
        options = self.options
        common = ["-m", options.dir / f"{FILES[job.weights]}-{job.used}.gguf", "-t", options.threads, "-lm", "none"]
        (prompt,) = json_lines(run([self.bin / "llama-bench", *common, "-p", options.prompt, "-n", 0, "-r", options.repeat,
                                    "-o", "jsonl"]))
        decode = json_lines(run([self.bin / "llama-batched-bench", *common, "-fit", "off", "-npp", options.context,
                                 "-ntg", options.steps, "-npl", ",".join(map(str, options.batches)),
                                 "-c", max(options.batches) * (options.context + options.steps), "--output-format", "jsonl"]))
        return {"prompt": statistics.median(prompt["samples_ts"]),
                "decode": {str(one["pl"]): one["speed_tg"] for one in decode}}


class Ik:
    """ik_llama.cpp, whose options are those of an older llama.cpp and two of its own; prompts only."""

    def __init__(self, options):
        self.options = options
        self.program = next(iter(sorted(options.ik.glob("**/bin/llama-bench"))), None) if options.ik else None

    def measure(self, job):
        options = self.options
        lines = json.loads(run([self.program, "-m", options.dir / f"{FILES[job.weights]}-{job.used}.gguf",
                                "-t", options.threads, "-mmp", 0, "-rtr", 1, "-fmoe", 1, "-p", options.prompt, "-n", 0,
                                "-r", options.repeat, "-o", "json"]))
        return {"prompt": statistics.median(lines[0]["samples_ts"])}


class Job:
    """One configuration of one program."""

    def __init__(self, who, weights, used, ranks=1):
        self.who, self.weights, self.used, self.ranks = who, weights, used, ranks
        self.name = f"{who} {weights} {used}" + (f" x{ranks}" if ranks > 1 else "")


def list_jobs(options, programs):
    """Ours beside the peer's; what cannot be measured is left out."""
    jobs = []
    for weights in options.formats:
        mine = programs["cemoe"].can(weights)
        for used in (TOP_K, COMPRESSED) if "peers" in options.rows else ():
            jobs += [Job("cemoe", weights, used)] if mine else []
            jobs.append(Job("llama", weights, used))
        if "peers" in options.rows and weights == "q8" and programs["ik"].program:
            jobs.append(Job("ik", weights, TOP_K))
        if "ranks" in options.rows and weights == "bf16" and options.threads % 2 == 0:
            jobs += [] if "peers" in options.rows else [Job("cemoe", weights, TOP_K)]
            jobs.append(Job("cemoe", weights, TOP_K, ranks=2))
    return jobs


@contextlib.contextmanager
def alone(lock):
    """Nobody else who takes this lock (with flock(1), say) runs meanwhile."""
    if lock is None:
        yield
        return
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def measure_pair(number, jobs, programs, lock):
    """Jobs of one format follow each other, with the machine for themselves."""
    pair = {}
    ordered = jobs if number % 2 == 0 else reversed(jobs)
    for _, group in itertools.groupby(ordered, lambda job: job.weights):
        with alone(lock):
            for job in group:
                began = time.monotonic()
                pair[job.name] = programs[job.who].measure(job)
                print(f"pair {number + 1}: {job.name}: {json.dumps(pair[job.name])} in {time.monotonic() - began:.0f} s",
                      file=sys.stderr, flush=True)
    return pair


def is_void(pair):
    return any(one["read"] < LEAST_READ for one in pair.values() if "read" in one)


# ---- the table

def value(pair, name, what):
    """Tokens per second of "prompt" or of decoding at a batch; None where it was not measured."""
    one = pair.get(name, {})
    return one.get(what) if what in ("prompt", "of_read") else one.get("decode", {}).get(what)


def ratios(pairs, mine, other, what):
    found = []
    for pair in pairs:
        a, b = value(pair, mine, what), value(pair, other, what) if other else 1.0
        if a is not None and b:
            found.append(a / b)
    return found


def rows():
    """(measure, ours, the other, what, targets)"""
    phase = {"prompt": "prompt", "1": "decode b1", "4": "decode b4", "8": "decode b8", "16": "decode b16", "32": "decode b32"}
    for weights in OURS:
        for used in (TOP_K, COMPRESSED):
            yield (f"decode b1 of the read limit, {weights}, {used} of {TOP_K}", f"cemoe {weights} {used}", None, "of_read",
                   (0.70, 0.80, 0.85))
    against = {("bf16", "prompt"): (1.8, 2.2, 3.0), ("q8", "prompt"): (1.5, 2.0, 2.6), ("bf16", "1"): (1.1, 1.25, 1.4),
               ("q8", "1"): (1.15, 1.3, 1.5), ("q8", "8"): (1.3, 1.7, 2.2), ("q8", "32"): (1.8, 2.2, 3.0)}
    for weights in OURS:
        for what, name in phase.items():
            yield (f"{name} {weights} / llama.cpp {NAMES[weights]}", f"cemoe {weights} 8", f"llama {weights} 8", what,
                   against.get((weights, what)))
    yield "prompt q8 / ik_llama.cpp Q8_0", "cemoe q8 8", "ik q8 8", "prompt", (0.9, 1.0, 1.3)
    for weights in OURS:
        for what, marks in (("1", (1.30, 1.42, 1.48)), ("prompt", (1.45, 1.52, 1.56))):
            yield (f"{phase[what]} {weights}: compressed / own uncompressed", f"cemoe {weights} 4", f"cemoe {weights} 8", what,
                   marks)
    for weights in OURS:
        for what, marks in (("1", (1.1, 1.3)), ("prompt", (1.4, 1.8))):
            yield (f"{phase[what]} {weights}: compressed / llama.cpp {NAMES[weights]} top-4", f"cemoe {weights} 4",
                   f"llama {weights} 4", what, marks)
    for what, marks in (("1", (1.5, 1.8)), ("prompt", (2.2, 3.0))):
        yield f"{phase[what]} q8: compressed / llama.cpp Q8_0 top-8", "cemoe q8 4", "llama q8 8", what, marks
    for what, marks in (("prompt", (0.85, 0.93)), ("1", (0.75, 0.84))):
        yield f"{phase[what]} bf16: 2 ranks of half the threads / 1 rank", "cemoe bf16 8 x2", "cemoe bf16 8", what, marks


def mark(median, targets):
    reached = sum(median >= target for target in targets)
    return ["BELOW MUST", "must", "goal", "stretch"][reached]


def print_targets(pairs):
    print("| measure | must / goal / stretch | median | spread | reached |\n| --- | --- | --- | --- | --- |")
    for measure, mine, other, what, targets in rows():
        found = ratios(pairs, mine, other, what)
        wanted = " / ".join(f"{target:g}" for target in targets) if targets else "-"
        if not found:
            print(f"| {measure} | {wanted} | not measured | | |")
            continue
        median = statistics.median(found)
        reached = mark(median, targets) if targets else ""
        print(f"| {measure} | {wanted} | {median:.2f} | {min(found):.2f} - {max(found):.2f} | {reached} |")


def print_rates(pairs):
    names = sorted({name for pair in pairs for name in pair})
    print("\nTokens per second, medians\n\n| job | prompt | " + " | ".join(f"b{batch}" for batch in BATCHES) +
          " | MB per token |\n|" + " --- |" * (len(BATCHES) + 3))
    for name in names:
        cells = []
        for what in ("prompt", *map(str, BATCHES)):
            found = ratios(pairs, name, None, what)
            cells.append(f"{statistics.median(found):.1f}" if found else "")
        size = [pair[name]["bytes"] for pair in pairs if "bytes" in pair.get(name, {})]
        print(f"| {name} | " + " | ".join(cells) + f" | {size[0] / 1e6:.1f} |" if size else
              f"| {name} | " + " | ".join(cells) + " | |")


def describe(options):
    """What a number depends on beside the programs."""
    text = pathlib.Path("/proc/cpuinfo").read_text()
    flags = re.search(r"^flags\s*:(.*)$", text, re.M)
    pages = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return {"processor": (re.search(r"^model name\s*: (.*)$", text, re.M) or ["", "?"])[1],
            "vectors": " ".join(flag for flag in (flags[1].split() if flags else [])
                                if re.match(r"avx|amx|f16c|fma", flag)),
            "huge pages": pages.read_text().strip() if pages.exists() else "?",
            "cemoe": run([options.cemoe, "--version"]).strip(), "llama.cpp": options.isa,
            "commit": run(["git", "-C", options.dir / "llama.cpp", "rev-parse", "HEAD"]).strip(),
            "threads": options.threads, "prompt": options.prompt, "context": options.context, "steps": options.steps}


def print_all(document):
    for key, text in document["machine"].items():
        print(f"{key}: {text}")
    good = [pair for pair in document["pairs"] if not is_void(pair)]
    reads = [one["read"] / 1e9 for pair in document["pairs"] for one in pair.values() if "read" in one]
    print(f"pairs: {len(good)}, and {len(document['pairs']) - len(good)} void (a read bandwidth under "
          f"{LEAST_READ / 1e9:.0f} GB/s)")
    if reads:
        print(f"read bandwidth, largest of each run: {min(reads):.1f} - {max(reads):.1f} GB/s")
    print()
    print_targets(good)
    if good:
        print_rates(good)


def measure(options):
    programs = {"cemoe": Cemoe(options), "llama": Llama(options), "ik": Ik(options)}
    jobs = list_jobs(options, programs)
    document = {"machine": describe(options), "pairs": []}
    good = 0
    for number in range(2 * options.pairs):
        if good == options.pairs:
            break
        document["pairs"].append(measure_pair(number, jobs, programs, options.lock))
        good += not is_void(document["pairs"][-1])
        options.out.write_text(json.dumps(document, indent=1) + "\n")
    return document


def read_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", type=pathlib.Path, metavar="DIR", nargs="?", help="what build.sh has filled")
    parser.add_argument("--cemoe", type=pathlib.Path, default=HERE.parents[1] / "build/release/cemoe",
                        help="our program; default build/release/cemoe")
    parser.add_argument("--isa", choices=["native", "avx2"], default="native", help="which build of llama.cpp")
    parser.add_argument("--ik", type=pathlib.Path, metavar="DIR", help="ik_llama.cpp, built below this directory")
    parser.add_argument("--formats", nargs="+", choices=list(OURS), default=list(OURS), help="default all")
    parser.add_argument("--batches", nargs="+", type=int, choices=BATCHES, default=BATCHES,
                        help="of decoding, 1 among them; default all, those with a target are 1 8 32")
    parser.add_argument("--rows", nargs="+", choices=["peers", "ranks"], default=["peers", "ranks"],
                        help="beside the peers, two ranks beside one; default both")
    parser.add_argument("--pairs", type=int, default=5, help="default 5")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="default all processors")
    parser.add_argument("--prompt", type=int, default=512, help="tokens of a prompt; default 512")
    parser.add_argument("--context", type=int, default=16, help="tokens before decoding; default 16")
    parser.add_argument("--steps", type=int, default=32, help="steps of decoding; default 32")
    parser.add_argument("--repeat", type=int, default=3, help="repetitions within a job; default 3")
    parser.add_argument("--read-bytes", default="4G", help="of cemoe bench step; default 4G")
    parser.add_argument("--lock", type=pathlib.Path, metavar="FILE",
                        help="take this lock while jobs of one format run; other work that does so too waits")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("peers.json"),
                        help="all numbers as JSON, written after each pair; default peers.json")
    parser.add_argument("--from", type=pathlib.Path, metavar="FILE", dest="source",
                        help="measure nothing, print the table of such a file")
    options = parser.parse_args()
    if (options.dir is None) == (options.source is None):
        parser.error("either DIR or --from FILE is needed")
    return options


def main():
    options = read_options()
    try:
        print_all(json.loads(options.source.read_text()) if options.source else measure(options))
    except Failed as failure:
        raise SystemExit(f"measure.py: failed: {failure}") from None


if __name__ == "__main__":
    main()
