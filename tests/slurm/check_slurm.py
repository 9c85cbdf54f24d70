#!/usr/bin/env python3
"""check_slurm.py CASE PROGRAM MODEL: the batch files of slurm/ in a real Slurm.

launchers  one-node.sbatch and many-nodes.sbatch, with mpirun and with srun: the same files
chain      a rank killed, a warning, a cancelled step: chain.sbatch goes on until all is there, byte for byte
cancel     scancel, which ends a chain
limit      the warning before the end of the job's time, as Slurm itself sends it
array      array.sbatch and scaling.sbatch
doctor     what cemoe doctor says of a launch that Slurm spoils, and that a script does not start after it
"""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

import cluster

TASK = "cemoe_arithmetic"
SECONDS = 150  # for a whole case


def check(holds, *what):
    if not holds:
        sys.exit(" ".join(map(str, ("failed:", *what))))


class Bench:
    """The program, a slow twin of it, and what an undisturbed run of it leaves."""

    def __init__(self, program, model, folder):
        self.program, self.model, self.folder = program, model, folder
        self.latency = folder / "latency-us"
        self.slow = folder / "slow-cemoe"
        self.slow.write_text(f'#!/bin/sh\nread -r us <{self.latency}\nCEMOE_LATENCY_US=$us exec {program} "$@"\n')
        self.slow.chmod(0o755)

    def set_latency(self, microseconds):
        """Messages that take long make a job that can be met in its middle without keeping a core busy."""
        self.latency.write_text(f"{microseconds}\n")

    def settings(self, out, **more):
        return {"CEMOE": self.program, "CEMOE_MODEL": self.model, "CEMOE_TASKS": TASK, "CEMOE_OUT": out,
                "CEMOE_OPTIONS": "--step-tokens 64", "CEMOE_EVAL_OPTIONS": "--max-sequences 4",
                "CEMOE_RETRY_SECONDS": 1, **more}

    def undisturbed(self):
        """On this machine, one rank, other limits."""
        out = self.folder / "undisturbed"
        subprocess.run([self.program, "eval", "--model", self.model, "--tasks", TASK, "--out", out, "--quiet"],
                       check=True, capture_output=True, env=cluster.testbed.environment())
        return final_files(out)

    def progress(self, out):
        """Answers in the journal."""
        done = subprocess.run([self.program, "eval", "--status", "--json", "--out", out], capture_output=True,
                              text=True, check=False)
        return sum(part["done"] for part in json.loads(done.stdout)["parts"]) if done.stdout else 0


def final_files(out):
    """Name and bytes of each file that does not depend on the run, without the time at which it began."""
    files = {}
    for file in sorted(pathlib.Path(out).iterdir()):
        if file.name.startswith(("results_", "samples_")):
            began = re.search(r"\d{4}-\d\d-\d\dT[\d.-]+\d", file.name)[0]
            image = re.sub(rb'"date": [\d.]+', b'"date": 0', file.read_bytes())
            files[file.name.replace(began, "BEGAN")] = image.replace(began.encode(), b"BEGAN")
    return files


def check_files(job, out, wanted):
    got = final_files(out)
    if got != wanted:
        job.fail("other files:", [name for name in {*got, *wanted} if got.get(name) != wanted.get(name)])


def case_launchers(bench):
    wanted = bench.undisturbed()
    with cluster.Cluster() as hosts:
        jobs = []
        for script, options in (("one-node.sbatch", ["--ntasks-per-node=2"]),
                                ("many-nodes.sbatch", ["--nodes=2", "--ntasks-per-node=1"])):
            for launcher in ("mpirun", "srun"):
                out = bench.folder / f"{script}-{launcher}"
                out.mkdir()
                began = time.monotonic()
                job = hosts.submit(script, out, *options, **bench.settings(out / "out", CEMOE_LAUNCH=launcher))
                if job.end() != [0]:
                    job.fail(script, launcher)
                check_files(job, out / "out", wanted)
                jobs.append(job)
                print(f"{script} {launcher}: {time.monotonic() - began:.1f} s", flush=True)
        check_twice(hosts, bench, jobs[0])


