#!/usr/bin/env python3
"""cemoe calibrate: the same file on any ranks, threads and memory, resumed after a kill; what it is worth; bad input."""

import json
import math
import shutil
import struct
import unittest

import cemoe

TEXT = cemoe.MODEL / "eval/math.txt"
RANK_COUNTS = () if shutil.which("mpirun") is None else (3,) if cemoe.QUICK else (2, 3)
BUDGET = ("--tokens", "4k", "--window", "128", "--heldout-every", "4")
QUICK_BUDGET = ("--tokens", "1k", "--window", "128", "--heldout-every", "4")
LAYERS = 4
EXPERTS = 16
HIDDEN = 128
INTERMEDIATE = 64


class Values:
    """Tensors of a file as lists of rows."""

    def __init__(self, path):
        self.header, self.data = cemoe.read_safetensors(path)
        self.known = {}

    def rows(self, name):
        if name not in self.known:
            self.known[name] = self.read(name) if name in self.header else []
        return self.known[name]

    def read(self, name):
        entry = self.header[name]
        begin, end = entry["data_offsets"]
        data = self.data[begin:end]
        if entry["dtype"] == "BF16":
            data = b"".join(b"\0\0" + data[at:at + 2] for at in range(0, len(data), 2))
        values = struct.unpack(f"<{len(data) // 4}f", data)
        width = entry["shape"][1] if len(entry["shape"]) > 1 else 1
        return [values[at:at + width] for at in range(0, len(values), width)]

    def run(self, name, x):
        """U V x + down (silu(gate x) * (up x)) + b."""
        def product(part):
            return [sum(w * v for w, v in zip(row, x)) for row in self.rows(name + part)]
        factors = product("v")
        outputs = [row[0] for row in self.rows(name + "b")]
        for part, values in (("u", factors), ("down", [g / (1 + math.exp(-g)) * u
                                                      for g, u in zip(product("gate"), product("up"))])):
            for j, row in enumerate(self.rows(name + part)):
                outputs[j] += sum(w * v for w, v in zip(row, values))
        return outputs


class CalibrateCase(cemoe.TestCase):
    def calibrate(self, *options, out="out.safetensors", data=TEXT, ranks=1, code=0, **extra):
        budget = QUICK_BUDGET if cemoe.QUICK else BUDGET
        done = cemoe.run("calibrate", "--model", cemoe.MODEL, "--data", data, *budget, "--compressed", 2,
                         "--out", self.dir / out, "--quiet", *options, ranks=ranks, **extra)
        if code is not None:
            self.assertEqual(done.code, code, done.err)
        return done

    def bytes_of(self, *options, out="out.safetensors", **extra):
        self.calibrate(*options, out=out, **extra)
        return (self.dir / out).read_bytes()

    def assert_near(self, found, wanted, relative):
        """Numbers of two lists, each within this share of its own."""
        self.assertEqual(len(found), len(wanted))
        for one, other in zip(found, wanted):
            self.assertTrue(math.isclose(one, other, rel_tol=relative), f"{one} is not {other} within {relative}")


