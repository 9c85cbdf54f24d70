#!/usr/bin/env python3
"""When deploy/demo.sh configures, with tools that write down how they are called."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "deploy/demo.sh"


class Demo(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.top = pathlib.Path(folder.name).resolve() / "checkout"
        (self.top / "deploy").mkdir(parents=True)
        shutil.copy(SCRIPT, self.top / "deploy")
        self.make("deploy/install-deps.sh", "")
        for tool in ("cmake", "mpirun"):
            self.make(f"tools/{tool}", f'echo "{tool} $*" >>{self.top}/calls')

    def make(self, name, text):
        (self.top / name).parent.mkdir(exist_ok=True)
        (self.top / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.top / name).chmod(0o755)

    def configure(self, source):
        (self.top / "build/release").mkdir(parents=True)
        (self.top / "build/release/build.ninja").touch()
        (self.top / "build/release/CMakeCache.txt").write_text(f"CMAKE_HOME_DIRECTORY:INTERNAL={source}\n")

    def calls_of(self, tool):
        """From another directory; what the tool was called with."""
        done = subprocess.run([self.top / "deploy/demo.sh"], cwd="/", capture_output=True, text=True, check=False,
                              env={**os.environ, "PATH": f"{self.top}/tools:{os.environ['PATH']}"})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual([line.split()[1] for line in done.stderr.splitlines()[-3:]], ["Shown:", "Next:", "Then:"])
        return [line for line in (self.top / "calls").read_text().splitlines() if line.startswith(tool)]

    def test_a_new_checkout_is_configured(self):
        self.assertEqual(self.calls_of("cmake"), ["cmake --preset release --fresh",
                                                  "cmake --build --preset release --target cemoe"])

    def test_a_tree_that_was_configured_here_stays_so(self):
        self.configure(self.top)
        self.assertEqual(self.calls_of("cmake"), ["cmake --build --preset release --target cemoe"])

    def test_a_tree_of_another_checkout_is_made_anew(self):
        self.configure("/elsewhere")
        self.assertEqual(self.calls_of("cmake")[0], "cmake --preset release --fresh")

    def test_two_ranks_run_with_all_experts_and_with_half_of_them(self):
        full, compressed = self.calls_of("mpirun")
        self.assertIn("-n 2 ", full)
        self.assertIn("--compressed 0", full)
        self.assertIn("--compressed 2 --compressed-experts deploy/model/ces-math.safetensors", compressed)


if __name__ == "__main__":
    unittest.main()
