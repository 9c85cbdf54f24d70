#!/usr/bin/env python3
"""Another model in place of the one that is meant is refused by name, wherever it comes in."""

import json
import os
import shutil
import signal
import subprocess

import cemoe

INSIDE = 5000  # bytes from both ends that stay as they are
MISMATCH = r"rank 1 \(\S+\) "


def change(model, part, skip=INSIDE):
    """Flips every bit inside the tensors whose names have `part`."""
    path = model / "model.safetensors"
    header, data = cemoe.read_safetensors(path)
    data = bytearray(data)
    changed = 0
    for name, tensor in header.items():
        if name != "__metadata__" and part in name:
            begin, end = tensor["data_offsets"]
            for at in range(begin + skip, end - skip):
                data[at] ^= 1
                changed += 1
    assert changed > 0
    cemoe.write_safetensors(path, header, bytes(data))


class Ranks(cemoe.TestCase):
    """Two ranks, of which the second has something else."""

    def setUp(self):
        super().setUp()
        self.other = self.copy_model()

    def run_both(self, first, second, command="score"):
        line = ["--file", self.write("text", "one two three four"), "--json", "--quiet", "--deadline-ms", 20000]
        ranks = [[str(part) for part in (cemoe.BINARY, command, *line, *end)] for end in (first, second)]
        return cemoe.Run(subprocess.run([str(cemoe.MPIRUN), "1", *ranks[0], ":", "-n", "1", *ranks[1]], capture_output=True,
                                        env=cemoe.environment({}), timeout=cemoe.SECONDS, check=False))

    def refuse(self, pattern, first=(), second=()):
        done = self.run_both(["--model", cemoe.MODEL, *first], ["--model", self.other, *second])
        self.assertEqual((done.code, done.out), (1, ""), done.err)
        self.assertRegex(done.ours[-1], pattern)

    def test_equal_copies_are_one_model(self):
        done = self.run_both(["--model", cemoe.MODEL], ["--model", self.other])
        self.assert_done(done)

    def test_an_expert_of_the_first_rank(self):
        """Rank 1 does not own it and reads none of it but samples."""
        name = "model.layers.2.mlp.experts.1.down_proj.weight"
        change(self.other, name)
        self.refuse(MISMATCH + rf"has another model than rank 0 \(\S+\): {self.other}/model.safetensors: tensor '{name}'")

    def test_doctor(self):
        """Says the same without loading; of equal copies, what it compared."""
        line = ["--transport", "mpi"]
        ranks = [[str(part) for part in (cemoe.BINARY, "doctor", "--model", model, *line)] for model in (cemoe.MODEL, self.other)]

        def doctor():
            return cemoe.Run(subprocess.run([str(cemoe.MPIRUN), "1", *ranks[0], ":", "-n", "1", *ranks[1]], capture_output=True,
                                            env=cemoe.environment({}), timeout=cemoe.SECONDS, check=False))

        self.assertRegex(doctor().out, r"alike: config.json")
        name = "model.layers.1.mlp.experts.15.up_proj.weight"
        change(self.other, name)
        done = doctor()
        self.assertEqual(done.code, 3, done.err)
        self.assertRegex(" ".join(done.out.split()), MISMATCH + rf"has another model than rank 0 .*'{name}' has other values")

    def test_attention(self):
        change(self.other, "layers.3.self_attn.v_proj")
        self.refuse(MISMATCH + r"has another model than rank 0.*tensor 'model.layers.3.self_attn.v_proj.weight'")

    def test_a_byte_of_a_tensor_that_ranks_split(self):
        """Between two samples, in what rank 1 alone reads."""
        path = self.other / "model.safetensors"
        header, data = cemoe.read_safetensors(path)
        begin, end = header["lm_head.weight"]["data_offsets"]
        data = bytearray(data)
        data[begin + (end - begin) * 4 // 5 + 9000] ^= 16
        cemoe.write_safetensors(path, header, bytes(data))
        self.refuse(MISMATCH + r"has another model than rank 0.*tensor 'lm_head.weight'", ["--expert-split", "node"],
                    ["--expert-split", "node"])

    def test_small_files(self):
        for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
            with self.subTest(name):
                with open(self.other / name, "ab") as file:
                    file.write(b"\n")
                self.refuse(MISMATCH + rf"has {name}=[0-9a-f]{{16}}, rank 0 \(\S+\) has [0-9a-f]{{16}}")
                shutil.copy(cemoe.MODEL / name, self.other)

    def test_small_files_that_one_rank_has(self):
        for name in ("special_tokens_map.json", "added_tokens.json"):
            with self.subTest(name):
                (self.other / name).write_text("{}")
                self.refuse(MISMATCH + rf"has {name}=[0-9a-f]{{16}}, rank 0 \(\S+\) has none")
                (self.other / name).unlink()

    def test_configuration(self):
        cemoe.edit_json(self.other / "config.json", rope_theta=20000.0)
        self.refuse(MISMATCH + r"read a config.json.*rank 0 \(\S+\)")

    def test_compressed_experts(self):
        """Of the same shapes."""
        self.refuse(MISMATCH + r"has compressed-experts=[0-9a-f]{16}, rank 0 \(\S+\) has ",
                    ["--compressed-experts", cemoe.MODEL / "ces-math.safetensors"],
                    ["--compressed-experts", cemoe.MODEL / "ces-code.safetensors"])

    def test_packed(self):
        packed = []
        for name in ("first", "second"):
            out = self.dir / name
            self.assert_done(cemoe.run("pack", "--model", self.other, "--out", out, "--quiet"))
            packed.append(out)
            change(self.other, "layers.0.mlp.experts.0.up_proj")
        done = self.run_both(["--model", packed[0]], ["--model", packed[1]])
        self.assertEqual((done.code, done.out), (1, ""), done.err)
        self.assertRegex(done.ours[-1], MISMATCH + r"has another model than rank 0.*/second/model.cemoe: tensor "
                         r"'model.layers.0.mlp.experts.0.up_proj.weight'")


class OneModel(cemoe.TestCase):
    """A model that was exchanged between two commands."""

    def test_affine_experts_of_another_model(self):
        """Only experts differ, as after tuning them alone."""
        model = self.copy_model()
        line = ["score", "--file", self.write("text", "one two three four"), "--json", "--quiet", "--compressed-experts",
                cemoe.AFFINE]
        wanted = self.assert_done(cemoe.run(*line, "--model", model))
        packed = self.dir / "packed"
        self.assert_done(cemoe.run("pack", "--model", model, "--out", packed, "--quiet"))
        self.assertEqual(self.assert_done(cemoe.run(*line, "--model", packed)).raw, wanted.raw)
        change(model, "layers.1.mlp.experts.7.gate_proj")
        for line in (line, ["compare", "--data", self.write("data", "one two three four " * 99), "--compressed-experts",
                            cemoe.AFFINE, "--out", self.dir / "compare"]):
            refused = cemoe.run(*line, "--model", model)
            self.assertEqual((refused.code, refused.out), (1, ""))
            self.assertRegex(refused.ours[-1], rf"{cemoe.AFFINE}: its compressed experts were made for the model")


class Journal(cemoe.TestCase):
    """A job that is continued with something else than it began with."""

    def setUp(self):
        super().setUp()
        self.model = self.copy_model()
        self.requests = self.write("requests.jsonl", json.dumps(
            {"custom_id": "1", "method": "POST", "url": "/v1/completions", "body": {"model": "m", "prompt": "one two", "max_tokens": 2}}))

    def evaluate(self, *options):
        return cemoe.run("eval", "--model", self.model, "--openai-batch", self.requests, "--out", self.dir / "out", "--quiet", *options)

    def refuse(self, field, *options):
        done = self.evaluate(*options)
        self.assertEqual((done.code, done.out), (1, ""), done.err)
        self.assertRegex(done.ours[-1], rf"journal of another job: {field} is ")

    def test_files_beside_the_tokenizer(self):
        for name in ("special_tokens_map.json", "added_tokens.json"):
            self.assert_done(self.evaluate())
            (self.model / name).write_text("{}")
            self.refuse("tokenizer")
            (self.model / name).unlink()
        self.assert_done(self.evaluate())

    def test_placement_that_results_depend_on(self):
        """A file of the same name, and the same placement under another."""
        placement = self.dir / "placement.json"
        plan = ["plan", "--model", self.model, "--ranks", 1, "--out"]
        self.assert_done(cemoe.run(*plan, placement))
        partial = ["--combine", "partial", "--placement"]
        self.assert_done(self.evaluate(*partial, placement))
        self.assert_done(self.evaluate(*partial, "contiguous"))


class Changed(cemoe.TestCase):
    """A model that is changed while a job uses it: the job stops itself in its second step, and is continued after it."""

    def stopped(self, model, *arguments):
        line = [cemoe.BINARY, "score", "--model", model, "--file", cemoe.MODEL / "eval/code.txt", "--step-tokens", 32, "--json",
                "--quiet", *arguments]
        job = subprocess.Popen([*map(str, line)], env=cemoe.environment({"CEMOE_TEST_FAULT": "stop:0:2:0:embed"}),
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(lambda: (job.kill(), job.communicate()))
        os.waitid(os.P_PID, job.pid, os.WSTOPPED | os.WNOWAIT)
        return job

    def refused(self, job, pattern):
        job.send_signal(signal.SIGCONT)
        out, err = job.communicate(timeout=cemoe.SECONDS)
        self.assertEqual((job.returncode, out), (1, b""), err)
        self.assertRegex(err.decode(), pattern)

    def packed(self):
        out = self.dir / "packed"
        self.assert_done(cemoe.run("pack", "--model", cemoe.MODEL, "--out", out, "--quiet"))
        return out

    def test_mapped_and_cut(self):
        packed = self.packed()
        job = self.stopped(packed, "--mmap")
        os.truncate(packed / "model.cemoe", 4096)
        self.refused(job, rf"cemoe: error: {packed}/model.cemoe: cut short")

    def test_mapped_and_written_to(self):
        packed = self.packed()
        job = self.stopped(packed, "--mmap")
        with open(packed / "model.cemoe", "r+b") as file:
            file.seek(100000)
            file.write(b"other bytes")
        self.refused(job, rf"{packed}/model.cemoe: changed while it was used")

    def test_tokenizer_replaced(self):
        model = self.copy_model()
        job = self.stopped(model)
        shutil.copy(model / "tokenizer.json", model / "new")
        os.replace(model / "new", model / "tokenizer.json")
        job.send_signal(signal.SIGCONT)
        _, err = job.communicate(timeout=cemoe.SECONDS)
        self.assertEqual(job.returncode, 1, err)
        self.assertRegex(err.decode(), rf"{model}/tokenizer.json: changed while it was used: another file")

    def test_tokenizer_replaced_before_the_weights_are_read(self):
        """Between its own reading and that of the weights a command waits for its text."""
        model = self.copy_model()
        for name, change in (("tokenizer.json", lambda path: os.replace(shutil.copy(path, model / "new"), path)),
                             ("added_tokens.json", lambda path: path.write_text("{}"))):
            with self.subTest(name):
                line = [cemoe.BINARY, "score", "--model", model, "--file", "-", "--quiet"]
                job = subprocess.Popen([*map(str, line)], env=cemoe.environment({}), stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                self.addCleanup(lambda job=job: (job.kill(), job.communicate()))
                job.stdin.write(b"one two three four " * 8000)  # more than a pipe holds, so that it is being read
                change(model / name)
                out, err = job.communicate(timeout=cemoe.SECONDS)
                self.assertEqual((job.returncode, out), (1, b""), err)
                self.assertRegex(err.decode(), rf"{model}/{name}: changed while it was used")


if __name__ == "__main__":
    os.environ.setdefault("CEMOE_RANKS", "2")
    cemoe.main()
