#!/usr/bin/env python3
"""cemoe pack: packed models give the bits of their checkpoints on any number of ranks; damaged ones are refused."""

import json
import os
import shutil

import cemoe

GOLDEN = cemoe.ROOT / "tests/golden"
FORMATS = [("stored", "stored"), ("q8", "q8"), ("q4", "bf16")]
FORMATS = FORMATS[1:] if cemoe.QUICK else FORMATS
RANK_COUNTS = (1, 3) if shutil.which("mpirun") else (1,)


class PackCase(cemoe.TestCase):
    def pack(self, model, experts="stored", dense="stored", *more):
        out = self.dir / f"packed{len(list(self.dir.iterdir()))}"
        self.assert_done(cemoe.run("pack", "--model", model, "--out", out, "--weights", experts, "--dense-weights", dense,
                                   *more))
        return out

    def logits(self, model, *options, ranks=1):
        out = self.dir / "logits"
        done = cemoe.run("logits", "--model", model, "--ids", "1,2,3,40,50,6,7", "--out", out, *options, ranks=ranks)
        self.assert_done(done)
        return out.read_bytes()

    def assert_failure(self, model, *parts, options=(), ranks=1):
        done = cemoe.run("logits", "--model", model, "--ids", "1,2", "--out", self.dir / "none", "--quiet", *options,
                         ranks=ranks)
        self.assertEqual(done.code, 1, done.err)
        self.assertEqual(len(done.ours), 1, done.err)
        for part in parts:
            self.assertIn(str(part), done.ours[0])
        return done


class SameBits(PackCase):
    def check(self, model, *options):
        for experts, dense in FORMATS:
            packed = self.pack(model, experts, dense)
            wanted = self.logits(model, "--weights", experts, "--dense-weights", dense, *options)
            for ranks in RANK_COUNTS:
                with self.subTest(f"{model.name} {experts} {dense} on {ranks}"):
                    self.assertEqual(self.logits(packed, *options, ranks=ranks), wanted)
                    self.assertEqual(self.logits(packed, "--mmap", *options, ranks=ranks), wanted)
                    self.assertFalse((packed / "model.safetensors").exists())

    def test_shipped(self):
        self.check(cemoe.MODEL)

    def test_tables_of_the_checkpoint(self):
        self.check(cemoe.MODEL / "ce-math")

    def test_tables_of_a_separate_file(self):
        """They are used instead of the packed ones."""
        self.check(cemoe.MODEL, "--compressed-experts", cemoe.MODEL / "ces-math.safetensors")
        packed = self.pack(cemoe.MODEL / "ce-math")
        other = ["--compressed-experts", cemoe.MODEL / "ces-code.safetensors"]
        self.assertEqual(self.logits(packed, *other), self.logits(cemoe.MODEL / "ce-math", *other))
        self.assertNotEqual(self.logits(packed), self.logits(packed, *other))

    def test_sharded(self):
        self.check(GOLDEN / "sharded_f16")

    def test_fused(self):
        self.check(GOLDEN / "fused_bf16")

    def test_tied(self):
        self.check(GOLDEN / "tied_bf16")

    def test_biases_and_f32(self):
        self.check(GOLDEN / "gqa_f32")

    def test_text(self):
        """With the tokenizer and the stop tokens that were copied; and any placement."""
        packed = self.pack(cemoe.MODEL, "q8", "q8")
        line = ["--prompt", "Question: A", "--max-tokens", 8, "--seed", 1]
        wanted = self.assert_done(cemoe.run("generate", "--model", cemoe.MODEL, "--weights", "q8", "--dense-weights",
                                            "q8", *line))
        found = self.assert_done(cemoe.run("generate", "--model", packed, "--placement", "strided", *line,
                                           ranks=RANK_COUNTS[-1]))
        self.assertEqual(found.raw, wanted.raw)
        self.assertIn("experts q8, dense q8", found.err)

    def test_settings_that_are_not_of_the_weights_may_change(self):
        packed = self.pack(cemoe.MODEL / "ce-math")
        cemoe.edit_json(packed / "config.json", use_ce=False, eos_token_id=3)
        self.assertEqual(self.logits(packed), self.logits(cemoe.MODEL / "ce-math", "--compressed", 0))