def check_twice(hosts, bench, job):
    """What is complete is not run again, nor taken for another job's; what lacks a parameter says so."""
    again = hosts.submit("chain.sbatch", job.folder, **bench.settings(job.folder / "out"))
    if again.end() != [0] or "complete: " not in again.log():
        again.fail("run again")
    for script in ("chain.sbatch", "one-node.sbatch"):
        other = hosts.submit(script, job.folder, **bench.settings(job.folder / "out", CEMOE_EVAL_OPTIONS="--limit 3",
                                                                  CEMOE_MAX_FAILURES=1))
        if other.end() != [1] or "complete: " in other.log().split(f"job {other.number}:", 1)[1]:
            other.fail("another job in a directory that is complete:", script)
    bare = hosts.submit("one-node.sbatch", bench.folder)
    if bare.end() != [2] or "CEMOE_MODEL is not set" not in bare.log():
        bare.fail("without parameters")


class Chain:
    """A slow chain, and what happens to it."""

    def __init__(self, hosts, bench, launcher, latency_us, *options):
        self.hosts, self.bench = hosts, bench
        bench.set_latency(latency_us)
        self.folder = bench.folder / f"chain-{launcher}"
        self.out = self.folder / "out"
        self.folder.mkdir()
        self.job = hosts.submit("chain.sbatch", self.folder, "--nodes=2", "--ntasks-per-node=1", *options,
                                **bench.settings(self.out, CEMOE=bench.slow, CEMOE_LAUNCH=launcher))
        self.seen = 0

    def meet(self, starts):
        """Waits until start `starts` has recorded something new, but not all."""
        def moved():
            return self.job.starts() == (starts, "RUNNING") and self.bench.progress(self.out) > self.seen
        self.job.wait(60, moved, f"at work in start {starts}")
        self.seen = self.bench.progress(self.out)
        print(f"  start {starts}: {self.seen} answers", flush=True)
        check(self.seen < 880, "too fast to be met")

    def wait_for_requeue(self, starts, seconds=60):
        self.job.wait(seconds, lambda: self.job.starts()[0] == starts, f"requeued {starts} times")
        self.seen = self.bench.progress(self.out)

    def finish(self, wanted):
        self.bench.set_latency(0)
        if self.job.end() != [0]:
            self.job.fail("the chain")
        check_files(self.job, self.out, wanted)
        print(f"  complete after {self.job.starts()[0] + 1} starts", flush=True)


def kill_a_rank(chain, which):
    ranks = chain.hosts.find_ranks(chain.bench.program)
    check(len(ranks) == 2, "ranks:", ranks)
    os.kill(ranks[which], signal.SIGKILL)


def case_chain(bench):
    wanted = bench.undisturbed()
    with cluster.Cluster() as hosts:
        for launcher in ("mpirun", "srun"):
            chain = Chain(hosts, bench, launcher, 20_000)
            chain.meet(0)
            kill_a_rank(chain, 1)
            chain.meet(0)  # the same start tries again
            hosts.run("scancel", "--batch", "--signal=USR1", chain.job.number)
            chain.wait_for_requeue(1)
            chain.meet(1)
            kill_a_rank(chain, 0)
            chain.finish(wanted)
            log = chain.job.log()
            for words in ("failed (exit code", "warned by USR1", "requeued after start 1", "complete: "):
                check(words in log, words, "is not in the log:\n", log)


