#!/usr/bin/env python3
"""Standard input that comes slowly, or never because its reader is stopped."""

import os
import pathlib
import signal
import subprocess
import time

import cemoe


class SlowInput(cemoe.TestCase):
    """Somebody types the prompt, for longer than the deadline."""

    DEADLINE = 3.0 if cemoe.SANITIZED else 1.0  # seconds

    def setUp(self):
        super().setUp()
        line = [cemoe.MPIRUN, "3", cemoe.BINARY, "generate", "--model", cemoe.MODEL, "--max-tokens", 3, "--quiet",
                "--stats", self.dir / "stats", "--deadline-ms", round(self.DEADLINE * 1000)]
        self.job = subprocess.Popen([*map(str, line)], env=cemoe.environment({}), stdin=subprocess.PIPE,
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(self.job.communicate)

    def wait_for_rank_0(self):
        """Its process, when a thread of it is in read(0, ...)."""
        limit = time.monotonic() + 20
        while time.monotonic() < limit:
            for process in cemoe.processes_with(str(self.dir)):
                if self.is_reader(pathlib.Path("/proc") / process):
                    return int(process)
            time.sleep(0.02)
        self.fail("rank 0 does not read standard input")

    @staticmethod
    def is_reader(process):
        try:
            calls = [call.read_text().split()[:2] for call in process.glob("task/*/syscall")]
            return b"OMPI_COMM_WORLD_RANK=0\0" in (process / "environ").read_bytes() and ["0", "0x0"] in calls
        except OSError:
            return False  # a thread or the process has ended

    def test_ranks_wait_for_it(self):
        self.wait_for_rank_0()
        with self.assertRaises(subprocess.TimeoutExpired):  # nobody ends meanwhile
            self.job.wait(timeout=2 * self.DEADLINE)
        out, err = self.job.communicate(b"Question: A", timeout=cemoe.SECONDS)
        self.assertEqual(self.job.returncode, 0, err)
        self.assertTrue(out.startswith(b"Question: A"), out)

    def test_a_stopped_reader_is_missed(self):
        os.kill(self.wait_for_rank_0(), signal.SIGSTOP)
        since = time.monotonic()
        self.job.wait(timeout=cemoe.SECONDS)
        self.assertLess(time.monotonic() - since, self.DEADLINE + 10)
        self.assertEqual(self.job.returncode, 1)
        err = self.job.stderr.read().decode()
        for rank in (1, 2):
            self.assertRegex(err, rf"rank {rank}: stage input: .* no message after \d+ ms from rank 0 ")
        self.assertEqual(cemoe.wait_until_gone(str(self.dir)), [])


if __name__ == "__main__":
    cemoe.main(several=True)