class Report(PackCase):
    def test_sums_and_errors(self):
        file = self.dir / "report.json"
        packed = self.pack(cemoe.MODEL / "ce-math", "q8", "q4", "--report", file)
        report = json.loads(file.read_text())
        self.assertEqual((report["weights"], report["dense_weights"]), ("q8", "q4"))
        header, data = cemoe.read_safetensors(cemoe.MODEL / "ce-math/model.safetensors")
        header.pop("__metadata__", None)
        self.assertEqual({tensor["name"] for tensor in report["tensors"]}, set(header))
        self.assertEqual(report["stored_bytes"], len(data))
        self.assertLess(report["packed_bytes"], os.path.getsize(packed / "model.cemoe"))
        types = {"experts": "q8", "dense": "q4", "exact": "BF16", "vectors": "F32", "tables": "F32"}
        for role, summary in report["roles"].items():
            mine = [tensor for tensor in report["tensors"] if tensor["role"] == role]
            errors = [tensor["error"] for tensor in mine]
            self.assertEqual(summary["tensors"], len(mine), role)
            self.assertEqual((summary["error_min"], summary["error_max"]), (min(errors), max(errors)))
            self.assertAlmostEqual(summary["error_mean"], sum(errors) / len(errors))
            self.assertEqual(summary["packed_bytes"], sum(tensor["packed_bytes"] for tensor in mine))
            self.assertEqual({tensor["packed"] for tensor in mine}, {types[role]})
        # A step of q8 is 1/127 of the largest of 32 weights, an error uniform in it is 0.29 of that.
        self.assertTrue(0.003 < report["roles"]["experts"]["error_min"] <= report["roles"]["experts"]["error_max"] < 0.01)
        self.assertTrue(0.05 < report["roles"]["dense"]["error_min"] <= report["roles"]["dense"]["error_max"] < 0.15)
        for role in ("exact", "vectors", "tables"):
            self.assertEqual(report["roles"][role]["error_max"], 0)

    def test_rounding(self):
        """BF16 has 8 bits: 2^-9 of a weight at most; what is BF16 already stays."""
        for model, least, most in ((GOLDEN / "gqa_f32", 5e-4, 2e-3), (GOLDEN / "tied_bf16", 0, 0)):
            file = self.dir / "report.json"
            self.pack(model, "bf16", "bf16", "--report", file)
            roles = json.loads(file.read_text())["roles"]
            for role in ("experts", "dense"):
                self.assertTrue(least <= roles[role]["error_min"] <= roles[role]["error_max"] <= most, roles[role])

    def test_table_for_people(self):
        out = self.dir / "new"
        done = self.assert_done(cemoe.run("pack", "--model", cemoe.MODEL, "--out", out, "--weights", "q8"))
        self.assertEqual(done.raw, b"")
        for words in ("MiB packed", "experts ", "norms, biases", "packed in"):
            self.assertIn(words, done.err)
        self.assertEqual(self.assert_done(cemoe.run("pack", "--model", cemoe.MODEL, "--out", self.dir / "b", "-q")).err, "")


