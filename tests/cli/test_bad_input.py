#!/usr/bin/env python3
"""What is wrong is said in one line that names it, with exit code 1, and nothing is left behind.

On one rank; test_bad_input_ranks.py says what several add. Models are copies of the shipped one, damaged here.
"""

import json
import shutil
import struct

import cemoe

EXPERT = "model.layers.1.mlp.experts.5.up_proj.weight"
NAN_BF16 = b"\xc0\x7f"


class BadInput(cemoe.TestCase):
    RANKS = 1  # of each run

    def setUp(self):
        super().setUp()
        self.model = self.copy_model()

    def assert_failure(self, arguments, *parts, stdin=b"", code=1, **extra):
        """`arguments` name something in our directory, which identifies the processes."""
        done = cemoe.run(*arguments, "--quiet", ranks=self.RANKS, stdin=stdin, **extra)
        self.assertEqual(done.code, code, done.err)
        self.assertEqual(done.raw, b"")
        self.assertEqual(len(done.ours), 1, done.err)
        self.assertTrue(done.ours[0].startswith(f"cemoe: error: {arguments[0]}: "), done.ours[0])
        if self.RANKS == 1:
            self.assertEqual(done.err, done.ours[0] + "\n")
        for part in parts:
            self.assertIn(str(part), done.ours[0])
        self.assertEqual(cemoe.wait_until_gone(self.dir.name), [])

    def logits(self, *arguments, ids="50,60,70,80,90"):
        """The command that needs least of a model."""
        return ["logits", "--model", self.model, "--ids", ids, "--out", self.dir / "out.safetensors", *arguments]

    def generate(self, *arguments):
        return ["generate", "--model", self.model, "--max-tokens", 4, *arguments]

    def score(self, *arguments):
        return ["score", "--model", self.model, *arguments]


class MissingFiles(BadInput):
    def test_model(self):
        shutil.rmtree(self.model)
        self.assert_failure(self.logits(), self.model)

    def test_config(self):
        (self.model / "config.json").unlink()
        self.assert_failure(self.logits(), self.model / "config.json")

    def test_weights(self):
        (self.model / "model.safetensors").unlink()
        self.assert_failure(self.logits(), self.model, "model.safetensors")

    def test_tokenizer(self):
        (self.model / "tokenizer.json").unlink()
        self.assert_failure(self.generate("--prompt", "a"), self.model / "tokenizer.json")

    def test_shard(self):
        self.model = self.copy_model(cemoe.ROOT / "tests/golden/sharded_f16")
        missing = sorted(self.model.glob("*.safetensors"))[1]
        missing.unlink()
        self.assert_failure(self.logits(ids="1,2,3"), missing)

    def test_prompt_text_and_tables(self):
        missing = self.dir / "missing"
        self.assert_failure(self.generate("--prompt-file", missing), missing)
        self.assert_failure(self.score("--file", missing), missing)
        self.assert_failure(self.logits("--compressed-experts", missing), missing)