class SameBytes(CalibrateCase):
    def test_ranks_threads_and_passes(self):
        wanted = self.bytes_of("--rank", 4)
        for ranks in RANK_COUNTS:
            with self.subTest(ranks=ranks):
                self.assertEqual(self.bytes_of("--rank", 4, ranks=ranks), wanted)
        self.assertEqual(self.bytes_of("--rank", 4, OMP_NUM_THREADS="2"), wanted)
        self.assertEqual(self.bytes_of("--rank", 4, "--step-tokens", 128, "--placement", "strided"), wanted)
        plan = json.loads(self.calibrate("--rank", 4, "--plan", "--json").out)
        memory = plan["memory"]
        self.assertEqual(plan["passes"], 1)
        less = memory["total_bytes"] - memory["moment_bytes"] // 2
        self.assertGreater(json.loads(self.calibrate("--rank", 4, "--plan", "--json", "--memory", less).out)["passes"], 1)
        self.assertEqual(self.bytes_of("--rank", 4, "--memory", less), wanted)

    def test_kept_parts_give_other_ranks(self):
        """A file of less rank from the parts of a run is that of a run of its own."""
        parts = self.dir / "parts"
        self.calibrate("--rank", 8, "--parts", parts, "--keep-parts")
        files = sorted(path.name for path in parts.iterdir())
        self.assertEqual(files, ["job"] + [f"layer-{layer}.part" for layer in range(LAYERS)])
        again = self.bytes_of("--rank", 2, "--most-rank", 8, "--parts", parts)
        self.assertFalse(parts.exists())
        self.assertEqual(again, self.bytes_of("--rank", 2, "--most-rank", 8))


    def test_neurons(self):
        options = ("--budget", "4%", "--neurons", 16)
        wanted = self.bytes_of(*options)
        for ranks in RANK_COUNTS:
            with self.subTest(ranks=ranks):
                self.assertEqual(self.bytes_of(*options, ranks=ranks), wanted)
        self.assertEqual(self.bytes_of(*options, OMP_NUM_THREADS="2"), wanted)
        memory = json.loads(self.calibrate(*options, "--plan", "--json").out)["memory"]
        less = memory["total_bytes"] - memory["moment_bytes"] // 2
        self.assertEqual(self.bytes_of(*options, "--memory", less), wanted)

    def test_no_neurons(self):
        self.assertEqual(self.bytes_of("--rank", 4, "--neurons", 0), self.bytes_of("--rank", 4))