class Directory(PackCase):
    def test_what_is_in_it(self):
        out = self.dir / "new"
        out.mkdir()
        self.assert_done(cemoe.run("pack", "--model", cemoe.MODEL, "--out", f"{out}/", "--quiet"))
        self.assertEqual(sorted(path.name for path in out.iterdir()),
                         ["config.json", "generation_config.json", "model.cemoe", "tokenizer.json", "tokenizer_config.json"])

    def assert_refused(self, code, arguments, *parts):
        before = sorted(self.dir.iterdir())
        done = cemoe.run("pack", *arguments)
        self.assertEqual(done.code, code, done.err)
        self.assertEqual(len(done.err.splitlines()), 1, done.err)
        for part in parts:
            self.assertIn(str(part), done.err)
        self.assertEqual(sorted(self.dir.iterdir()), before)

    def test_refused(self):
        new = self.dir / "new"
        packed = self.pack(cemoe.MODEL)
        self.assert_refused(1, ["--model", cemoe.MODEL, "--out", packed], packed, "something in it")
        self.assert_refused(1, ["--model", cemoe.MODEL, "--out", self.dir / "none/new"], "No such file")
        self.assert_refused(1, ["--model", packed, "--out", new], packed / "model.cemoe", "packed already")
        self.assert_refused(1, ["--model", self.dir, "--out", new], "config.json")
        self.assert_refused(2, ["--model", cemoe.MODEL], "--out")
        self.assert_refused(2, ["--model", cemoe.MODEL, "--out", new, "--weights", "q5"], "q5", "q8")

    def test_nothing_is_left_of_a_failure(self):
        model = self.copy_model(GOLDEN / "gqa_f32")
        header, data = cemoe.read_safetensors(model / "model.safetensors")
        name = next(name for name in header if "down_proj" in name)
        begin = header[name]["data_offsets"][0]
        cemoe.write_safetensors(model / "model.safetensors", header, data[:begin] + b"\x00\x00\xc0\x7f" + data[begin + 4:])
        self.assert_refused(1, ["--model", model, "--out", self.dir / "new", "--weights", "q8", "--quiet"], name,
                            "not finite")

    def test_one_process_of_a_job_packs(self):
        if shutil.which("mpirun") is None:
            self.skipTest("no mpirun")
        out = self.dir / "new"
        self.assert_done(cemoe.run("pack", "--model", cemoe.MODEL, "--out", out, ranks=2))
        self.assertEqual((out / "model.cemoe").read_bytes(), (self.pack(cemoe.MODEL) / "model.cemoe").read_bytes())

    def test_inspect_and_plan(self):
        for experts, dense in (("stored", "stored"), ("q8", "q4")):
            packed = self.pack(cemoe.MODEL / "ce-math", experts, dense)
            found = self.assert_done(cemoe.run("inspect", "--model", packed, "--ranks", 3, "--json")).json()
            wanted = cemoe.run("inspect", "--model", cemoe.MODEL / "ce-math", "--ranks", 3, "--json").json()
            kinds = found["weights"].pop("dtypes")
            memory = found.pop("memory")
            wanted["weights"].pop("dtypes")
            if experts == "stored":
                self.assertEqual(memory, wanted["memory"])
                self.assertEqual(set(kinds), {"BF16", "F32"})
            else:
                self.assertEqual(kinds["q8"]["values"], wanted["parameters"]["experts"])
                self.assertAlmostEqual(memory["expert_bytes_max"] / wanted["memory"]["expert_bytes_max"], 8.5 / 16)
            wanted.pop("memory")
            self.assertEqual(found, wanted)
            stats = self.dir / "stats.json"
            self.logits(packed, "--stats", stats, ranks=RANK_COUNTS[-1])
            ranks = json.loads(stats.read_text())["ranks"]
            if len(ranks) == 3:
                self.assertEqual(max(rank["expert_bytes"] for rank in ranks), memory["expert_bytes_max"])
            plan = self.assert_done(cemoe.run("plan", "--model", packed, "--ranks", 3, "--json")).json()
            self.assertEqual(max(rank["bytes"] for rank in plan["per_rank"]), memory["expert_bytes_max"])