def case_cancel(bench):
    """scancel ends a chain for good, whoever ended first; submitted again, it goes on."""
    wanted = bench.undisturbed()
    with cluster.Cluster() as hosts:
        for launcher in ("mpirun", "srun"):
            chain = Chain(hosts, bench, launcher, 20_000)
            chain.meet(0)
            hosts.run("scancel", chain.job.number)
            chain.job.end()
            check(chain.job.starts() == (0, "CANCELLED"), chain.job.show())
            check("requeued" not in chain.job.log(), chain.job.log())
            again = hosts.submit("chain.sbatch", chain.folder, "--nodes=1", "--ntasks-per-node=1",
                                 **bench.settings(chain.out, CEMOE_LAUNCH=launcher))
            check(again.end() == [0], again.log())
            check_files(again, chain.out, wanted)


def case_limit(bench):
    wanted = bench.undisturbed()
    with cluster.Cluster() as hosts:
        # Due five seconds after the start, and sent when the controller looks: every half a minute.
        chain = Chain(hosts, bench, "mpirun", 80_000, "--time=1", "--signal=B:USR1@55")
        chain.meet(0)
        chain.wait_for_requeue(1)
        chain.finish(wanted)


def case_array(bench):
    with cluster.Cluster() as hosts:
        out = bench.folder / "array"
        out.mkdir()
        tasks = {"CEMOE_TASKS": f"{TASK} mmlu_astronomy", "CEMOE_EVAL_OPTIONS": "--data " + str(
            cluster.ROOT / "deploy/tasks/sample")}
        array = hosts.submit("array.sbatch", out, "--array=0-2%2", "--ntasks-per-node=1", **bench.settings(out, **tasks))
        scaling = bench.folder / "scaling"
        scaling.mkdir()
        if sorted(array.end()) != [0, 0, 2] or "has no task 2" not in array.log():
            array.fail("the array")
        for name in (f"0-{TASK}", "1-mmlu_astronomy"):
            check(final_files(out / name), name, "has no results")
        job = hosts.submit("scaling.sbatch", scaling, "--ntasks-per-node=1", **bench.settings(
            scaling, CEMOE_TASKS="", CEMOE_BENCH_OPTIONS="--prompt-tokens 16 --decode-steps 2 --repeat 1 --read-bytes 0"))
        if job.end() != [0]:
            job.fail("the scaling study")
        lines = [json.loads(line) for line in (scaling / "scaling.jsonl").read_text().splitlines()]
        check([(line["nodes"], line["ranks"]) for line in lines] == [(1, 1), (2, 2)], lines)
        check(all(line["result"] for line in lines), lines)


def failed_checks(document):
    return {finding["check"] for finding in document["findings"] if finding["verdict"] == "failed"}


def case_doctor(bench):
    with cluster.Cluster() as hosts:
        command = [bench.program, "doctor", "--model", bench.model, "--json"]
        for mpi, wanted in (("none", {"launch"}), ("pmix", set())):
            done = hosts.run("srun", "--nodes=2", "--ntasks=2", f"--mpi={mpi}", *command, check=False)
            check(failed_checks(json.loads(done.stdout)) == wanted, mpi, done)
            check(done.returncode == (3 if wanted else 0), mpi, done)
        # A model that only the first node has: each host has a /dev/shm of its own.
        hosts.run("srun", "--nodes=1", "--ntasks=1", "--nodelist=test-0", "cp", "-r", bench.model, "/dev/shm/model")
        out = bench.folder / "refused"
        out.mkdir()
        job = hosts.submit("many-nodes.sbatch", out, "--ntasks-per-node=1",
                           **bench.settings(out / "out", CEMOE_MODEL="/dev/shm/model"))
        if job.end() != [3] or "1 of 2 ranks cannot use it, the first is rank 1 on test-1" not in job.log():
            job.fail("not refused")
        check(not (out / "out").exists(), "started all the same")


def main(case, program, model):
    cluster.run_apart(SECONDS)
    with tempfile.TemporaryDirectory() as folder:
        globals()[f"case_{case}"](Bench(program, model, pathlib.Path(folder)))
    print(f"{case}: ok")


if __name__ == "__main__":
    main(*sys.argv[1:])