class Weights(BadInput):
    def setUp(self):
        super().setUp()
        self.file = self.model / "model.safetensors"

    def test_truncated(self):
        image = self.file.read_bytes()
        for length in (len(image) - 1, 100, 7, 0):
            with self.subTest(length):
                self.file.write_bytes(image[:length])
                self.assert_failure(self.logits(), self.file)

    def test_hostile_headers(self):
        data = b"\0" * 64
        tensor = {"dtype": "F32", "shape": [16], "data_offsets": [0, 64]}
        headers = {
            "not JSON": b"{",
            "not an object": b"[]",
            "a tensor twice": b'{"a": %s, "a": %s}' % ((json.dumps(tensor).encode(),) * 2),
            "unknown dtype": {"a": {**tensor, "dtype": "F31"}},
            "shape and bytes disagree": {"a": {**tensor, "shape": [17]}},
            "negative": {"a": {**tensor, "shape": [-16]}},
            "product beyond 2^64": {"a": {**tensor, "shape": [1 << 62, 1 << 62]}},
            "beyond the end": {"a": {**tensor, "shape": [32], "data_offsets": [0, 128]}},
            "backwards": {"a": {**tensor, "data_offsets": [64, 0]}},
            "hole": {"a": {**tensor, "shape": [8], "data_offsets": [32, 64]}},
            "overlap": {"a": tensor, "b": {**tensor, "shape": [8], "data_offsets": [0, 32]}},
        }
        for what, header in headers.items():
            with self.subTest(what):
                cemoe.write_safetensors(self.file, header, data)
                self.assert_failure(self.logits(), self.file)

    def test_header_longer_than_the_file(self):
        image = self.file.read_bytes()
        for length in ((1 << 64) - 1, 1 << 40, len(image)):
            with self.subTest(length):
                self.file.write_bytes(struct.pack("<Q", length) + image[8:])
                self.assert_failure(self.logits(), self.file)

    def test_missing_superfluous_and_other_tensors(self):
        header, data = cemoe.read_safetensors(self.file)
        renamed = {"model.layers.9.x" if name == EXPERT else name: tensor for name, tensor in header.items()}
        cemoe.write_safetensors(self.file, renamed, data)
        self.assert_failure(self.logits(), self.model, EXPERT)
        cemoe.write_safetensors(self.file, {**header, "extra": {"dtype": "F32", "shape": [0],
                                                                "data_offsets": [len(data)] * 2}}, data)
        self.assert_failure(self.logits(), self.file, "extra")
        header[EXPERT]["dtype"] = "I16"
        cemoe.write_safetensors(self.file, header, data)
        self.assert_failure(self.logits(), self.file, EXPERT, "I16")

    def test_index_that_leaves_the_directory(self):
        self.model = self.copy_model(cemoe.ROOT / "tests/golden/sharded_f16")
        index = self.model / "model.safetensors.index.json"
        document = json.loads(index.read_text())
        name, shard = next(iter(document["weight_map"].items()))
        document["weight_map"][name] = f"../{self.model.name}/{shard}"
        index.write_text(json.dumps(document))
        self.assert_failure(self.logits(ids="1,2,3"), index, "../")

    def set_nan(self, name, at=0):
        header, data = cemoe.read_safetensors(self.file)
        at = header[name]["data_offsets"][0] + 2 * at
        cemoe.write_safetensors(self.file, header, data[:at] + NAN_BF16 + data[at + 2:])

    def test_nan_in_an_expert(self):
        """In all experts of a layer, as not every one is chosen; the first token that meets one stops."""
        header, data = cemoe.read_safetensors(self.file)
        image = bytearray(data)
        for name, tensor in header.items():
            if name.startswith("model.layers.2.mlp.experts."):
                at = tensor["data_offsets"][0]
                image[at:at + 2] = NAN_BF16
        cemoe.write_safetensors(self.file, header, bytes(image))
        self.assert_failure(self.logits(), "layer 2", "expert")
        self.assert_failure(self.generate("--prompt", "Question: James"), "layer 2", "expert")
        tables = cemoe.MODEL / "ces-math.safetensors"
        self.assert_failure(self.logits("--compressed-experts", tables), "layer 2", "expert")

    def test_nan_elsewhere(self):
        cases = (("model.layers.3.mlp.gate.weight", ("layer 3", "router")),
                 ("model.layers.1.self_attn.v_proj.weight", ("layer 1", "attention")),
                 ("model.layers.0.input_layernorm.weight", ("layer 0", "attention")),
                 ("model.norm.weight", ("logits",)),
                 ("lm_head.weight", ("logits",)))
        for name, words in cases:
            with self.subTest(name):
                self.model = self.copy_model()
                self.file = self.model / "model.safetensors"
                self.set_nan(name)
                self.assert_failure(self.logits(), *words)

    def test_nan_in_an_embedding_stops_only_those_who_use_it(self):
        self.set_nan("model.embed_tokens.weight", at=60 * 128)
        self.assert_failure(self.logits(), "embedding")
        self.assert_done(cemoe.run(*self.logits(ids="50,61")))

    def test_infinite_table_of_compressed_experts(self):
        header, data = cemoe.read_safetensors(cemoe.MODEL / "ces-math.safetensors")
        tables = self.dir / "tables.safetensors"
        cemoe.write_safetensors(tables, header, struct.pack("<f", float("inf")) * (len(data) // 4))
        self.assert_failure(self.logits("--compressed-experts", tables), tables, "mlp.ces", "not finite")


class Config(BadInput):
    def assert_config_failures(self, *cases):
        """Each case: fields to change, then words of the message."""
        for changes, *words in cases:
            with self.subTest(str(changes)):
                self.model = self.copy_model()
                cemoe.edit_json(self.model / "config.json", **changes)
                self.assert_failure(self.logits(), *words)

    def test_what_is_not_known(self):
        self.assert_config_failures(
            ({"model_type": "qwen2_moe"}, "config.json", "model_type", "qwen2_moe"),
            ({"model_type": None}, "config.json", "model_type"),
            ({"architectures": ["OlmoeForTokenClassification"]}, "config.json", "architectures"),
            ({"hidden_act": "gelu"}, "config.json", "hidden_act", "gelu"),
            ({"torch_dtype": "float8"}, "config.json", "dtype", "float8"),
            ({"quantization_config": {"bits": 4}}, "config.json", "quantization_config"),
            ({"sliding_window": 4}, "config.json", "sliding_window"),
            ({"num_local_experts": 8}, "config.json", "num_local_experts", "num_experts", "16"),
            ({"mystery_gate": 2}, "config.json", "mystery_gate"),
            ({"tie_word_embeddings": True}, "model.safetensors", "lm_head.weight", "tie_word_embeddings"))

    def test_rope_that_is_not_known(self):
        self.assert_config_failures(
            ({"rope_scaling": {"rope_type": "spiral", "factor": 2.0}}, "config.json", "rope", "spiral"))

    def test_numbers_out_of_range(self):
        self.assert_config_failures(
            ({"num_experts_per_tok": 17}, "config.json", "num_experts_per_tok"),
            ({"num_hidden_layers": 0}, "config.json", "num_hidden_layers"),
            ({"hidden_size": "128"}, "config.json", "hidden_size"),
            ({"num_key_value_heads": 3}, "config.json", "num_key_value_heads"),
            ({"n_ce": 4}, "config.json", "n_ce"),
            ({"vocab_size": -1}, "config.json", "vocab_size"),
            ({"rms_norm_eps": 0}, "config.json", "rms_norm_eps"))

    def test_disagreement_with_the_tensors(self):
        self.assert_config_failures(
            ({"intermediate_size": 32}, "model.safetensors", "gate_proj", "[64, 128]", "[32, 128]"),
            ({"vocab_size": 2000}, "model.safetensors", "embed_tokens", "[2048, 128]", "[2000, 128]"),
            ({"num_hidden_layers": 5}, "model.layers.4"),
            ({"num_hidden_layers": 3}, "model.layers.3"),
            ({"num_experts": 32}, "mlp.gate.weight", "[16, 128]", "[32, 128]"),
            ({"num_key_value_heads": 2}, "k_proj"))

    def test_not_json(self):
        (self.model / "config.json").write_text('{"model_type": "olmoe",')
        self.assert_failure(self.logits(), self.model / "config.json", "line 1")
        (self.model / "config.json").write_text('{"model_type": "olmoe", "model_type": "olmoe"}')
        self.assert_failure(self.logits(), self.model / "config.json", "model_type")

    def test_tokenizer_of_another_kind(self):
        (self.model / "tokenizer.json").write_text("[]")
        self.assert_failure(self.generate("--prompt", "a"), self.model / "tokenizer.json")


class CompressedExperts(BadInput):
    def test_n_ce_out_of_range(self):
        for arguments in (["--compressed", 4], ["--compressed", 1000], ["--truncated", 4]):
            with self.subTest(arguments):
                self.assert_failure(self.logits(*arguments), "n_ce", "0 to 3")

    def test_both_kinds_of_leaving_out(self):
        self.assert_failure(self.logits("--compressed", 1, "--truncated", 1), "--compressed", "--truncated", code=2)

    def test_table_of_another_shape(self):
        tables = self.dir / "tables.safetensors"
        name = "model.layers.0.mlp.ces"
        cemoe.write_safetensors(tables, {name: {"dtype": "F32", "shape": [16, 3, 64], "data_offsets": [0, 12288]}},
                                b"\0" * 12288)
        self.assert_failure(self.logits("--compressed-experts", tables, "--compressed", 2), tables, name,
                            "[16, 3, 64]", "[16, 3, 128]")

    def test_file_that_says_nonsense(self):
        header, data = cemoe.read_safetensors(cemoe.MODEL / "ces-math.safetensors")
        tables = self.dir / "tables.safetensors"
        cemoe.write_safetensors(tables, {**header, "__metadata__": {"n_ce": "two"}}, data)
        self.assert_failure(self.logits("--compressed-experts", tables), tables, "n_ce", "two")


class AffineExperts(BadInput):
    def setUp(self):
        super().setUp()
        self.file = self.dir / "affine.safetensors"
        self.header, self.data = cemoe.read_safetensors(cemoe.AFFINE)
        self.part = "model.layers.2.mlp.affine.3."

    def refuse(self, *parts, **changes):
        """With other tensors, or without those of None; the data stay."""
        header = {name: tensor for name, tensor in {**self.header, **changes}.items() if tensor is not None}
        cemoe.write_safetensors(self.file, header, self.data)
        self.assert_failure(self.logits("--compressed-experts", self.file), self.file, *parts)

    def fill(self, value, *names):
        """Every value of such parts is this one, of two bytes."""
        data = bytearray(self.data)
        for name, tensor in self.header.items():
            if name.split(".")[-1] in names:
                begin, end = tensor["data_offsets"]
                data[begin:end] = value * ((end - begin) // 2)
        cemoe.write_safetensors(self.file, self.header, bytes(data))

    def test_missing(self):
        other = {**self.header[self.part + "b"]}
        name = self.part + "b"
        self.refuse(name, "missing", **{name: None, "model.layers.9.mlp.affine.0.b": other})

    def test_superfluous(self):
        end = len(self.data)
        for name in ("model.layers.4.mlp.affine.0.b", "model.layers.0.mlp.affine.16.b", "extra"):
            self.refuse(name, "not part of", **{name: {"dtype": "BF16", "shape": [0], "data_offsets": [end, end]}})

    def test_another_shape(self):
        name = self.part + "b"
        self.refuse(name, "[2, 64]", "[128]", **{name: {**self.header[name], "shape": [2, 64]}})

    def test_another_type(self):
        name = self.part + "b"
        self.refuse(name, "I16", **{name: {**self.header[name], "dtype": "I16"}})

    def test_both_kinds(self):
        end = len(self.data)
        name = "model.layers.0.mlp.ces"
        self.refuse(name, "scaling", "affine", **{name: {"dtype": "F32", "shape": [0], "data_offsets": [end, end]}})

    def test_metadata(self):
        metadata = self.header["__metadata__"]
        for key, value, *words in (("model", "0" * 16, "0" * 16, metadata["model"]), ("model", "x", "16"),
                                   ("n_ce", "4", "1 to 3"), ("kind", "scaling", "affine"), ("version", "1", "routers alone"),
                                   ("version", "3", "\"2\"")):
            said = () if value == "1" else (key, value)
            self.refuse(*said, *words, __metadata__={**metadata, key: value})

    def test_another_model(self):
        """Also where a packed or a random one has the same shapes; what does not say its model is taken for this one."""
        line = ["bench", "step", "--model", self.model, "--dummy-weights", 1, "--prompt-tokens", 4, "--decode-steps", 1,
                "--repeat", 1, "--read-bytes", 0, "--compressed-experts"]
        done = cemoe.run(*line, cemoe.AFFINE)
        self.assertEqual(done.code, 1)
        self.assertIn(self.header["__metadata__"]["model"], done.err)
        cemoe.write_safetensors(self.file, {**self.header, "__metadata__": {"n_ce": "3"}}, self.data)
        self.assertIn("1 of 4 experts in full, 3 compressed", self.assert_done(cemoe.run(*line, self.file)).out)

    def test_values_that_are_not_finite(self):
        for part in ("b", "u", "gate"):
            self.fill(NAN_BF16, part)
            self.assert_failure(self.logits("--compressed-experts", self.file), self.file, f".{part}", "not finite")

    def test_results_that_are_not_finite(self):
        """Finite ones, whose products are not."""
        self.fill(b"\x00\x7f", "u", "v", "gate", "up", "down")
        self.assert_failure(self.logits("--compressed-experts", self.file), "layer 0", "compressed experts", "expert ")

    def test_another_number_is_said(self):
        done = cemoe.run(*self.logits("--compressed-experts", cemoe.AFFINE, "--compressed", 1))
        self.assertEqual((done.code, "fitted for 2 of a token's experts, but 1" in done.err), (0, True))


class Requests(BadInput):
    def test_prompt_longer_than_the_context(self):
        prompt = self.write("prompt", "experts " * 1000)
        self.assert_failure(self.generate("--prompt-file", prompt), "1024", "max_position_embeddings")
        self.assert_failure(self.logits(ids=",".join(["50"] * 1025)), "1025", "1024", "max_position_embeddings")

    def test_window_longer_than_the_context(self):
        text = self.write("text", "a b c " * 100)
        self.assert_failure(self.score("--file", text, "--window", 1025), "1025", "1024")

    def test_text_that_is_not_utf8(self):
        broken = self.write("broken", b"Question: \xff\xfe")
        self.assert_failure(self.generate("--prompt-file", broken), broken, "UTF-8", "byte 10")
        self.assert_failure(self.score("--file", broken), broken, "UTF-8", "byte 10")
        self.assert_failure(self.generate("--prompt-file", "-"), "UTF-8", "byte 0", stdin=b"\xc3(")

    def test_nothing_to_do(self):
        empty = self.write("empty", b"")
        self.assert_failure(self.score("--file", empty), empty)
        self.assert_failure(self.generate("--prompt-lines", empty), empty, "no prompts")
        self.assert_failure(self.generate("--prompt-file", empty), "empty")
        self.assert_failure(self.logits(ids="50,2048"), "2048", "vocabulary")
        self.assert_failure(self.logits(ids="50,x"), "--ids", "x", code=2)

    def test_more_tokens_than_the_context_end_at_it(self):
        done = cemoe.run("generate", "--model", self.model, "--prompt", " =", "--max-tokens", 16000000, "--ignore-eos",
                         "--json", "--quiet", CEMOE_MEMORY_LIMIT=str(1 << 30))
        self.assertEqual(done.code, 0, done.err)
        result = json.loads(done.raw)["results"][0]
        self.assertEqual((len(result["ids"]), result["finish_reason"]), (1023, "length"))

    def test_not_enough_memory(self):
        self.assert_failure(self.logits(), "memory", CEMOE_MEMORY_LIMIT="1000000")

    def test_results_that_cannot_be_written(self):
        nowhere = self.dir / "no" / "where"
        self.assert_failure(["logits", "--model", self.model, "--ids", "50", "--out", nowhere], nowhere)


if __name__ == "__main__":
    cemoe.main()
