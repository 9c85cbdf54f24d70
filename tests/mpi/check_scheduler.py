#!/usr/bin/env python3
"""check_scheduler.py PROGRAM CEMOE MODEL TRANSPORT: a list of requests has the same results on 1 to 4 ranks, also with experts changed, drains and quits on all when one asks for it, and ends on all when one fails.

All settings of a number of ranks are one job.
"""
import os, pathlib, re, subprocess, sys

QUICK = os.environ.get("CEMOE_RING") != "all"  # fewer ranks: ranks.scheduler has them all on threads
RANKS = (1, 3) if QUICK else (1, 2, 3, 4)
REQUESTS = 14 * 4 + 12
MPIRUN = pathlib.Path(__file__).with_name("mpirun.sh")
AFFINE = str(pathlib.Path(__file__).parents[1] / "golden/affine/compressed.safetensors")
WAYS = ("all", "unshared", "step-tokens=9", "step-tokens=512")  # without a change of the results


def start(ranks, *command, **extra):
    done = subprocess.run([MPIRUN, str(ranks), *command], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          env={**os.environ, "OMP_NUM_THREADS": "1", **extra})
    if done.returncode == 77:
        sys.exit(77)
    return done


class Results:
    """Of one list: a hash of the results of each request that has ended, and the numbers of the summary."""

    def __init__(self, text):
        *requests, summary = text.splitlines()
        self.requests = dict(re.fullmatch(r"request (\d+): (.*)", line).groups() for line in requests)
        numbers = re.fullmatch(r"pace (\d), steps (\d+), tokens (\d+), reused (\d+)", summary).groups()
        self.pace, self.steps, self.tokens, self.reused = map(int, numbers)


def run(program, model, ranks, settings, **extra):
    """Results of each setting, one after the other in one job."""
    done = start(ranks, program, model, *settings, **extra)
    lists = re.findall(r"(?:^request .*\n)*^pace .*$", done.stdout, re.MULTILINE)
    if done.returncode != 0 or len(lists) != len(settings):
        sys.exit(f"{ranks} ranks, {len(lists)} of {settings} done: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return {setting: Results(text) for setting, text in zip(settings, lists)}


def check_all(ranks, found, wanted):
    for setting in WAYS:
        results = found[setting]
        print(f"{ranks} ranks, {setting}: {results.steps} steps, {results.tokens} tokens, {results.reused} reused")
        if results.requests != wanted.requests:
            yield f"{ranks} ranks, {setting}: other results: {set(wanted.requests.items()) ^ set(results.requests.items())}"
        if (results.pace != 0 or results.tokens + results.reused != wanted.tokens
                or (results.reused == 0) != (setting == "unshared")):
            yield f"{ranks} ranks, {setting}: pace {results.pace}, {results.tokens} tokens and {results.reused} reused of {wanted.tokens}"


def check_early_end(ranks, found, wanted):
    """The last rank asks, all end: a drain with all that had begun, which is more than what had ended by then."""
    for mode, code in (("drain", 1), ("quit", 2)):
        results = found[mode]
        print(f"{ranks} ranks, {mode}: {len(results.requests)} requests in {results.steps} steps")
        if results.pace != code or not results.requests.items() <= wanted.requests.items():
            yield f"{ranks} ranks, {mode}: pace {results.pace}, {results.requests}"
    counts = [len(found[mode].requests) for mode in ("quit", "drain")]
    if not counts[0] < counts[1] < REQUESTS:
        yield f"{ranks} ranks: {counts} have ended"


def check_failure(cemoe, model, transport):
    """Rank 1 fails in the middle of a list; no rank waits for it until the deadline."""
    done = start(3, cemoe, "bench", "schedule", "--model", model, "--items", "60", "--step-tokens", "128", "--transport",
                 transport, CEMOE_TEST_FAULT="fail:1:6:1:experts")
    if done.returncode != 1 or done.stderr.count("error:") != 1 or "rank 1" not in done.stderr:
        yield f"a failure of rank 1: exit code {done.returncode}\n{done.stdout}{done.stderr}"


def main(program, cemoe, model, transport):
    alone = run(program, model, 1, ["unshared", "truncated"], CE_TEST_TRANSPORT="self")
    wanted, truncated = alone["unshared"], alone["truncated"]
    # An engine that changes its experts has the results of one that was made so, on any ranks.
    changed = f"tables={model}/ces-math.safetensors other={AFFINE}"
    wrong = [] if len(wanted.requests) == REQUESTS else [f"{len(wanted.requests)} of {REQUESTS} requests have ended"]
    if truncated.requests == wanted.requests:
        wrong.append("two experts less changed nothing")
    for ranks in RANKS:
        found = run(program, model, ranks, [*WAYS, "drain", "quit", changed], CE_TEST_TRANSPORT=transport)
        wrong += [*check_all(ranks, found, wanted), *check_early_end(ranks, found, wanted)]
        if found[changed].requests != truncated.requests:
            wrong.append(f"{ranks} ranks, experts changed: other results")
    wrong += check_failure(cemoe, model, transport)
    print("\n".join(wrong) or "ok")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
