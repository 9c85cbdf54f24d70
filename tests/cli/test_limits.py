#!/usr/bin/env python3
"""Limits of the system: a line that names what was in the way, exit code 1, and nothing half written."""

import json
import os
import pathlib
import resource
import subprocess
import unittest

import cemoe

NO_THREADS = os.environ.get("CE_TEST_NO_THREADS")  # a library that refuses threads
EVAL = ["--tasks", "cemoe_answer", "--limit", 12, "--quiet"]


class LimitsCase(cemoe.TestCase):
    def run_limited(self, limit, most, *arguments, **extra):
        """`cemoe ARGUMENTS` with a soft limit of the process, which it could not raise itself."""
        done = subprocess.run([cemoe.BINARY, *map(str, arguments)], capture_output=True, timeout=cemoe.SECONDS, check=False,
                              env=cemoe.environment(extra), preexec_fn=lambda: resource.setrlimit(limit, (most, most)))
        return cemoe.Run(done)

    def assert_fails(self, done, command, *texts):
        self.assertEqual(done.code, 1, done.err)
        self.assertEqual(len([line for line in done.ours if " error: " in line or line.startswith("cemoe: error")]), 1, done.err)
        self.assertIn(f"error: {command}: ", done.err)
        for text in texts:
            self.assertIn(text, done.err)


class FileSize(LimitsCase):
    """ulimit -f: what would go beyond fails; by default it kills."""

    def left(self):
        return sorted(path.name for path in self.dir.iterdir())

    def test_an_evaluation_says_so_and_goes_on_without_the_limit(self):
        out = self.dir / "out"
        line = ["eval", "--model", cemoe.MODEL, "--out", out, *EVAL]
        done = self.run_limited(resource.RLIMIT_FSIZE, 3000, *line)
        self.assert_fails(done, "eval", str(out), "File too large")
        self.assertEqual([path.name for path in out.iterdir() if "tmp" in path.name], [])
        self.assert_done(cemoe.run(*line))
        self.assertEqual(len(list(out.glob("results_*.json"))), 1)

    def test_a_packed_model_leaves_nothing(self):
        done = self.run_limited(resource.RLIMIT_FSIZE, 100000, "pack", "--model", cemoe.MODEL, "--out", self.dir / "packed", "--quiet")
        self.assert_fails(done, "pack", str(self.dir / "packed"), "File too large")
        self.assertEqual(self.left(), [])

    def test_files_beside_the_results_leave_nothing(self):
        generate = ["generate", "--model", cemoe.MODEL, "--prompt", "1 + 1 =", "--max-tokens", 2, "--quiet"]
        text = self.write("text", "One text of some words. " * 100)
        calibrate = ["calibrate", "--model", cemoe.MODEL, "--data", text, "--window", 32, "--compressed", 1, "--rank", 1, "--quiet"]
        logits = ["logits", "--model", cemoe.MODEL, "--ids", "1,2,3", "--quiet"]
        for command, most, option, line in (("generate", 500, "--stats", generate), ("generate", 100, "--traffic", generate),
                                            ("logits", 100, "--out", logits), ("calibrate", 4000, "--out", calibrate)):
            with self.subTest(option=option, command=command):
                target = self.dir / "target"
                done = self.run_limited(resource.RLIMIT_FSIZE, most, *line, option, target)
                self.assert_fails(done, command, str(target), "File too large")
                self.assertEqual([name for name in self.left() if not name.endswith(".parts")], ["text"])

    def test_standard_output_that_is_a_file(self):
        line = ["tokenize", "--model", cemoe.MODEL, "--text", "1 + 1 = 2 and 2 + 2 = 4 " * 10]
        whole = self.assert_done(cemoe.run(*line)).raw
        with open(self.dir / "stdout", "wb") as file:
            done = subprocess.run([cemoe.BINARY, *map(str, line)], stdout=file, stderr=subprocess.PIPE, check=False,
                                  timeout=cemoe.SECONDS, env=cemoe.environment({}),
                                  preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)))
        self.assertGreater(len(whole), 100)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"standard output", done.stderr)


