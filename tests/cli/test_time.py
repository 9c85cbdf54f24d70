#!/usr/bin/env python3
"""No silent hang: ranks that do not want the same say so at once, and deadlines count the time in which a rank could have heard."""

import os
import pathlib
import signal
import subprocess
import time
import unittest

import cemoe

DEADLINE = 5.0 if cemoe.SANITIZED else 1.5  # seconds


class Jobs(cemoe.TestCase):
    def start(self, *arguments, **extra):
        """A job of two ranks in the background, which is ended with the test."""
        job = subprocess.Popen([*map(str, [cemoe.MPIRUN, 2, cemoe.BINARY, *arguments, "--quiet", "--deadline-ms", round(DEADLINE * 1000)])],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=cemoe.environment(extra))
        self.addCleanup(self.end, job)
        return job

    def end(self, job):
        if job.poll() is None:
            job.kill()
        job.communicate()
        for process in cemoe.processes_with(str(self.dir)):
            os.kill(int(process), signal.SIGKILL)

    def ranks(self):
        """The processes of the job but mpirun, by what they have in common."""
        return [int(p) for p in cemoe.processes_with(str(self.dir))
                if b"OMPI_COMM_WORLD_RANK=" in (pathlib.Path("/proc") / p / "environ").read_bytes()]

    def test_a_job_that_was_suspended_goes_on(self):
        for transport in ("mpi", "ucx"):
            with self.subTest(transport):
                out = self.dir / transport
                job = self.start("eval", "--model", cemoe.MODEL, "--tasks", "cemoe_arithmetic", "--limit", 40, "--out", out,
                                 "--step-tokens", 16, "--max-sequences", 1, "--transport", transport)
                limit = time.monotonic() + 30
                while not (out / "journal.pb").exists() and job.poll() is None and time.monotonic() < limit:
                    time.sleep(0.01)
                ranks = self.ranks()
                self.assertEqual(len(ranks), 2)
                for rank in ranks:
                    os.kill(rank, signal.SIGSTOP)
                self.assertIsNone(job.poll(), "it has ended before it was suspended")
                time.sleep(DEADLINE * 1.5)
                for rank in ranks:
                    os.kill(rank, signal.SIGCONT)
                _, err = job.communicate(timeout=cemoe.SECONDS)
                self.assertEqual(job.returncode, 0, err.decode())

    @unittest.skipUnless(os.environ.get("CEMOE_WALL_CLOCK"), "not under the sanitizers, which must be loaded first")
    def test_the_clock_on_the_wall_may_be_set_back(self):
        prompt = self.dir / "prompt"  # names the processes of this test
        prompt.write_text("hi")
        job = self.start("generate", "--model", cemoe.MODEL, "--prompt-lines", prompt, "--prompt-file", "-", "--max-tokens", 2,
                         LD_PRELOAD=os.environ["CEMOE_WALL_CLOCK"])
        with self.assertRaises(subprocess.TimeoutExpired):
            job.wait(DEADLINE * 2 + 1)
        out, err = job.communicate(b"typed late", timeout=cemoe.SECONDS)
        self.assertEqual(job.returncode, 0, err.decode())
        self.assertIn(b"typed late", out)


class DifferentRanks(cemoe.TestCase):
    """Rank 1 is given another line than rank 0."""

    GENERATE = ("generate", "--model", cemoe.MODEL, "--prompt", "hi", "--max-tokens", 2, "--quiet")

    def run_both(self, first, second):
        began = time.monotonic()
        command = [cemoe.MPIRUN, 1, cemoe.BINARY, *first, ":", "-n", 1, cemoe.BINARY, *second]
        done = cemoe.Run(subprocess.run([*map(str, command)], stdin=subprocess.DEVNULL, capture_output=True, env=cemoe.environment({}),
                                        timeout=cemoe.SECONDS + 30, check=False))
        self.assertNotEqual(done.code, 0)
        self.assertLess(time.monotonic() - began, 30)
        return done

    def both(self, first, second):
        """The one line that cemoe says."""
        done = self.run_both(first, second)
        self.assertEqual(len(done.ours), 1, done.err)
        return done.ours[0]

    def test_transports_and_deadlines_are_named(self):
        line = self.both([*self.GENERATE, "--transport", "mpi"], [*self.GENERATE, "--transport", "ucx"])
        self.assertRegex(line, r"^cemoe: error: generate: rank 1 \(.+\) was given transport ucx, rank 0 \(.+\) mpi: all ranks need the same$")

    def test_options_are_named(self):
        """Also those that only one rank uses."""
        evaluate = ["eval", "--model", cemoe.MODEL, "--out", self.dir / "eval", "--quiet"]
        calibrate = ["calibrate", "--model", cemoe.MODEL, "--data", cemoe.MODEL / "calibration/math.txt", "--compressed", 2, "--tokens",
                     "1k", "--out", self.dir / "out", "--quiet"]
        differences = (
            ("max-tokens", self.GENERATE, ["--max-tokens", 3], r"3, rank 0 \(.+\) has 2"),
            ("prompt", self.GENERATE, ["--prompt", "ho"], r"2 values \(.+\), rank 0 \(.+\) has hi"),
            ("limit", [*evaluate, "--tasks", "cemoe_text", "--limit", 1], ["--limit", 2], r"2, rank 0 \(.+\) has 1"),
            ("tasks", [*evaluate, "--limit", 1, "--tasks", "cemoe_text"], ["cemoe_answer"], r"2 values \(.+\), rank 0 .* has cemoe_text"),
            ("plan", calibrate, ["--plan"], r"yes, rank 0 \(.+\) has no"))
        for name, line, other, words in differences[-1:] if cemoe.QUICK else differences:
            with self.subTest(name):
                self.assertRegex(self.both(line, [*line, *other]), rf"rank 1 \(.+\) has {name}={words}")

    def test_commands_are_named(self):
        line = self.both(self.GENERATE, ["score", "--model", cemoe.MODEL, "--file", cemoe.MODEL / "eval/math.txt"])
        self.assertRegex(line, r"rank 1 \(.+\) has command=score, rank 0 \(.+\) has generate")

    def test_a_rank_that_ends_before_it_comes_is_named(self):
        """By mpirun, where rank 0 is far enough in MPI_Init for it to see that something is wrong; else by rank 0."""
        done = self.run_both([*self.GENERATE, "--deadline-ms", 1000], ["--help"])
        self.assertRegex(done.err, r"mpirun has exited due to process rank 1|"
                         r"rank 0: stage start: on .+: no sign after 1000 ms from rank 1 \(which has no process\)")

    def test_wrong_usage_of_one_rank_is_said_by_that_rank(self):
        line = self.both(self.GENERATE, [*self.GENERATE, "--none-such"])
        self.assertIn("cemoe[rank 1]: error: cemoe generate: unknown option --none-such", line)


if __name__ == "__main__":
    cemoe.main()
