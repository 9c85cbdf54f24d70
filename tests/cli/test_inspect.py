#!/usr/bin/env python3
"""cemoe inspect: figures that can be computed by hand, with and without weights."""

import json
import math
import shutil

import cemoe

# allenai/OLMoE-1B-7B-0924, as far as sizes go; the other fields have these values by default.
OLMOE = {"model_type": "olmoe", "hidden_size": 2048, "intermediate_size": 1024, "num_hidden_layers": 16,
         "num_attention_heads": 16, "num_experts": 64, "num_experts_per_tok": 8, "vocab_size": 50304,
         "torch_dtype": "bfloat16"}


def inspect(model, *arguments, **extra):
    done = cemoe.run("inspect", "--model", model, *arguments, "--json", **extra)
    assert done.code == 0, done.err
    return done.json()


class Shipped(cemoe.TestCase):
    def test_fields(self):
        document = inspect(cemoe.MODEL, "--ranks", 3)
        self.assertEqual(document["architecture"], "olmoe")
        self.assertEqual((document["ranks"], document["compressed"]), (3, 2))
        config = json.loads((cemoe.MODEL / "config.json").read_text())
        for field, value in document["config"].items():
            if field in config and field != "dtype":
                self.assertEqual(value, config[field], field)
        self.assertEqual(document["config"]["dtype"], "BF16")
        self.assertEqual(document["config"]["head_dim"], 32)

    def test_parameters_are_those_of_the_file(self):
        header, data = cemoe.read_safetensors(cemoe.MODEL / "model.safetensors")
        shapes = {name: tensor["shape"] for name, tensor in header.items() if name != "__metadata__"}
        total = sum(math.prod(shape) for shape in shapes.values())
        document = inspect(cemoe.MODEL)
        self.assertEqual(document["weights"]["dtypes"],
                         {"BF16": {"tensors": len(shapes), "values": total, "bytes": len(data)}})
        self.assertEqual((document["weights"]["present"], document["weights"]["files"]), (True, 1))
        parts = document["parameters"]
        self.assertEqual(parts["total"], total)
        self.assertEqual(sum(parts[p] for p in ("embedding", "attention", "router", "experts", "output", "vectors",
                                                "compressed_tables")), total)
        expert = 3 * 128 * 64
        self.assertEqual(parts["active_uncompressed"], total - parts["vectors"] - 4 * (16 - 4) * expert)
        self.assertEqual(parts["active_compressed"], parts["active_uncompressed"] - 4 * 2 * expert)
        self.assertEqual(parts["compressed_vectors"], 4 * 2 * (2 * 128 + 64))

    def test_tables_of_compressed_experts(self):
        self.assertFalse(inspect(cemoe.MODEL)["weights"]["compressed_tables"])
        document = inspect(cemoe.MODEL / "ce-math")
        self.assertTrue(document["weights"]["compressed_tables"])
        self.assertEqual(document["parameters"]["compressed_tables"], 4 * 16 * 3 * 128)
        self.assertEqual(document["memory"]["compressed_bytes"], 4 * 4 * 16 * 3 * 128)
        self.assertEqual(inspect(cemoe.MODEL / "ce-math", "--compressed", 0)["memory"]["compressed_bytes"], 0)

    def test_separate_compressed_experts(self):
        """Of a file: its parameters and bytes; affine ones send no pairs, 8 bytes for each row of x and expert."""
        header, data = cemoe.read_safetensors(cemoe.AFFINE)
        alone = inspect(cemoe.MODEL, "--ranks", 2, "--compressed", 2)
        for file, kind, values, vectors in (
                (cemoe.MODEL / "ces-math.safetensors", "scaling", 4 * 16 * 3 * 128, 4 * 2 * (2 * 128 + 64)),
                (cemoe.AFFINE, "affine", len(data) // 2, len(data) // 2 // 16 * 2)):
            with self.subTest(kind):
                document = inspect(cemoe.MODEL, "--ranks", 2, "--compressed-experts", file)
                parts = document["parameters"]
                self.assertEqual((document["compressed"], document["compressed_kind"]), (2, kind))
                self.assertEqual(parts["compressed_tables"], values)
                self.assertEqual(parts["compressed_vectors"], vectors)
                self.assertEqual(parts["total"], alone["parameters"]["total"] + values)
                self.assertEqual(document["memory"]["compressed_bytes"], values * (4 if kind == "scaling" else 2))
                before, after = (x["traffic"]["ordered"]["compressed"] for x in (alone, document))
                self.assertAlmostEqual(before["metadata_bytes"] - after["metadata_bytes"],
                                       0 if kind == "scaling" else 8 * 2 * after["rows"])
        self.assertEqual(inspect(cemoe.MODEL, "--compressed-experts", cemoe.AFFINE, "--compressed", 1)["compressed"], 1)
        self.assertEqual(alone["compressed_kind"], "none")

    def test_memory_of_uneven_shards(self):
        one_of_each_layer = 4 * 3 * 128 * 64 * 2
        for ranks in (1, 2, 3, 5, 7, 16, 20):
            memory = inspect(cemoe.MODEL, "--ranks", ranks)["memory"]
            fewest, most = 16 // ranks, -(-16 // ranks)
            self.assertEqual((memory["experts_min"], memory["experts_max"]), (fewest, most))
            self.assertEqual(memory["expert_bytes_min"], fewest * one_of_each_layer)
            self.assertEqual(memory["expert_bytes_max"], most * one_of_each_layer)
            self.assertEqual(memory["rank_bytes_max"], memory["dense_bytes"] + most * one_of_each_layer)
            self.assertEqual(memory["kv_bytes_per_token"], 4 * 2 * 128 * 4)

    def test_nothing_travels_on_one_rank(self):
        for scheme in ("per_assignment", "ordered", "partial"):
            traffic = inspect(cemoe.MODEL)["traffic"][scheme]
            self.assertEqual(traffic["compressed"]["bytes"], 0)
            self.assertIsNone(traffic["saved"])
            self.assertIsNone(traffic["saved_against_per_assignment"])

    def test_every_golden_checkpoint(self):
        for model in sorted((cemoe.ROOT / "tests/golden").glob("*/config.json")):
            with self.subTest(model.parent.name):
                document = inspect(model.parent, "--ranks", 2)
                self.assertTrue(document["weights"]["present"])

    def test_table_for_people(self):
        done = self.assert_done(cemoe.run("inspect", "--model", cemoe.MODEL, "--ranks", 3))
        for word in ("olmoe", "BF16", "2.370 M", "1.188 M", "0.991 M", "ordered combine", "row per assignment"):
            self.assertIn(word, done.out)
        self.assertEqual(done.err, "")

    def test_one_process_of_a_job_answers(self):
        if shutil.which("mpirun") is None:
            self.skipTest("no mpirun")
        self.assertEqual(inspect(cemoe.MODEL, ranks=2), inspect(cemoe.MODEL))


class WithoutWeights(cemoe.TestCase):
    def setUp(self):
        super().setUp()
        self.write("config.json", json.dumps(OLMOE))

    def test_published_figures(self):
        document = inspect(self.dir)
        self.assertEqual(document["weights"], {"present": False, "files": 0, "compressed_tables": False, "dtypes": {}})
        self.assertEqual(document["compressed"], 4)
        self.assertEqual(document["parameters"]["total"], 6919161856)
        self.assertEqual(round(document["parameters"]["active_uncompressed"] / 1e5), 12819)
        self.assertEqual(round(document["parameters"]["active_compressed"] / 1e5), 8792)

    def test_saved_rows(self):
        """Metadata and 4 bytes an element included, the savings are those of the rows to a percent."""
        for ranks, percent in ((2, 41), (4, 42), (8, 45), (16, 48), (32, 49), (64, 50)):
            traffic = inspect(self.dir, "--ranks", ranks)["traffic"]
            before, after = traffic["ordered"]["uncompressed"], traffic["ordered"]["compressed"]
            saved = 1 - (after["rows"] + after["results"]) / (before["rows"] + before["results"])
            self.assertEqual(round(100 * saved), percent)
            self.assertAlmostEqual(traffic["ordered"]["saved"], saved, delta=0.005)
            self.assertAlmostEqual(traffic["per_assignment"]["saved"], 0.5, delta=0.005)
            self.assertAlmostEqual(traffic["ordered"]["saved_against_per_assignment"],
                                   1 - after["bytes"] / traffic["per_assignment"]["uncompressed"]["bytes"])

    def test_ranks_by_the_thousand(self):
        memory = inspect(self.dir, "--ranks", 5000)["memory"]
        self.assertEqual((memory["experts_min"], memory["experts_max"], memory["expert_bytes_min"]), (0, 1, 0))


class BadInput(cemoe.TestCase):
    def assert_failure(self, model, *parts, arguments=()):
        done = cemoe.run("inspect", "--model", model, *arguments)
        self.assertEqual(done.code, 1, done.err)
        self.assertEqual(done.raw, b"")
        self.assertEqual(len(done.err.splitlines()), 1, done.err)
        for part in parts:
            self.assertIn(part, done.err)

    def test_config_that_disagrees_with_the_tensors(self):
        model = self.copy_model()
        cemoe.edit_json(model / "config.json", intermediate_size=32)
        self.assert_failure(model, "model.safetensors", "model.layers.0.mlp.experts.0.gate_proj.weight", "[64, 128]",
                            "[32, 128]")

    def test_weights_that_are_damaged(self):
        model = self.copy_model()
        (model / "model.safetensors").write_bytes(b"")
        self.assert_failure(model, "model.safetensors")

    def test_weights_in_another_format(self):
        model = self.copy_model()
        (model / "model.safetensors").rename(model / "pytorch_model.bin")
        self.assert_failure(model, "pytorch_model.bin")

    def test_n_ce_out_of_range(self):
        self.assert_failure(cemoe.MODEL, "n_ce", "0 to 3", arguments=["--compressed", 4])

    def test_no_model(self):
        self.assert_failure(self.dir / "none", f"{self.dir}/none")
        self.assert_failure(self.dir, f"{self.dir}/config.json")


if __name__ == "__main__":
    cemoe.main()