class Threads(LimitsCase):
    """ulimit -u or a limit of processes: simulated, since neither holds for root."""

    def run_with(self, threads, *arguments, **extra):
        options = os.environ.get("ASAN_OPTIONS", "")
        return cemoe.run(*arguments, LD_PRELOAD=NO_THREADS, CE_TEST_THREADS=str(threads),
                         ASAN_OPTIONS=f"{options}:verify_asan_link_order=0", **extra)

    def test_an_evaluation_without_its_own_threads(self):
        """The watcher of signals, the reader of the input, the keeper of the journal."""
        messages = set()
        for threads in range(3):
            done = self.run_with(threads, "eval", "--model", cemoe.MODEL, "--out", self.dir / f"out{threads}", *EVAL)
            self.assert_fails(done, "eval", "thread")
            messages.add(done.ours[-1].replace(f"out{threads}", "out"))
        self.assertEqual(len(messages), 3)

    def test_a_job_with_fewer_threads_than_it_was_told(self):
        for line in (["generate", "--model", cemoe.MODEL, "--prompt", "1", "--max-tokens", 1],
                     ["doctor", "--model", cemoe.MODEL],
                     ["pack", "--model", cemoe.MODEL, "--out", self.dir / "packed"]):
            done = self.run_with(1, *line, OMP_NUM_THREADS="4")
            self.assert_fails(done, line[0], "the system gives 2 of 4 threads", "OMP_NUM_THREADS")
        self.assertEqual(list(self.dir.iterdir()), [])

    def test_threads_that_openmp_does_not_give(self):
        """OpenBLAS waits without end for threads that OpenMP counts but does not start."""
        text = self.write("text", "One text of some words. " * 100)
        for name, value in (("OMP_THREAD_LIMIT", "1"), ("OMP_DYNAMIC", "true")):
            self.assert_done(cemoe.run("calibrate", "--model", cemoe.MODEL, "--data", text, "--window", 32, "--compressed", 1,
                                       "--rank", 1, "--quiet", "--out", self.dir / name, OMP_NUM_THREADS="2", **{name: value}))


@unittest.skipIf(cemoe.SANITIZED, "a sanitizer takes terabytes of address space")
class AddressSpace(LimitsCase):
    """ulimit -v and -d: OpenBLAS tries without end when it is loaded, and when a thread first calls it."""

    def test_too_little_to_start_ends_at_once(self):
        for mebibytes in (120, 200, 300):
            done = self.run_limited(resource.RLIMIT_AS, mebibytes << 20, "--version")
            self.assert_fails(done, "start", f"the limit of address space, {mebibytes} MiB", "ulimit -v")
            self.assertEqual(done.out, "")

    def test_too_little_data_or_stack_ends_at_once(self):
        done = self.run_limited(resource.RLIMIT_DATA, 150 << 20, "--version")
        self.assert_fails(done, "start", "the limit of data, 150 MiB", "ulimit -d")
        done = self.run_limited(resource.RLIMIT_STACK, 64 << 10, "--version")
        self.assert_fails(done, "start", "the limit of the stack, 64 KiB", "ulimit -s")

    def test_enough_to_start(self):
        self.assert_done(self.run_limited(resource.RLIMIT_AS, 1 << 30, "--version"))

    def test_threads_without_room_for_their_buffers(self):
        text = self.write("text", "One text of some words. " * 100)
        for limit, mebibytes in ((resource.RLIMIT_AS, 480), (resource.RLIMIT_DATA, 330)):
            done = self.run_limited(limit, mebibytes << 20, "calibrate", "--model", cemoe.MODEL, "--data", text, "--window", 32,
                                    "--compressed", 1, "--rank", 1, "--quiet", "--out", self.dir / "ces", OMP_NUM_THREADS="2")
            self.assert_fails(done, "calibrate", "for OpenBLAS on 2 threads", "ulimit -v", "OMP_NUM_THREADS")


class Names(LimitsCase):
    """Files that cannot be written are found before anything is computed."""

    def task(self, name):
        task = json.loads((cemoe.ROOT / "deploy/tasks/cemoe_answer.json").read_text())
        task["documents"] = str(cemoe.ROOT / "deploy/tasks/cemoe_answer.jsonl")
        task["fewshot"]["documents"] = task["documents"]
        task["name"] = name
        return self.write(f"{len(list(self.dir.iterdir()))}.json", json.dumps(task))

    def test_a_task_whose_name_is_too_long_for_a_file(self):
        out = self.dir / "out"
        done = cemoe.run("eval", "--model", cemoe.MODEL, "--out", out, "--tasks", self.task("t" * 221), "--limit", 2, "--quiet")
        self.assert_fails(done, "eval", "tttt...", "a name of 221 bytes", "File name too long")
        self.assertEqual([path.name for path in out.iterdir() if path.name != "journal.lock"], [])

    def test_files_beside_the_results_that_have_no_place(self):
        for option in ("--stats", "--traffic"):
            done = cemoe.run("generate", "--model", cemoe.MODEL, "--prompt", "1", "--max-tokens", 1, option, self.dir / "none/x")
            self.assert_fails(done, "generate", "none/x: No such file or directory")
            self.assertEqual((done.out, len(done.ours)), ("", 1))

    def test_two_tasks_whose_files_would_be_one(self):
        done = cemoe.run("eval", "--model", cemoe.MODEL, "--out", self.dir / "out", "--limit", 2, "--quiet",
                         "--tasks", self.task("a/b"), self.task("a_b"))
        self.assert_fails(done, "eval", "task a_b is there twice")


if __name__ == "__main__":
    cemoe.main()