class Refused(PackCase):
    def setUp(self):
        super().setUp()
        self.packed = self.pack(cemoe.MODEL, "q8")
        self.file = self.packed / "model.cemoe"

    def test_other_formats(self):
        for option, asked, has in (("--weights", "q4", "q8"), ("--weights", "stored", "q8"),
                                   ("--dense-weights", "bf16", "stored")):
            self.assert_failure(self.packed, self.file, f"{option} {has}", f"{option} {asked}", options=[option, asked])
        self.logits(self.packed, "--weights", "q8", "--dense-weights", "stored")

    def test_other_configuration(self):
        for change in ({"rope_theta": 5e5}, {"hidden_size": 64, "head_dim": 32}, {"norm_topk_prob": True}):
            model = shutil.copytree(self.packed, self.dir / f"other{len(list(self.dir.iterdir()))}")
            cemoe.edit_json(model / "config.json", **change)
            self.assert_failure(model, model / "model.cemoe", model / "config.json", "pack it again")
            done = cemoe.run("inspect", "--model", model)
            self.assertEqual(done.code, 1)
            self.assertIn("pack it again", done.err)

    def test_flipped_bits(self):
        """The message names the tensor they are in."""
        image = self.file.read_bytes()
        names = set()
        for place in (4096, len(image) // 3 & ~4095, len(image) // 2 & ~4095):
            damaged = bytearray(image)
            damaged[place] ^= 4
            self.file.write_bytes(damaged)
            for options in ((), ("--mmap",)):
                done = self.assert_failure(self.packed, self.file, "tensor 'model.", "checksum", options=options)
                names.add(done.ours[0].split("'")[1])
        self.assertEqual(len(names), 3)
        self.assertIn("model.embed_tokens.weight", names)
        damaged = bytearray(image)
        damaged[-9] ^= 4
        self.file.write_bytes(damaged)
        self.assert_failure(self.packed, self.file, "header")

    def test_flipped_bits_on_one_of_several_ranks(self):
        """A rank reads what it owns: one that finds damage stops all."""
        if len(RANK_COUNTS) == 1:
            self.skipTest("no mpirun")
        image = bytearray(self.file.read_bytes())
        image[len(image) // 2 & ~4095] ^= 4
        self.file.write_bytes(image)
        self.assert_failure(self.packed, self.file, "tensor 'model.layers.", "checksum", ranks=3)

    def test_cut_short(self):
        image = self.file.read_bytes()
        for length in (0, 7, 4096, len(image) // 2, len(image) - 1):
            self.file.write_bytes(image[:length])
            self.assert_failure(self.packed, self.file)

    def test_ranks_with_different_files(self):
        """The same shapes and formats, but another model: no rank may go on."""
        if len(RANK_COUNTS) == 1:
            self.skipTest("no mpirun")
        model = self.copy_model()
        header, data = cemoe.read_safetensors(model / "model.safetensors")
        name = next(name for name in header if "down_proj" in name)
        begin = header[name]["data_offsets"][0]
        cemoe.write_safetensors(model / "model.safetensors", header, data[:begin] + b"\x00\x00" + data[begin + 2:])
        other = self.pack(model, "q8")
        script = self.write("ranks", f"""#!/bin/sh
shift 3
[ "$OMPI_COMM_WORLD_RANK" = 1 ] && model={other} || model={self.packed}
exec {cemoe.BINARY} logits --model $model "$@"
""")
        script.chmod(0o755)
        binary, cemoe.BINARY = cemoe.BINARY, script
        try:
            self.assert_failure(self.packed, "another model", ranks=2)
        finally:
            cemoe.BINARY = binary

    def test_only_a_packed_model_is_used_in_place(self):
        self.assert_failure(cemoe.MODEL, cemoe.MODEL, "--mmap", "cemoe pack", options=("--mmap",))

    def test_cannot_be_split(self):
        self.assert_failure(self.packed, "cannot be split", options=("--expert-split", "node"))

    def test_memory_is_checked_first(self):
        for options in ((), ("--mmap",)):
            done = cemoe.run("logits", "--model", self.packed, "--ids", "1", "--out", self.dir / "none", *options,
                             CEMOE_MEMORY_LIMIT="1000000")
            self.assertEqual(done.code, 1)
            self.assertIn("not enough memory", done.err)


if __name__ == "__main__":
    cemoe.main()
