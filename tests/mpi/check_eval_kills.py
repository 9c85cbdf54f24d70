#!/usr/bin/env python3
"""check_eval_kills.py CEMOE MODEL CUT_WRITE.so KILLS

One evaluation, killed again and again on 1 to 4 ranks in turn, ends with the files of an undisturbed one.

Three kinds of kills: SIGKILL to a random rank at a random moment; a process that ends itself in the middle of a write to
the journal (CUT_WRITE.so), which leaves a torn record; SIGKILL to rank 0 as soon as the journal has grown. A kill counts
when some but not all answers were recorded then.
"""

import collections
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

CEMOE, MODEL, CUT_WRITE = (str(pathlib.Path(argument).resolve()) for argument in sys.argv[1:4])
KILLS = int(sys.argv[4])
MPIRUN = str(pathlib.Path(__file__).resolve().parent / "mpirun.sh")
KINDS = ("moment", "write", "moment", "growth", "moment")
SYNC_SECONDS = 1.0  # CE_JOURNAL_SYNC_MS: an answer is in the file so much later, if not before
SECONDS = 60  # of one run

Status = collections.namedtuple("Status", "code done wanted torn")


def write_requests(path, count):
    """Generations that take a while one after the other, and some texts to score."""
    words = "farmer apples boxes trains hours water letters number school garden".split()
    chosen = random.Random(1)
    with open(path, "w", encoding="utf-8") as file:
        for i in range(count):
            text = " ".join(chosen.choice(words) for _ in range(4))
            request = {"id": f"r{i}", "type": "generate_until", "context": f"Question {i}: {text}?\nAnswer:",
                       "until": ["\n\n"], "max_gen_toks": 60 + i % 40, "temperature": 0.7 * (i % 2), "seed": i}
            if i % 7 == 3:
                request = {"id": f"r{i}", "type": "loglikelihood_rolling", "text": f"{i} {text}"}
            file.write(json.dumps(request) + "\n")


class Job:
    def __init__(self, folder, count):
        self.out = folder / "out"
        self.requests = folder / "requests.jsonl"
        write_requests(self.requests, count)
        self.environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "CE_TEST_SECONDS": str(SECONDS)}

    def line(self, out, ranks, *options):
        program = [CEMOE, "eval", "--model", MODEL, "--requests", str(self.requests), "--out", str(out), *options]
        return program if ranks == 1 else [MPIRUN, str(ranks), *program]

    def run(self, out, ranks):
        done = subprocess.run(self.line(out, ranks, "--quiet"), env={**self.environment, "CE_TEST_SECONDS": "600"}, capture_output=True,
                              check=False)
        assert done.returncode == 0, f"exit code {done.returncode}: {done.stderr.decode()}"

    def status(self):
        done = subprocess.run([CEMOE, "eval", "--status", "--json", "--out", str(self.out)], capture_output=True, check=False)
        if done.returncode == 1:
            return Status(1, 0, 0, False)
        state = json.loads(done.stdout)
        return Status(done.returncode, state["done"], state["wanted"], b"the end of a record is missing" in done.stderr)

    def processes(self):
        """Ranks of the job, by their number."""
        found = {}
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if (entry / "comm").read_text().strip() == "cemoe" and str(self.out).encode() in (entry / "cmdline").read_bytes():
                    number = re.search(rb"OMPI_COMM_WORLD_RANK=(\d+)", (entry / "environ").read_bytes())
                    found[int(number[1]) if number else 0] = int(entry.name)
            except OSError:
                pass  # it has ended
        return found

    def size(self):
        try:
            return (self.out / "journal.pb").stat().st_size
        except OSError:
            return 0

    def wait_gone(self):
        limit = time.monotonic() + 30
        while self.processes():
            assert time.monotonic() < limit, "ranks are left over"
            time.sleep(0.02)


def wait_until(job, started, condition):
    """False when the run ended before."""
    limit = time.monotonic() + SECONDS
    while not condition():
        if started.poll() is not None:
            return False
        assert time.monotonic() < limit, "the job does not get on"
        time.sleep(0.001)
    return started.poll() is None