class Resume(CalibrateCase):
    def steps(self, ranks):
        """Of a layer: a rank takes four windows of 128 tokens a step, of one set."""
        windows = (1024 if cemoe.QUICK else 4096) // 128
        return sum(math.ceil(math.ceil(count / 4) / ranks) for count in (windows * 3 // 4, windows // 4))

    def check_kill(self, ranks):
        wanted = self.bytes_of("--rank", 4, out="whole", ranks=ranks)
        first = 2 * self.steps(ranks) + 1
        done = self.calibrate("--rank", 4, out="killed", ranks=ranks, code=None,
                              CEMOE_TEST_FAULT=f"kill:{ranks - 1}:{first}:2:dispatch")
        self.assertNotEqual(done.code, 0)
        self.assertFalse((self.dir / "killed").exists())
        parts = self.dir / "killed.parts"
        self.assertEqual({path.name for path in parts.iterdir()}, {"job", "layer-0.part", "layer-1.part"})
        times = {path.name: path.stat().st_mtime_ns for path in parts.iterdir()}
        kept = self.bytes_of("--rank", 4, "--keep-parts", out="killed", ranks=ranks)
        self.assertEqual(kept, wanted)
        for name, time in times.items():
            self.assertEqual((parts / name).stat().st_mtime_ns, time)

    def test_alone(self):
        self.check_kill(1)

    @unittest.skipUnless(RANK_COUNTS, "no mpirun")
    def test_ranks(self):
        self.check_kill(2)

    @unittest.skipUnless(RANK_COUNTS, "no mpirun")
    def test_rank_that_fails_ends_all(self):
        last = 2 * self.steps(2)
        done = self.calibrate("--rank", 4, ranks=2, code=1, CEMOE_TEST_FAULT=f"fail:1:{last}:1:fit")
        self.assertEqual(len(done.ours), 1, done.err)
        self.assertIn(f"rank 1: step {last}, layer 1, stage fit", done.ours[0])
        self.assertFalse((self.dir / "out.safetensors").exists())

    @unittest.skipUnless(RANK_COUNTS, "no mpirun")
    def test_rank_that_is_stopped_is_named_after_one_deadline(self):
        done = self.calibrate("--rank", 4, "--deadline-ms", 1500, ranks=2, code=1, CEMOE_TEST_FAULT="stop:1:2:0:dispatch")
        self.assertEqual(len(done.ours), 1, done.err)
        self.assertRegex(done.ours[0], r"stage fit: on .+: no sign after 1500 ms from rank 1 \(process \d+ is stopped\)")

    def test_damaged_part_is_done_again(self):
        wanted = self.bytes_of("--rank", 4, "--keep-parts")
        part = self.dir / "out.safetensors.parts/layer-1.part"
        image = bytearray(part.read_bytes())
        image[len(image) // 2] ^= 1
        part.write_bytes(image)
        self.assertEqual(self.bytes_of("--rank", 4, "--keep-parts"), wanted)
        part.write_bytes(image[:100])
        self.assertEqual(self.bytes_of("--rank", 4), wanted)

    def test_other_job_is_refused(self):
        self.calibrate("--rank", 4, "--keep-parts")
        before = (self.dir / "out.safetensors").read_bytes()
        for options, field in ((["--rank", 8], "most-rank"), (["--rank", 4, "--window", 64], "window"),
                               (["--rank", 4, "--compressed", 1], "compressed"), (["--rank", 4, "--kv", "bf16"], "kv"),
                               (["--rank", 4, "--weights", "q8"], "weights"),
                               (["--rank", 4, "--neurons", 2], "neurons")):
            with self.subTest(field):
                done = self.calibrate(*options, code=1)
                self.assertEqual(len(done.ours), 1, done.err)
                self.assertIn(f'"{field}=', done.ours[0])
                self.assertIn("out.safetensors.parts", done.ours[0])
        self.assertEqual((self.dir / "out.safetensors").read_bytes(), before)

    def test_other_configuration_is_refused(self):
        """The same weights, computed otherwise."""
        model = self.copy_model()
        self.calibrate("--rank", 4, "--keep-parts")
        for field, value in (("rope_theta", 20000.0), ("norm_topk_prob", True), ("rms_norm_eps", 0.001), ("clip_qkv", 1.0)):
            with self.subTest(field):
                shutil.copy(cemoe.MODEL / "config.json", model)
                cemoe.edit_json(model / "config.json", **{field: value})
                done = self.calibrate("--rank", 4, "--model", model, code=1)
                self.assertEqual(len(done.ours), 1, done.err)
                self.assertIn('"configuration=', done.ours[0])


class Outcome(CalibrateCase):
    def report(self, *options, **extra):
        path = self.dir / "report.json"
        self.calibrate(*options, "--report", path, **extra)
        return json.loads(path.read_text())

    def test_report_and_file_agree(self):
        report = self.report("--rank", 3, "--most-rank", 6)
        self.assertEqual(len(report["layers"]), LAYERS)
        for layer in report["layers"]:
            for name in ("fit", "heldout"):
                errors = layer[name]
                self.assertEqual(len(errors["by_rank"]), 7)
                self.assertEqual(errors["chosen"], errors["by_rank"][3])
            fit = layer["fit"]
            # To what is fitted, more rank is never worse, and a constant no worse than nothing.
            self.assertLessEqual(fit["by_rank"][0], fit["truncated"])
            for less, more in zip(fit["by_rank"], fit["by_rank"][1:]):
                self.assertLessEqual(more, less * (1 + 1e-9))
            # Every token has two auxiliary experts.
            self.assertEqual(sum(e["rows"] for e in layer["experts"]), 2 * report["tokens"])
            self.assertEqual(sum(e["heldout_rows"] for e in layer["experts"]), 2 * report["heldout_tokens"])
        run = report["run"]
        self.assertGreater(run["moment_flops"], 0)
        self.assertLessEqual(run["forward_seconds"] + run["moment_seconds"] + run["solve_seconds"], run["seconds"])
        self.check_file(self.dir / "out.safetensors", report)

    def check_file(self, path, report):
        header, _ = cemoe.read_safetensors(path)
        self.assertEqual(header["__metadata__"]["kind"], "affine")
        self.assertEqual(header["__metadata__"]["n_ce"], "2")
        total = 0
        for n, layer in enumerate(report["layers"]):
            for e, expert in enumerate(layer["experts"]):
                name = f"model.layers.{n}.mlp.affine.{e}"
                rank = expert["rank"]
                neurons = expert["neurons"]
                self.assertLessEqual(rank, expert["fitted_rank"])
                self.assertEqual(header[name + ".b"]["shape"], [HIDDEN])
                if rank > 0:
                    self.assertEqual(header[name + ".u"]["shape"], [HIDDEN, rank])
                    self.assertEqual(header[name + ".v"]["shape"], [rank, HIDDEN])
                for part, shape in (("gate", [neurons, HIDDEN]), ("up", [neurons, HIDDEN]), ("down", [HIDDEN, neurons])):
                    self.assertEqual(header.get(f"{name}.{part}", {}).get("shape"), shape if neurons > 0 else None)
                total += 2 * HIDDEN * (1 + 2 * rank + 3 * neurons)
        self.assertEqual(total, report["bytes"])

    def test_budget_is_kept(self):
        constants = LAYERS * EXPERTS * 2 * HIDDEN
        budget = constants + 40 * 4 * HIDDEN + 100
        report = self.report("--budget", budget)
        self.assertLessEqual(report["bytes"], budget)
        self.assertGreater(report["bytes"], budget - 2 * 4 * HIDDEN)
        self.check_file(self.dir / "out.safetensors", report)
        self.assertEqual(self.report("--budget", constants)["bytes"], constants)

    @staticmethod
    def left(report):
        """What a budget makes small: errors over those of truncation, summed over the layers."""
        heldout = [layer["heldout"] for layer in report["layers"]]
        return sum(errors["chosen"] / errors["truncated"] for errors in heldout)

    def test_neurons_beat_ranks_at_a_large_budget(self):
        """The same bytes and more ranks to choose from, on text of a kind that is hard to map."""
        text = cemoe.MODEL / "calibration/general.txt"
        options = ("--tokens", "16k" if cemoe.QUICK else "32k", "--budget", "20%", "--most-rank", 32)
        without = self.report(*options, data=text)
        report = self.report(*options, "--neurons", 32, data=text)
        self.check_file(self.dir / "out.safetensors", report)
        self.assertLessEqual(report["bytes"], 0.2 * LAYERS * EXPERTS * 3 * HIDDEN * INTERMEDIATE * 2)
        self.assertLess(self.left(report), 0.85 * self.left(without))
        # The maps alone are fitted as without neurons, but from products with more columns, whose sums OpenBLAS may
        # add in another order: F32 rounding, measured as up to 4e-7 of an error over the cores that it has.
        for less, more in zip(without["layers"], report["layers"]):
            self.assert_near(more["heldout"]["by_rank"], less["heldout"]["by_rank"], 1e-5)
            self.assertEqual([curve["neurons"] for curve in more["heldout"]["by_neurons"]], [8, 16, 32])

    def test_neurons_do_what_is_said(self):
        """The values of the file, put into the formula, leave of the rows what the report has as the chosen error."""
        rows = self.dir / "rows.safetensors"
        report = self.report("--rank", 2, "--neurons", 6, "--tokens", "1k", "--dump-layer", 2, "--dump", rows)
        self.assertEqual({e["neurons"] for e in report["layers"][2]["experts"] if e["status"] == "full"}, {6})
        file = Values(self.dir / "out.safetensors")
        dump = Values(rows)
        error = 0.0
        for e in range(EXPERTS):
            x, y, a = (dump.rows(f"{e}.heldout.{part}") for part in "xya")
            for inputs, wanted, weight in zip(x, y, a):
                got = file.run(f"model.layers.2.mlp.affine.{e}.", inputs)
                error += sum((weight[0] * (one - other)) ** 2 for one, other in zip(wanted, got))
        layer = report["layers"][2]["heldout"]
        self.assertAlmostEqual(error / layer["moe_out"] / layer["chosen"], 1.0, delta=0.01)

    def test_compressed_experts_help(self):
        """Nearer to the full model than dropping the same experts, on the text they were fitted to."""
        self.calibrate("--rank", 8)
        file = self.dir / "out.safetensors"
        nll = {}
        for name, options in (("full", ["--compressed", 0]), ("truncated", ["--truncated", 2]),
                              ("compressed", ["--compressed-experts", file])):
            done = self.assert_done(cemoe.run("score", "--model", cemoe.MODEL, "--file", TEXT, "--json", "--quiet",
                                              *options))
            nll[name] = done.json()["nll"]
        self.assertLess(nll["compressed"], nll["truncated"] - 0.25 * (nll["truncated"] - nll["full"]))
        self.assertGreater(nll["compressed"], nll["full"])

    def test_dump(self):
        rows = self.dir / "rows.safetensors"
        report = self.report("--rank", 2, "--dump-layer", 1, "--dump", rows)
        header, data = cemoe.read_safetensors(rows)
        for e, expert in enumerate(report["layers"][1]["experts"]):
            self.assertEqual(header[f"{e}.fit.x"]["shape"], [expert["rows"], HIDDEN])
            self.assertEqual(header[f"{e}.heldout.y"]["shape"], [expert["heldout_rows"], HIDDEN])
            self.assertEqual(header[f"{e}.fit.a"]["shape"], [expert["rows"]])
        self.assertGreater(len(data), 0)

    def test_documents(self):
        """Lines of JSON are documents: a file of one gives what the text gives."""
        text = TEXT.read_text()
        one = self.write("one.jsonl", json.dumps({"body": text}) + "\n")
        wanted = self.bytes_of("--rank", 2)
        self.assertEqual(self.bytes_of("--rank", 2, "--field", "body", data=one), wanted)


    def test_tasks(self):
        """A document is a text: rolling ones are the pieces of the task's file."""
        lines = (cemoe.ROOT / "deploy/tasks/cemoe_text.jsonl").read_text().splitlines()
        texts = self.write("pieces.jsonl", "".join(line + "\n" for line in lines))
        wanted = self.bytes_of("--rank", 2, data=texts)
        done = cemoe.run("calibrate", "--model", cemoe.MODEL, "--tasks", "cemoe_text",
                         *(QUICK_BUDGET if cemoe.QUICK else BUDGET), "--compressed", 2, "--rank", 2,
                         "--out", self.dir / "task", "--quiet")
        self.assert_done(done)
        self.assertEqual((self.dir / "task").read_bytes(), wanted)


class BadInput(CalibrateCase):
    def refuse(self, *options, code=1, words=(), **extra):
        """One line that says what is wrong, and the file that is there stays as it is."""
        good = self.dir / "out.safetensors"
        good.write_text("good")
        done = self.calibrate(*options, code=code, **extra)
        self.assertEqual(len(done.ours), 1, done.err)
        for word in words:
            self.assertIn(word, done.ours[0])
        self.assertEqual(good.read_text(), "good")
        self.assertEqual([path.name for path in self.dir.iterdir() if "tmp-" in path.name], [])

    def test_values(self):
        for options, words in ((["--compressed", 4], ["--compressed 4", "1 to 3"]),
                               (["--rank", 129], ["129", "128"]), (["--budget", "12x"], ['"12x"']),
                               (["--budget", "1k"], ["constants"]), (["--window", 2048], ["2048", "1024"]),
                               (["--neurons", 65], ["--neurons 65", "64"]),
                               (["--neurons", 4, "--weights", "q8"], ["--neurons 4", "q8"]),
                               (["--memory", "3M"], ["--memory", "--tokens"]),
                               (["--dump-layer", 9, "--dump", self.dir / "d"], ["--dump-layer 9"])):
            with self.subTest(options=options):
                self.refuse(*options, words=words)

    def test_usage(self):
        for options, word in ((["--rank", 1, "--budget", "1M"], "--budget"), (["--heldout-every", 1], "--heldout-every"),
                              (["--rank", 8, "--most-rank", 4], "--most-rank"), (["--dump-layer", 1], "--dump"),
                              (["--expert-split", "node"], "--expert-split"), (["--kind", "cubic"], "affine")):
            with self.subTest(options=options):
                self.refuse(*options, code=2, words=[word])

    def test_texts(self):
        for name, content, words in (("short.txt", "Some words", ["too short"]), ("one.txt", "a", ["one.txt"]),
                                     ("bad.txt", b"ab\xff\xfe", ["bad.txt"]), ("lines.jsonl", '{"a": 1}\n', ["line 1", "text"]),
                                     ("no.jsonl", "{\n", ["no.jsonl", "line 1"])):
            with self.subTest(name):
                self.refuse(data=self.write(name, content), words=words)
        self.refuse(data=self.dir / "missing.txt", words=["missing.txt"])

    def test_output(self):
        self.refuse("--report", self.dir / "none/report.json", words=["none/report.json"])
        self.refuse("--parts", self.dir / "none/parts", words=["none/parts"])

    @unittest.skipUnless(RANK_COUNTS, "no mpirun")
    def test_ranks(self):
        self.refuse(data=self.dir / "missing.txt", words=["missing.txt"], ranks=2)
        self.refuse("--dump-layer", 1, "--dump", self.dir / "d", words=["one rank"], ranks=2)


if __name__ == "__main__":
    cemoe.main()
