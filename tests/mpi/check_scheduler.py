#!/usr/bin/env python3
"""check_scheduler.py PROGRAM CEMOE MODEL TRANSPORT: a list of requests has the same results on 1 to 4 ranks, also with experts changed, drains and quits on all when one asks for it, and ends on all when one fails."""
import os, pathlib, re, subprocess, sys

QUICK = bool(os.environ.get("CEMOE_QUICK"))
RANKS = (3,) if QUICK else (1, 2, 3, 4)
REQUESTS = 14 * 4 + 12
MPIRUN = pathlib.Path(__file__).with_name("mpirun.sh")
AFFINE = str(pathlib.Path(__file__).parents[1] / "golden/affine/compressed.safetensors")


def start(ranks, *command, **extra):
    done = subprocess.run([MPIRUN, str(ranks), *command], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          env={**os.environ, "OMP_NUM_THREADS": "1", **extra})
    if done.returncode == 77:
        sys.exit(77)
    return done


def run(program, model, ranks, mode, **extra):
    """Results of the requests that have ended, and the numbers of the summary."""
    done = start(ranks, program, model, mode, **extra)
    summary = re.search(r"^pace (\d), steps (\d+), tokens (\d+), reused (\d+)$", done.stdout, re.MULTILINE)
    if done.returncode != 0 or not summary:
        sys.exit(f"{ranks} ranks, {mode}, {extra}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    results = dict(re.findall(r"^request (\d+): (.*)$", done.stdout, re.MULTILINE))
    return results, *map(int, summary.groups())


def check_all(program, model, wanted):
    wrong = []
    alone_tokens = run(program, model, 1, "all", CE_TEST_UNSHARED="1")[3]
    for ranks in RANKS:
        for extra in ({}, {"CE_TEST_UNSHARED": "1"}, {"CE_TEST_STEP_TOKENS": "9"}, {"CE_TEST_STEP_TOKENS": "512"}):
            results, pace, steps, tokens, reused = run(program, model, ranks, "all", **extra)
            print(f"{ranks} ranks, {extra}: {steps} steps, {tokens} tokens, {reused} reused")
            if results != wanted:
                wrong.append(f"{ranks} ranks, {extra}: other results: {set(wanted.items()) ^ set(results.items())}")
            if pace != 0 or tokens + reused != alone_tokens or (reused == 0) != ("CE_TEST_UNSHARED" in extra):
                wrong.append(f"{ranks} ranks, {extra}: pace {pace}, {tokens} tokens and {reused} reused of {alone_tokens}")
    return wrong


def check_early_end(program, model, wanted):
    """The last rank asks, all end: a drain with all that had begun, which is more than what had ended by then."""
    wrong = []
    for ranks in RANKS:
        counts = {}
        for mode, code in (("drain", 1), ("quit", 2)):
            results, pace, steps, _, _ = run(program, model, ranks, mode)
            counts[mode] = len(results)
            print(f"{ranks} ranks, {mode}: {len(results)} requests in {steps} steps")
            if pace != code or not results.items() <= wanted.items():
                wrong.append(f"{ranks} ranks, {mode}: pace {pace}, {results}")
        if not counts["quit"] < counts["drain"] < REQUESTS:
            wrong.append(f"{ranks} ranks: {counts}")
    return wrong


def check_changed(program, model, full):
    """An engine that changes its experts has the results of one that was made so, on any ranks."""
    wanted = run(program, model, 1, "all", CE_TEST_TRUNCATED="1", CE_TEST_TRANSPORT="self")[0]
    wrong = [f"{ranks} ranks, experts changed: other results" for ranks in RANKS
             if run(program, model, ranks, "all", CE_TEST_TABLES=f"{model}/ces-math.safetensors",
                    CE_TEST_OTHER_TABLES=AFFINE)[0] != wanted]
    return wrong if wanted != full else [*wrong, "two experts less changed nothing"]


def check_failure(cemoe, model, transport):
    """Rank 1 fails in the middle of a list; no rank waits for it until the deadline."""
    done = start(3, cemoe, "bench", "schedule", "--model", model, "--items", "60", "--step-tokens", "128", "--transport",
                 transport, CEMOE_TEST_FAULT="fail:1:6:1:experts")
    if done.returncode != 1 or done.stderr.count("error:") != 1 or "rank 1" not in done.stderr:
        return [f"a failure of rank 1: exit code {done.returncode}\n{done.stdout}{done.stderr}"]
    return []


def main(program, cemoe, model, transport):
    os.environ["CE_TEST_TRANSPORT"] = transport
    wanted = run(program, model, 1, "all", CE_TEST_UNSHARED="1", CE_TEST_TRANSPORT="self")[0]
    wrong = [] if len(wanted) == REQUESTS else [f"{len(wanted)} of {REQUESTS} requests have ended"]
    wrong += check_all(program, model, wanted) + check_early_end(program, model, wanted)
    wrong += check_changed(program, model, wanted)
    wrong += check_failure(cemoe, model, transport)
    print("\n".join(wrong) or "ok")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
