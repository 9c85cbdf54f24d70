#!/usr/bin/env python3
"""Results are the same bytes on any number of ranks, however the work is cut; shards are as planned."""

import json

import cemoe

RANK_COUNTS = (1, 3) if cemoe.QUICK else (1, 3, 5)
PROMPTS = [prompt["text"] for prompt in json.loads((cemoe.MODEL / "prompts.json").read_text())]
TABLES = cemoe.MODEL / "ces-math.safetensors"
COMPRESSED = ["--compressed-experts", TABLES]
AFFINE = ["--compressed-experts", cemoe.AFFINE]
SAMPLED = ["--temperature", 0.8, "--top-p", 0.95, "--seed", 7]

LAYERS, EXPERTS = 4, 16
EXPERT_BYTES = 3 * 128 * 64 * 2


class SameBytes(cemoe.TestCase):
    def check(self, command, *arguments):
        """As is on one rank, then cut into steps of 7 tokens on all counts of ranks."""
        line = [command, "--model", cemoe.MODEL, *arguments, "--json", "--quiet"]
        wanted = self.assert_done(cemoe.run(*line))
        for ranks in RANK_COUNTS:
            with self.subTest(ranks):
                done = self.assert_done(cemoe.run(*line, "--step-tokens", 7, ranks=ranks))
                self.assertEqual(done.raw, wanted.raw)
        return wanted.json()

    def test_generate(self):
        document = self.check("generate", "--max-tokens", 12, "--prompt", *PROMPTS)
        self.assertEqual([result["prompt"] for result in document["results"]], PROMPTS)
        for result in document["results"]:
            self.assertIn(result["finish_reason"], ("length", "stop"))
            self.assertLessEqual(len(result["ids"]), 12)
            self.assertGreater(len(result["text"]), 0)

    def test_generate_compressed_and_sampled(self):
        self.check("generate", "--max-tokens", 12, *SAMPLED, *COMPRESSED, "--prompt", *PROMPTS)

    def text(self):
        return self.write("text", (cemoe.MODEL / "eval/math.txt").read_bytes()[:1500])

    def test_score(self):
        document = self.check("score", "--file", self.text(), "--window", 50, "--per-token")
        self.assertEqual(document["compressed"], 0)
        self.assertEqual(len([p for p in document["logprobs"] if p is not None]), document["scored"])

    def test_split_experts(self):
        """In steps as large as may be: of several tiles, whose h takes turns in memory."""
        for compressed in (COMPRESSED, AFFINE):
            self.check_split(*compressed)

    def check_split(self, *compressed):
        line = ["score", "--model", cemoe.MODEL, "--file", self.text(), "--window", 50, "--json", *compressed]
        wanted = self.assert_done(cemoe.run(*line, "--quiet"))
        traffic = self.dir / "traffic"
        for ranks in RANK_COUNTS:
            with self.subTest(ranks):
                done = self.assert_done(cemoe.run(*line, "--expert-split", "node", "--traffic", traffic, ranks=ranks))
                self.assertEqual(done.raw, wanted.raw)
                self.assertEqual("none sent" in done.err, ranks > 1)
                summary = json.loads(traffic.read_text())["summary"]
                self.assertEqual([summary[name]["bytes"] for name in ("run", "uncompressed_per_rank")], [0, 0])

    @cemoe.not_quick
    def test_split_tied_embeddings(self):
        """Sizes that no panel divides; the output matrix is the embedding."""
        model = cemoe.ROOT / "tests/golden/tied_bf16"
        images = []
        for ranks, split in ((1, "none"), (2, "node"), (5, "node"), (9, "node")):
            out = self.dir / f"logits-{ranks}"
            self.assert_done(cemoe.run("logits", "--model", model, "--ids", "5,112,0,7", "--out", out, "--dense-weights", "q8",
                                       "--expert-split", split, ranks=ranks))
            images.append(out.read_bytes())
        self.assertEqual(len(set(images)), 1)

    def test_split_experts_refuse_what_they_cannot(self):
        for option, value in (("--placement", "strided"), ("--combine", "partial")):
            done = cemoe.run("score", "--model", cemoe.MODEL, "--file", self.text(), "--expert-split", "node", option, value, ranks=2)
            self.assertEqual(done.code, 1)
            self.assertIn("--expert-split node", done.err)

    @cemoe.not_quick
    def test_quantised_weights(self):
        for experts, dense in (("q8", "q4"), ("q4", "q8")):
            self.check("score", "--file", self.text(), "--window", 50, "--weights", experts, "--dense-weights", dense,
                       *COMPRESSED)

    @cemoe.not_quick
    def test_rounded_cache(self):
        document = self.check("score", "--file", self.text(), "--window", 50, "--kv", "bf16")
        self.assertEqual(document["kv"], "bf16")

    @cemoe.not_quick
    def test_score_compressed(self):
        document = self.check("score", "--file", self.text(), "--window", 50, *COMPRESSED)
        self.assertEqual(document["compressed"], 2)

    @cemoe.not_quick
    def test_affine(self):
        """Also where the wire rounds rows: not the ones these experts see."""
        document = self.check("score", "--file", self.text(), "--window", 50, *AFFINE)
        self.assertEqual(document["compressed"], 2)
        self.check("generate", "--max-tokens", 12, *SAMPLED, *AFFINE, "--wire", "int8", "--prompt", *PROMPTS)

    @cemoe.not_quick
    def test_affine_threads(self):
        line = ["score", "--model", cemoe.MODEL, "--file", self.text(), "--window", 50, "--per-token", "--json", "--quiet", *AFFINE]
        wanted = self.assert_done(cemoe.run(*line)).raw
        for ranks, threads in ((1, 2), (2, 2), (1, 3)):
            done = self.assert_done(cemoe.run(*line, ranks=ranks, OMP_NUM_THREADS=str(threads)))
            self.assertEqual(done.raw, wanted)

    def test_logits(self):
        """The file too, on a count of ranks that leaves some without experts."""
        images = []
        for ranks in (1, 2) if cemoe.QUICK else (1, 2, 18):
            out = self.dir / f"logits-{ranks}"
            self.assert_done(cemoe.run("logits", "--model", cemoe.MODEL, "--ids", "418,27,1963", "--out", out,
                                       *COMPRESSED, ranks=ranks))
            images.append(out.read_bytes())
        self.assertEqual(len(set(images)), 1)


