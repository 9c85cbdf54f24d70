#!/usr/bin/env python3
"""deploy/install-deps.sh where packages are missing, with tools that write down how they are called."""

import pathlib
import shutil
import subprocess
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "deploy/install-deps.sh"


class InstallDeps(unittest.TestCase):
    def run_with(self, *tools, user=1000, missing=("ninja-build",)):
        """The script, done, and the calls of apt-get and sudo, on a machine that has these tools alone."""
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            for tool in ("sh", "env", "grep"):
                (folder / tool).symlink_to(shutil.which(tool))
            fakes = {"id": f"echo {user}",
                     "dpkg-query": "".join(f'[ "$4" != {package} ] || exit 1\n' for package in missing) +
                                   "echo 'install ok installed'",
                     "apt-get": f'echo "apt-get $*" >>{folder}/calls',
                     "sudo": f'echo sudo >>{folder}/calls; exec "$@"'}
            for tool in ("id", "dpkg-query", *tools):
                (folder / tool).write_text(f"#!/bin/sh\n{fakes[tool]}\n")
                (folder / tool).chmod(0o755)
            done = subprocess.run(["sh", SCRIPT], env={"PATH": name}, capture_output=True, text=True, check=False)
            calls = folder / "calls"
            return done, calls.read_text().splitlines() if calls.exists() else []

    def check_installed(self, calls):
        self.assertTrue(calls[0].startswith("apt-get ") and calls[0].endswith(" update"), calls)
        self.assertTrue(calls[1].endswith(" install -y --no-install-recommends ninja-build"), calls)

    def test_nothing_is_missing(self):
        done, calls = self.run_with("apt-get", "sudo", missing=())
        self.assertEqual((done.returncode, done.stdout, done.stderr, calls), (0, "", "", []))

    def test_root_needs_no_sudo(self):
        done, calls = self.run_with("apt-get", user=0)
        self.assertEqual((done.returncode, done.stderr), (0, "installing: ninja-build\n"))
        self.check_installed(calls)

    def test_a_user_has_sudo(self):
        done, calls = self.run_with("apt-get", "sudo")
        self.assertEqual(done.returncode, 0)
        self.assertEqual([calls[0], calls[2]], ["sudo", "sudo"])
        self.check_installed(calls[1::2])

    def test_a_user_without_sudo_is_told_what_root_must_do(self):
        done, calls = self.run_with("apt-get")
        self.assertEqual((done.returncode, calls), (1, []))
        self.assertIn("no sudo here; let root run: apt-get install --no-install-recommends ninja-build", done.stderr)

    def test_another_system_is_told_what_is_missing(self):
        done, calls = self.run_with("sudo")
        self.assertEqual((done.returncode, calls), (1, []))
        self.assertIn("no apt-get here; install what Debian 12 calls: ninja-build", done.stderr)


if __name__ == "__main__":
    unittest.main()
