#!/usr/bin/env python3
"""`cemoe bench`: what it counts and prints, never a time."""

import os
import pathlib

import cemoe

LAYERS, HIDDEN, INTERMEDIATE, EXPERTS, TOP_K, VOCABULARY = 4, 128, 64, 16, 4, 2048  # of deploy/model
STAGES = {"embed", "attention", "router", "plan", "dispatch", "affine", "experts", "combine", "logits", "agree"}
EXPERT = 3 * HIDDEN * INTERMEDIATE
ATTENTION_AND_ROUTER = LAYERS * (4 * HIDDEN * HIDDEN + EXPERTS * HIDDEN)
NORMS = LAYERS * 4 * HIDDEN + HIDDEN  # in F32


def step(test, *options, ranks=1, **extra):
    done = cemoe.run("bench", "step", "--model", cemoe.MODEL, "--dummy-weights", 1, "--repeat", 1, *options, ranks=ranks,
                     **extra)
    return test.assert_done(done)


class Step(cemoe.TestCase):
    def counts(self, phase, tokens, steps, logits, attended, mains=TOP_K):
        """Bytes and FLOP by the formulas of the help, but for the experts, which depend on the routing."""
        experts = phase["experts_per_layer"] * LAYERS * steps
        self.assertEqual(phase["tokens"], tokens)
        weights = steps * ATTENTION_AND_ROUTER + logits * VOCABULARY * HIDDEN + experts * EXPERT
        self.assertAlmostEqual(phase["bytes_per_token"] * tokens, 2 * weights + 4 * steps * NORMS, delta=1)
        products = tokens * (ATTENTION_AND_ROUTER + LAYERS * mains * EXPERT) + logits * tokens // steps * VOCABULARY * HIDDEN
        self.assertAlmostEqual(phase["flops_per_token"] * tokens, 2 * products + 4 * HIDDEN * LAYERS * attended, delta=1)

    def test_one_sequence(self):
        """A token touches its own experts; a prompt of 10 attends 55 times."""
        result = step(self, "--prompt-tokens", 10, "--decode-steps", 3, "--read-bytes", 0, "--json").json()
        (batch,) = result["batches"]
        decode, prompt = batch["decode"], batch["prompt"]
        self.assertEqual(decode["experts_per_layer"], TOP_K)
        self.counts(decode, tokens=3, steps=3, logits=3, attended=11 + 12 + 13)
        self.assertTrue(TOP_K < prompt["experts_per_layer"] <= EXPERTS)
        self.assertAlmostEqual(prompt["flops_per_token"] * 10,
                               2 * (10 * (ATTENTION_AND_ROUTER + LAYERS * TOP_K * EXPERT) + VOCABULARY * HIDDEN) +
                               4 * HIDDEN * LAYERS * 55, delta=1)
        weights = ATTENTION_AND_ROUTER + LAYERS * EXPERTS * EXPERT + 2 * VOCABULARY * HIDDEN
        self.assertEqual(result["load"]["weight_bytes"], 2 * weights + 4 * (NORMS + LAYERS * EXPERTS * 3 * HIDDEN))
        self.assertGreater(result["load"]["seconds"], 0)
        self.assertIsNone(result["limits"])
        self.assertNotIn("of_read", decode)
        self.assertEqual(set(decode["stage_seconds"]), STAGES)

    def test_compressed_experts_are_not_read(self):
        result = step(self, "--prompt-tokens", 2, "--decode-steps", 2, "--read-bytes", 0, "--compressed", 3, "--json").json()
        decode = result["batches"][0]["decode"]
        self.assertEqual((result["main_experts"], result["compressed"]), (1, 3))
        self.assertEqual(decode["experts_per_layer"], 1)
        self.counts(decode, tokens=2, steps=2, logits=2, attended=3 + 4, mains=1)

    def test_quantised_weights_are_smaller(self):
        """8.5 bits where they are quantised; the router stays as it is."""
        options = ("--prompt-tokens", 2, "--decode-steps", 1, "--read-bytes", 0, "--json")
        stored, packed = (step(self, *options, *more).json()["batches"][0]["decode"]
                          for more in ((), ("--weights", "q8", "--dense-weights", "q8")))
        weights = LAYERS * (4 * HIDDEN * HIDDEN + TOP_K * EXPERT) + VOCABULARY * HIDDEN
        self.assertEqual(stored["bytes_per_token"] - packed["bytes_per_token"], weights * (16 - 8.5) / 8)

    def test_batches_and_limits(self):
        result = step(self, "--prompt-tokens", 6, "--decode-steps", 2, "--read-bytes", "2M", "--batch", 1, 5, 2,
                      "--json").json()
        self.assertEqual([batch["batch"] for batch in result["batches"]], [1, 5, 2])
        for batch in result["batches"]:
            self.assertEqual(batch["prompt"]["tokens"], 6 * batch["batch"])
            self.assertEqual(batch["decode"]["tokens"], 2 * batch["batch"])
        limits = result["limits"]
        self.assertEqual((limits["read_bytes"], limits["samples"]), (2 << 20, 6))
        decode = result["batches"][1]["decode"]
        self.assertAlmostEqual(decode["of_read"],
                               decode["bytes_per_second"] / limits["read_bytes_per_second"]["max"])
        self.assertAlmostEqual(decode["of_sgemm"],
                               decode["flops_per_second"] / limits["sgemm_flops_per_second"]["max"])
        self.assertEqual(decode["of_limit"], max(decode["of_read"], decode["of_sgemm"]))

    def test_openblas_is_at_its_best(self):
        """Unless somebody chose otherwise, it does not compute for a processor without AVX."""
        options = ("--prompt-tokens", 1, "--decode-steps", 1, "--read-bytes", "1M", "--json")
        chosen = step(self, *options, OPENBLAS_CORETYPE="Prescott").json()["limits"]["sgemm_core"]
        self.assertEqual(chosen, "Prescott")
        if "OPENBLAS_CORETYPE" not in os.environ and " avx2 " in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8"):
            self.assertNotEqual(step(self, *options).json()["limits"]["sgemm_core"], "Prescott")

    def test_ranks_count_together(self):
        """The experts of all ranks are those of one; a rank without a token reads no dense weights."""
        options = ("--prompt-tokens", 6, "--decode-steps", 2, "--read-bytes", 0, "--overlap", "off", "--json")
        (one,), (two,) = (step(self, *options, ranks=ranks).json()["batches"] for ranks in (1, 2))
        for phase in ("prompt", "decode"):
            for count in ("tokens", "experts_per_layer", "flops_per_token", "bytes_per_token"):
                self.assertEqual(one[phase][count], two[phase][count], (phase, count))

    def test_ranks_that_split_read_all_once(self):
        """Each its slices, together the model; with a sequence on each, router and norms twice."""
        options = ("--prompt-tokens", 6, "--decode-steps", 2, "--read-bytes", 0, "--json", "--batch", 1, 2)
        split = ("--expert-split", "node", "--dense-weights", "q8")
        one, two = (step(self, *options, *split, ranks=ranks).json()["batches"] for ranks in (1, 2))
        for phase in ("prompt", "decode"):
            for count in ("tokens", "experts_per_layer", "flops_per_token", "bytes_per_token"):
                self.assertEqual(one[0][phase][count], two[0][phase][count], (phase, count))
        routers_and_norms = LAYERS * EXPERTS * HIDDEN * 2 + NORMS * 4
        dense = [(decode["bytes_per_token"] - decode["experts_per_layer"] / 2 * LAYERS * EXPERT * 2) * 2
                 for decode in (batches[1]["decode"] for batches in (one, two))]  # in a step of two tokens
        self.assertEqual(dense[1] - dense[0], routers_and_norms)

    def test_table(self):
        done = step(self, "--prompt-tokens", 4, "--decode-steps", 1, "--read-bytes", "1M", "--batch", 1, 2)
        for line in (r"\nprompt +1 .* tokens/s .* MB .* GFLOP per token .* GB/s .*% .* GFLOP/s", r"\ndecode +2 ", r"\nread ",
                     r"\nsgemm ", r"\ndecode +1 .*  experts [\d.]+%"):
            self.assertRegex(done.out, line)

    def test_batch_wants_numbers(self):
        for batch in (["x"], ["0"], ["1", "4097"], ["-1"], ["1"] * 17):
            done = cemoe.run("bench", "step", "--model", cemoe.MODEL, "--batch", *batch)
            self.assertEqual(done.code, 2, done.err)
            self.assertIn("--batch", done.err)