def kill_once(job, kind, ranks, chosen):
    """One run that is killed; which rank it hit, None when it ended before."""
    environment = dict(job.environment)
    victim = 0 if kind != "moment" else chosen.randrange(ranks)
    if kind == "write":
        # A new journal is written under another name first. Records come in pieces of one write.
        environment.update(LD_PRELOAD=CUT_WRITE, CE_CUT_WRITE=f"journal.pb:{chosen.randrange(1, 3)}:{chosen.randrange(1, 4000)}")
    before = job.size()
    started = subprocess.Popen(job.line(job.out, ranks, "--max-sequences", "1", "--no-share-prefixes"), env=environment,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if kind == "write":
        hit = True
    else:
        hit = wait_until(job, started, lambda: job.size() > max(before, 1))
        if hit and kind == "moment":
            time.sleep(chosen.random() * SYNC_SECONDS)
        process = job.processes().get(victim)
        hit = hit and process is not None and started.poll() is None
        if hit:
            os.kill(process, signal.SIGKILL)
    _, err = started.communicate(timeout=SECONDS + 30)
    job.wait_gone()
    if started.returncode == 0:
        return None
    assert started.returncode != 0 and hit, err.decode()
    return victim


def contents(out):
    """Final files by their name without the time, which is also in results_*.json."""
    files = {}
    for path in sorted(out.iterdir()):
        if path.name.startswith(("journal.", "run_")):
            continue
        name = re.sub(r"\d{4}-\d\d-\d\dT[\d.-]*\d", "TIME", path.name)
        files[name] = path.read_bytes()
        if name == "results_TIME.json":
            document = json.loads(files[name])
            document.pop("date")
            files[name] = json.dumps(document)
    return files


def main():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="cemoe-kills-"))
    job, chosen = Job(folder, 110 * KILLS + 200), random.Random(5)
    table, torn, tries = collections.Counter(), 0, 0
    try:
        job.run(folder / "straight", 2)
        wanted = contents(folder / "straight")
        while sum(table.values()) < KILLS:
            kind, ranks = KINDS[tries % len(KINDS)], 1 + tries % 4
            tries += 1
            victim = kill_once(job, kind, ranks, chosen)
            status = job.status()
            assert status.code == 4, f"after {sum(table.values())} kills: {status}: make the job longer"
            if victim is not None and 0 < status.done < status.wanted:
                table[kind, ranks, victim] += 1
                torn += status.torn
                print(f"kill {sum(table.values()):3}: {kind:7} rank {victim} of {ranks}, {status.done} of {status.wanted} answers", flush=True)
        job.run(job.out, 3)
        found = contents(job.out)
        assert sorted(found) == sorted(wanted), sorted(found)
        for name, content in wanted.items():
            assert found[name] == content, f"{name} differs"
        done = subprocess.run([CEMOE, "eval", "--status", "--out", str(job.out)], capture_output=True, check=False)
        assert done.returncode == 0 and b"once more" not in done.stderr, done.stderr.decode()
        in_write = sum(count for (kind, _, _), count in table.items() if kind == "write")
        assert torn >= in_write, f"{torn} torn records of {in_write} cut writes"
        print(f"\n{'ranks':>5} {'at a moment':>12} {'in a write':>11} {'after a write':>14}")
        for ranks in range(1, 5):
            print(f"{ranks:5} " + " ".join(
                f"{sum(count for (kind, r, _), count in table.items() if (kind, r) == (name, ranks)):{width}}"
                for name, width in (("moment", 12), ("write", 11), ("growth", 14))))
        print(f"{sum(table.values())} kills, {in_write} in the middle of a write to the journal ({torn} torn records), "
              f"{sum(count for (_, _, victim), count in table.items() if victim > 0)} of other ranks than 0; "
              f"{len(wanted)} final files are byte-identical to those of an undisturbed job")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