class Transport(cemoe.TestCase):
    """Which one is taken, and the line that says why."""

    def choice(self, ranks, *arguments, **extra):
        done = cemoe.run("generate", "--model", cemoe.MODEL, "--max-tokens", 1, "--prompt", "a", *arguments,
                         ranks=ranks, **extra)
        found = [line for line in done.ours if "; transport " in line]
        return done.code, found[0].split("; transport ")[1].split(", kernels")[0] if found else done.ours

    def test_auto(self):
        self.assertEqual(self.choice(1), (0, "self (no launcher started this process)"))
        self.assertEqual(self.choice(2), (0, "ucx (started as a job of MPI)"))
        code, choice = self.choice(2, UCX_TLS="none_such")
        self.assertEqual(code, 0)
        self.assertRegex(choice, r"^mpi \(ucx does not work here: rank \d: ucp_init: ")

    def test_asked_for(self):
        self.assertEqual(self.choice(2, "--transport", "mpi"), (0, "mpi (asked for)"))
        code, said = self.choice(2, "--transport", "ucx", UCX_TLS="none_such")
        self.assertEqual(code, 1)
        self.assertIn("ucp_init", said[0])


class Stats(cemoe.TestCase):
    def stats(self, ranks, *arguments):
        file = self.dir / f"stats-{ranks}.json"
        self.assert_done(cemoe.run("generate", "--model", cemoe.MODEL, "--max-tokens", 3, "--prompt", *PROMPTS[:3],
                                   "--stats", file, *arguments, ranks=ranks))
        return json.loads(file.read_text())

    def test_each_rank_holds_its_shard_and_no_more(self):
        for ranks in (3,) if cemoe.QUICK else (3, 5):
            document = self.stats(ranks)
            self.assertEqual([rank["rank"] for rank in document["ranks"]], list(range(ranks)))
            for r, rank in enumerate(document["ranks"]):
                shard = (r + 1) * EXPERTS // ranks - r * EXPERTS // ranks
                self.assertEqual(rank["expert_bytes"], shard * LAYERS * EXPERT_BYTES)
                self.assertEqual(rank["compressed_bytes"], 0)
            inspected = self.assert_done(cemoe.run("inspect", "--model", cemoe.MODEL, "--ranks", ranks, "--json")).json()
            held = [rank["expert_bytes"] for rank in document["ranks"]]
            self.assertEqual((min(held), max(held)), (inspected["memory"]["expert_bytes_min"],
                                                      inspected["memory"]["expert_bytes_max"]))
            self.assertEqual({rank["dense_bytes"] for rank in document["ranks"]}, {inspected["memory"]["dense_bytes"]})

    def test_split_matrices_are_held_once(self):
        """Of the dense bytes only embedding, routers and norms are on every rank."""
        alone = self.stats(1)["ranks"][0]
        rest = 2048 * 128 * 2 + LAYERS * EXPERTS * 128 * 2 + (LAYERS * 4 + 1) * 128 * 4
        ranks = self.stats(3, "--expert-split", "node")["ranks"]
        self.assertEqual(sum(rank["dense_bytes"] - rest for rank in ranks), alone["dense_bytes"] - rest)
        self.assertEqual(sum(rank["expert_bytes"] for rank in ranks), alone["expert_bytes"])

    def test_every_rank_holds_all_tables(self):
        for rank in self.stats(3, *COMPRESSED)["ranks"]:
            self.assertEqual(rank["compressed_bytes"], LAYERS * EXPERTS * 3 * 128 * 4)

    def test_every_rank_holds_all_affine_experts(self):
        header, data = cemoe.read_safetensors(cemoe.AFFINE)
        for rank in self.stats(3, *AFFINE)["ranks"]:
            self.assertEqual(rank["compressed_bytes"], len(data))
            self.assertGreater(rank["stage_seconds"]["affine"], 0)

    def test_a_rounded_cache_takes_half(self):
        (whole,), (rounded,) = (self.stats(1, *arguments)["ranks"] for arguments in ([], ["--kv", "bf16"]))
        self.assertAlmostEqual(rounded["cache_bytes"] / whole["cache_bytes"], 0.5, delta=0.01)

    def test_compression_moves_less(self):
        full, compressed = (self.stats(4, *arguments) for arguments in ([], COMPRESSED))
        for document, mains in ((full, 4), (compressed, 2)):
            for rank in document["ranks"]:
                moe = rank["moe"]
                self.assertLessEqual(moe["results_received"], mains * moe["token_layers"])
                self.assertEqual(moe["payload_bytes"], (moe["rows_sent"] + moe["results_received"]) * 128 * 4)
        moved = [sum(rank["moe"]["payload_bytes"] for rank in document["ranks"]) for document in (full, compressed)]
        self.assertLess(moved[1], 0.75 * moved[0])

    def test_one_rank_moves_nothing(self):
        (rank,) = self.stats(1)["ranks"]
        self.assertEqual((rank["moe"]["rows_sent"], rank["moe"]["payload_bytes"]), (0, 0))


if __name__ == "__main__":
    cemoe.main()
