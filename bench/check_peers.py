#!/usr/bin/env python3
"""bench/peers without the peers: the model files it makes and the table it prints."""

import json
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

PEERS = pathlib.Path(__file__).resolve().parent / "peers"
sys.path.insert(0, str(PEERS))
import make_gguf  # noqa: E402
import measure  # noqa: E402


def pair(scale=1.0, read=30e9):
    """Ours is twice the peer at everything; compressed is 1.4 of uncompressed."""
    def rates(prompt, **more):
        return {"prompt": prompt, "decode": {str(batch): prompt / 10 * batch for batch in measure.BATCHES}, **more}
    return {"cemoe bf16 8": rates(200 * scale, of_read=0.75, bytes=1e9, read=read), "llama bf16 8": rates(100),
            "cemoe bf16 4": rates(280 * scale, of_read=0.86, bytes=6e8, read=read), "llama bf16 4": rates(140)}


class Table(unittest.TestCase):
    def setUp(self):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="cemoe-peers-"))
        self.addCleanup(shutil.rmtree, folder)
        self.file = folder / "pairs.json"

    def table(self, *pairs):
        self.file.write_text(json.dumps({"machine": {"processor": "P"}, "pairs": pairs}))
        done = subprocess.run([sys.executable, "-B", PEERS / "measure.py", "--from", self.file], capture_output=True,
                              text=True, check=True)
        return done.stdout

    def test_marks(self):
        text = self.table(pair(), pair(1.1), pair(0.9))
        self.assertIn("| prompt bf16 / llama.cpp BF16 | 1.8 / 2.2 / 3 | 2.00 | 1.80 - 2.20 | must |", text)
        self.assertIn("| decode b1 bf16 / llama.cpp BF16 | 1.1 / 1.25 / 1.4 | 2.00 | 1.80 - 2.20 | stretch |", text)
        self.assertIn("| decode b1 bf16: compressed / own uncompressed | 1.3 / 1.42 / 1.48 | 1.40 | 1.40 - 1.40 | must |", text)
        self.assertIn("| prompt bf16: compressed / own uncompressed | 1.45 / 1.52 / 1.56 | 1.40 | 1.40 - 1.40 | BELOW MUST |",
                      text)
        self.assertIn("| decode b8 bf16 / llama.cpp BF16 | - | 2.00 | 1.80 - 2.20 |  |", text)
        self.assertIn("| decode b1 of the read limit, bf16, 4 of 8 | 0.7 / 0.8 / 0.85 | 0.86 |", text)
        self.assertIn("| cemoe bf16 8 | 200.0 | 20.0 | 80.0 | 160.0 | 320.0 | 640.0 | 1000.0 |", text)

    def test_what_is_missing_is_said(self):
        text = self.table(pair())
        for row in ("prompt q8 / llama.cpp Q8_0 | 1.5 / 2 / 2.6", "prompt q8 / ik_llama.cpp Q8_0 | 0.9 / 1 / 1.3",
                    "prompt bf16: 2 ranks of half the threads / 1 rank | 0.85 / 0.93"):
            self.assertIn(f"| {row} | not measured | | |", text)

    def test_void_pairs_do_not_count(self):
        text = self.table(pair(), pair(5, read=20e9))
        self.assertIn("pairs: 1, and 1 void", text)
        self.assertIn("| 2.00 | 2.00 - 2.00 |", text)


class Files(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="cemoe-peers-"))
        self.addCleanup(shutil.rmtree, self.dir)
        for name, small in (("HIDDEN", 32), ("INTERMEDIATE", 64), ("EXPERTS", 4), ("BLOCK", 1 << 10)):
            self.addCleanup(setattr, make_gguf, name, getattr(make_gguf, name))
            setattr(make_gguf, name, small)

    def test_gguf(self):
        path = self.dir / "model.gguf"
        make_gguf.write_gguf(path, layers=2, vocabulary=100)
        image = path.read_bytes()
        self.assertEqual(struct.unpack_from("<4sIQQ", image), (b"GGUF", 3, 3 + 2 * 12, 15))
        whole = 2 * 32 * 100 * 2 + 2 * 4 * 32 * 32 * 2 + 2 * 3 * 4 * 32 * 64 * 2  # in BF16
        small = 32 * 4 + 2 * 4 * 32 * 4 + 2 * 32 * 4 * 4  # in F32
        data = len(image) - whole - small  # all sizes are multiples of the alignment
        self.assertTrue(0 < data < 4096 and data % 32 == 0, data)

    def test_experts_used(self):
        path = self.dir / "model.gguf"
        make_gguf.write_gguf(path, layers=1, vocabulary=10)
        before = path.read_bytes()
        make_gguf.set_experts_used(path, 4)
        after = path.read_bytes()
        changed = [i for i, (old, new) in enumerate(zip(before, after)) if old != new]
        self.assertEqual([(before[i], after[i]) for i in changed], [(8, 4)])
        self.assertEqual(len(before), len(after))

    def test_config(self):
        make_gguf.write_config(self.dir / "shape", layers=3, vocabulary=50)
        config = json.loads((self.dir / "shape/config.json").read_text())
        self.assertEqual((config["num_hidden_layers"], config["vocab_size"], config["num_experts"]), (3, 50, 4))


if __name__ == "__main__":
    unittest.main()
