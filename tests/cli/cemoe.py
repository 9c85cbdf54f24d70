"""The program under test, alone or under mpirun, and models made for one test.

CEMOE_BINARY names the program (build/release/cemoe when unset). CEMOE_RING is the ring in which the tests run
(../README.md): in "quick", or when it is unset, fewer cases that take the same paths. CEMOE_SANITIZED is set for a
program with sanitizers, in which everything takes many times as long.
"""

import json
import os
import pathlib
import shutil
import struct
import subprocess
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("CEMOE_BINARY") or ROOT / "build/release/cemoe")
QUICK = (os.environ.get("CEMOE_RING") or "quick") == "quick"
SANITIZED = bool(os.environ.get("CEMOE_SANITIZED"))
MODEL = ROOT / "deploy/model"
AFFINE = ROOT / "tests/golden/affine/compressed.safetensors"  # compressed experts for it
MPIRUN = ROOT / "tests/mpi/mpirun.sh"
SECONDS = 240 if os.environ.get("CEMOE_ISA") == "ref" else 60  # no run may take longer; plain C computes slowly
SKIPPED = 77

COMMANDS = ["generate", "score", "logits", "eval", "calibrate", "compare", "inspect", "plan", "doctor", "pack", "tokenize",
            "bench step", "bench schedule", "bench kernels"]


class Run:
    """One run: exit code, stdout (bytes in `raw`), stderr, and our own lines of stderr."""

    def __init__(self, done):
        self.code = done.returncode
        self.raw = done.stdout
        self.out = done.stdout.decode("utf-8", "replace")
        self.err = done.stderr.decode("utf-8", "replace")
        self.ours = [line for line in self.err.splitlines() if line.startswith("cemoe")]

    def json(self):
        return json.loads(self.raw)


def environment(extra):
    """Without settings of ours that a user may have; one thread, as ranks share the cores."""
    ours = ("CEMOE_MODEL", "CEMOE_TRANSPORT", "CEMOE_DEADLINE_MS", "CEMOE_MEMORY_LIMIT")
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return {**kept, "OMP_NUM_THREADS": "1", "CE_TEST_SECONDS": str(SECONDS), **extra}


def run(*arguments, ranks=1, stdin=b"", **extra):
    """Runs `cemoe ARGUMENTS`; keywords beyond `ranks` and `stdin` go to the environment."""
    command = [BINARY, *map(str, arguments)]
    if ranks > 1:
        command = [MPIRUN, str(ranks), *command]
    return Run(subprocess.run(command, input=stdin, capture_output=True, env=environment(extra),
                              timeout=SECONDS + 30, check=False))


def processes_with(token):
    """Ids of the processes that have `token` in their command line."""
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if token.encode() in entry.read_bytes() and int(entry.parent.name) != os.getpid():
                found.append(entry.parent.name)
        except OSError:
            pass  # it ended while we looked
    return found


def wait_until_gone(token, seconds=10):
    """Ids of the processes that are still there after a while."""
    limit = time.monotonic() + seconds
    while (left := processes_with(token)) and time.monotonic() < limit:
        time.sleep(0.05)
    return left


def read_safetensors(path):
    """(header, data) of a file; the header is a dict in the order of the file."""
    image = pathlib.Path(path).read_bytes()
    (length,) = struct.unpack("<Q", image[:8])
    return json.loads(image[8:8 + length]), image[8 + length:]


def write_safetensors(path, header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    pathlib.Path(path).write_bytes(struct.pack("<Q", len(text)) + text + data)


class TestCase(unittest.TestCase):
    """Has a directory of its own, named so that processes about it can be found."""

    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="cemoe-cli-"))
        self.addCleanup(shutil.rmtree, self.dir)

    def copy_model(self, source=MODEL):
        """A copy of what the program reads of a checkpoint, to be damaged."""
        model = self.dir / f"model{len(list(self.dir.iterdir()))}"
        model.mkdir()
        for pattern in ("config.json", "generation_config.json", "tokenizer*.json", "model*.safetensors*"):
            for file in source.glob(pattern):
                shutil.copy(file, model)
        return model

    def write(self, name, content):
        path = self.dir / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def assert_done(self, done):
        self.assertEqual(done.code, 0, done.err)
        return done


def edit_json(path, **changes):
    """Sets fields of a JSON file; a value of None removes the field."""
    document = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in document.items() if value is not None}))


# Of a case that adds to others a combination, not a path.
not_quick = unittest.skipIf(QUICK, "in the rings ci and all only")


def main(several=False):
    """`several`: every case needs mpirun."""
    if several and shutil.which("mpirun") is None:
        raise SystemExit(SKIPPED)
    unittest.main(verbosity=2)
