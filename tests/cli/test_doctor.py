#!/usr/bin/env python3
"""cemoe doctor: what is wrong with a launch, and the exit code."""

import os
import pathlib
import shutil
import socket
import subprocess

import cemoe


class Doctor(cemoe.TestCase):
    def doctor(self, code, *arguments, ranks=1, **environment):
        """The document, of a run with that exit code."""
        model = [] if "--model" in arguments else ["--model", cemoe.MODEL]
        done = cemoe.run("doctor", *model, *arguments, "--json", ranks=ranks, **environment)
        self.assertEqual(done.code, code, done.out + done.err)
        return done.json()

    def assert_finding(self, document, check, verdict, *parts):
        found = [f for f in document["findings"] if f["check"] == check and f["verdict"] == verdict]
        self.assertTrue(found, document)
        for part in parts:
            self.assertTrue(any(part in f["text"] for f in found), (part, found))
        if verdict == "failed":
            self.assertEqual(document["verdict"], "failed")

    def need_mpirun(self):
        if shutil.which("mpirun") is None:
            self.skipTest("no mpirun")

    def test_all_well(self):
        out = self.dir / "out"
        document = self.doctor(0, "--out", out)
        worst = {f["verdict"] for f in document["findings"] if f["check"] != "leftovers"}  # of other jobs here
        self.assertEqual((worst, document["ranks"], document["transport"]), ({"ok"}, 1, "self"))
        self.assertEqual({f["check"] for f in document["findings"]},
                         {"launch", "transport", "ucx", "threads", "model", "memory", "leftovers", "out"})
        host, = document["hosts"]
        self.assertEqual((host["host"], host["ranks"], host["threads"]), (socket.gethostname(), 1, 1))
        self.assertTrue(0 < host["planned_bytes"] < host["available_bytes"])
        self.assertFalse(out.exists())

    def test_shared_memory_of_a_killed_job_is_named(self):
        name = f"vader_segment.test.{os.getpid()}.0"
        file = pathlib.Path("/dev/shm") / name
        if not os.access(file.parent, os.W_OK):
            self.skipTest("no /dev/shm")
        self.addCleanup(file.unlink)
        file.write_bytes(bytes(5 << 20))
        self.assert_finding(self.doctor(0), "leftovers", "warning", "of ended jobs in /dev/shm have", "one is ")

    def test_table(self):
        done = cemoe.run("doctor", "--model", cemoe.MODEL)
        self.assert_done(done)
        for words in ("planned MiB", "ok       launch   1 rank", "ok       memory"):
            self.assertIn(words, done.out)

    def test_ranks(self):
        self.need_mpirun()
        document = self.doctor(0, ranks=2)
        self.assertEqual((document["ranks"], document["hosts"][0]["ranks"]), (2, 2))
        self.assertIn(document["transport"], ("ucx", "mpi"))

    def test_memory_planned_is_what_a_run_takes(self):
        planned = self.doctor(0)["hosts"][0]["planned_bytes"]
        text = self.write("text", "Question: 2 + 2?")
        command = ["score", "--model", cemoe.MODEL, "--file", text, "--cache-tokens", 4096]
        refused = cemoe.run(*command, CEMOE_MEMORY_LIMIT=str(planned * 95 // 100))
        self.assertEqual(refused.code, 1)
        self.assertIn("not enough memory", refused.err)
        self.assert_done(cemoe.run(*command, CEMOE_MEMORY_LIMIT=str(planned * 105 // 100)))

    def test_memory(self):
        self.need_mpirun()
        document = self.doctor(3, ranks=2, CEMOE_MEMORY_LIMIT="20000000")
        self.assert_finding(document, "memory", "failed", "2 ranks", "19.1 MiB")

    def test_singletons(self):
        """srun without --mpi=pmix, with a library that MPI does not know, and the batch script itself."""
        for variables in ({"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "4"}, {"PMI_RANK": "0", "PMI_SIZE": "4"}):
            # What a failing MPI_Init leaves behind is not ours to free.
            done = cemoe.run("doctor", "--model", cemoe.MODEL, "--json", SLURM_NTASKS="4", **variables,
                             ASAN_OPTIONS=f"{os.environ.get('ASAN_OPTIONS', '')}:detect_leaks=0")
            self.assertEqual(done.code, 3, done.err)
            if "SLURM_PROCID" in variables:
                self.assertEqual(done.raw, b"")  # one of the processes speaks
            else:
                self.assert_finding(done.json(), "launch", "failed", "4 processes")
        document = self.doctor(3, SLURM_NTASKS="4", SLURM_PROCID="0", SLURM_STEP_NUM_TASKS="4")
        self.assert_finding(document, "launch", "failed")
        self.assertIsNone(document["hosts"][0]["planned_bytes"])
        document = self.doctor(0, SLURM_NTASKS="4", SLURM_PROCID="0")
        self.assert_finding(document, "launch", "warning", "1 rank", "4 tasks")

    def test_threads(self):
        allowed = len(os.sched_getaffinity(0))
        document = self.doctor(3, OMP_NUM_THREADS=str(allowed + 1))
        self.assert_finding(document, "threads", "failed", f"{allowed + 1} threads", f"on {allowed} of")

    def test_ranks_on_one_core(self):
        self.need_mpirun()
        if os.cpu_count() < 2 or shutil.which("taskset") is None:
            self.skipTest("needs two processors and taskset")
        core = str(min(os.sched_getaffinity(0)))
        done = cemoe.Run(subprocess.run(
            ["taskset", "-c", core, cemoe.MPIRUN, "2", cemoe.BINARY, "doctor", "--model", cemoe.MODEL, "--json"],
            capture_output=True, env=cemoe.environment({}), check=False, timeout=60))
        self.assertEqual(done.code, 3, done.err)
        self.assert_finding(done.json(), "threads", "failed", "only 1 of its")

    def test_ucx(self):
        self.need_mpirun()
        quiet = {"UCX_LOG_LEVEL": "fatal"}  # UCX writes its own warnings to standard output
        document = self.doctor(3, ranks=2, UCX_NET_DEVICES="none9", UCX_TLS="self,rc_q,sm", **quiet)
        self.assert_finding(document, "ucx", "failed", "none9")
        self.assert_finding(document, "ucx", "warning", "rc_q")
        document = self.doctor(3, ranks=2, UCX_TLS="self", **quiet)
        self.assert_finding(document, "ucx", "failed", "other ranks")
        document = self.doctor(0, "--transport", "mpi", ranks=2, UCX_TLS="self")
        self.assert_finding(document, "ucx", "skipped")

    def test_model(self):
        self.need_mpirun()
        document = self.doctor(3, "--model", self.dir / "none", ranks=2)
        self.assert_finding(document, "model", "failed", "no rank", "none")
        self.assert_finding(document, "memory", "skipped")
        broken = self.copy_model()
        (broken / "model.safetensors").write_bytes(b"\0" * 7)
        self.assert_finding(self.doctor(3, "--model", broken), "model", "failed", "model.safetensors")

    def test_model_on_one_host_only(self):
        """As rank 1 would see it."""
        self.need_mpirun()
        script = self.write("rank", '#!/bin/sh\n[ "$OMPI_COMM_WORLD_RANK" = 0 ] || set -- "$@" --model /nowhere\n'
                            'exec "$@"\n')
        script.chmod(0o755)
        done = cemoe.Run(subprocess.run(
            [cemoe.MPIRUN, "2", script, cemoe.BINARY, "doctor", "--model", cemoe.MODEL, "--json"],
            capture_output=True, env=cemoe.environment({}), check=False, timeout=60))
        self.assertEqual(done.code, 3, done.err)
        self.assert_finding(done.json(), "model", "failed", "1 of 2 ranks", f"rank 1 on {socket.gethostname()}")

    def test_out(self):
        file = self.write("file", "")
        for path in (file, file / "below", "/proc/none"):
            self.assert_finding(self.doctor(3, "--out", path), "out", "failed", str(path))

    def test_usage(self):
        for arguments in ([], ["--model", cemoe.MODEL, "--truncated", "1", "--compressed", "1"]):
            done = cemoe.run("doctor", *arguments)
            self.assertEqual((done.code, done.raw), (2, b""), done.err)


if __name__ == "__main__":
    cemoe.main()