def schedule(test, *options, ranks=1):
    return test.assert_done(cemoe.run("bench", "schedule", "--model", cemoe.MODEL, "--items", 40, *options, ranks=ranks))


class Schedule(cemoe.TestCase):
    def test_counts(self):
        """A list is the same on any ranks and in any steps: what is fed and what is found add up to it."""
        alone = schedule(self, "--step-tokens", 100, "--json").json()
        items = alone["items"]
        self.assertEqual((items, alone["seed"], alone["ranks"]), (40, 1, 1))
        self.assertEqual(alone["requests"], 28 * 4 + 8 + 4)
        for result in (alone, schedule(self, "--step-tokens", 33, "--max-sequences", 5, "--json").json(),
                       schedule(self, "--step-tokens", 64, "--json", ranks=3).json()):
            steps, cache = result["list"], result["cache"]
            self.assertEqual(steps["tokens"] + cache["reused_tokens"],
                             alone["list"]["tokens"] + alone["cache"]["reused_tokens"])
            self.assertGreater(cache["reused_tokens"], 0)
            for key in ("logits", "decode_tokens"):
                self.assertEqual(steps[key], alone["list"][key])
            self.assertEqual(steps["decode_tokens"], 4 * 31)  # of 32 new tokens the last is not fed
            room = steps["steps"] * result["step_tokens"] * result["ranks"]
            self.assertAlmostEqual(result["occupancy"], steps["tokens"] / room)
            self.assertEqual(cache["pages"], 1024 // 16 * result["ranks"])  # the least
            self.assertTrue(0 < cache["mean_used"] <= cache["most_used"] <= cache["pages"])

    def test_plain_steps_are_as_large(self):
        result = schedule(self, "--step-tokens", 64, "--json").json()
        steps, plain = result["list"], result["plain"]
        self.assertEqual(plain["steps"], steps["steps"] // 4)
        self.assertTrue(0 < plain["decode_tokens"] < plain["logits"] < plain["tokens"])
        self.assertLessEqual(plain["tokens"], result["step_tokens"] * plain["steps"])

    def test_table_and_seed(self):
        done = schedule(self)
        for line in (r"\nlist  +\d+ tokens in +\d+ steps .* tokens/s; a step ", r"\nplain +\d+ tokens in ",
                     r"\nefficiency [\d.]+%  occupancy [\d.]+%  \d+ tokens found in the cache"):
            self.assertRegex(done.out, line)
        first, second = (schedule(self, "--seed", seed, "--json").json() for seed in (1, 2))
        self.assertNotEqual(first["list"]["logits"], second["list"]["logits"])


def kernels(test, *options):
    """With little memory, which makes no difference to what is counted."""
    return test.assert_done(cemoe.run("bench", "kernels", "--model", cemoe.MODEL, "--repeat", 1, "--sample-ms", 0,
                                      "--cold-bytes", "4M", *options))


class Kernels(cemoe.TestCase):
    SHAPES = [("expert in", INTERMEDIATE, HIDDEN), ("expert out", HIDDEN, INTERMEDIATE),
              ("attention q, o", HIDDEN, HIDDEN), ("router", EXPERTS, HIDDEN), ("logits", VOCABULARY, HIDDEN)]
    BITS = {"f32": 32, "bf16": 16, "f16": 16, "q8": 8.5, "q4": 4.5, "openblas": 32}

    def test_every_shape_in_every_format(self):
        result = kernels(self, "--rows", 1, 7, "--positions", 20, "--read-bytes", 0, "--json").json()
        products = [one for one in result["results"] if one["name"] != "attention"]
        self.assertEqual([(one["name"], one["outputs"], one["inputs"], one["rows"], one["format"]) for one in products],
                         [(*shape, rows, format) for shape in self.SHAPES for rows in (1, 7) for format in self.BITS])
        for one in products:
            values = one["outputs"] * one["inputs"]
            self.assertEqual(one["bytes"], self.BITS[one["format"]] * values / 8)
            self.assertEqual(one["flops"], 2 * one["rows"] * values)
            self.assertGreater(one["seconds"]["min"], 0)
            self.assertNotIn("of_read", one)
        self.assertIsNone(result["limits"])

    def test_attention(self):
        """Whole pages of 16 positions are read; a query attends its own position and all before it."""
        result = kernels(self, "--rows", 1, "--positions", 20, 100, "--read-bytes", 0, "--json").json()
        attention = [one for one in result["results"] if one["name"] == "attention"]
        self.assertEqual([(one["outputs"], one["rows"], one["format"]) for one in attention],
                         [(positions, min(queries, positions), format) for positions in (20, 100) for queries in (1, 64)
                          for format in ("f32", "bf16")])
        for one in attention:
            pages, before = -(-one["outputs"] // 16), one["outputs"] - one["rows"]
            attended = sum(before + i + 1 for i in range(one["rows"]))
            self.assertEqual(one["bytes"], 2 * 16 * pages * HIDDEN * (4 if one["format"] == "f32" else 2))
            self.assertEqual(one["flops"], 4 * attended * HIDDEN)

    def test_attention_of_fewer_positions_than_queries(self):
        result = kernels(self, "--rows", 1, "--positions", 1, "--read-bytes", 0, "--json").json()
        self.assertEqual([one["rows"] for one in result["results"] if one["name"] == "attention"], [1] * 4)

    def test_table_with_limits(self):
        done = kernels(self, "--rows", 2, "--positions", 16, "--read-bytes", "1M")
        for line in (r"\nlogits +2048 x 128 +2 +bf16 .*%.*%\n", r"\nattention +16 x 128 +16  bf16 .*%\n", r"\nread ", r"\nsgemm "):
            self.assertRegex(done.out, line)

    def test_wrong_values(self):
        for options in (["--rows", "0"], ["--rows", "5000"], ["--positions", "many"]):
            done = cemoe.run("bench", "kernels", "--model", cemoe.MODEL, *options)
            self.assertEqual(done.code, 2, done.err)
            self.assertIn(options[0], done.err)
        done = cemoe.run("bench", "kernels", "--model", self.dir)
        self.assertEqual(done.code, 1)
        self.assertIn("config.json", done.err)


if __name__ == "__main__":
    cemoe.main()
