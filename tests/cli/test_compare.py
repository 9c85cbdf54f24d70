#!/usr/bin/env python3
"""cemoe compare: its numbers are those of cemoe score, on any ranks; shares and errors are computed here once more."""

import json
import math
import os
import shutil
import random
import statistics
import struct
import subprocess

import cemoe

TEXT = cemoe.MODEL / "heldout/math.txt"
TABLES = cemoe.MODEL / "ces-math.safetensors"
WINDOW = 64
TOP_K = 4
LAYERS, EXPERTS, HIDDEN = 4, 16, 128
FILES = ["comparison.json", "comparison.md", "frontier.dat", "frontier.gp", "frontier.svg"]


def setting_options(setting, files):
    """What cemoe score wants for the same setting."""
    n = str(setting["n_ce"])
    if setting["kind"] == "full":
        return ["--compressed", "0"]
    if setting["kind"] == "truncated":
        return ["--truncated", n]
    return ["--compressed", n, *(["--compressed-experts", files[setting["name"]]] if setting["name"] in files else [])]


def error_of_mean(values):
    return statistics.stdev(values) / math.sqrt(len(values))


class Compare(cemoe.TestCase):
    def compare(self, *arguments, model=cemoe.MODEL, ranks=1, **extra):
        return cemoe.run("compare", "--model", model, "--window", WINDOW, *arguments, ranks=ranks, **extra)

    def document(self, *arguments, **extra):
        return self.assert_done(self.compare(*arguments, "--json", "--quiet", **extra)).json()

    def score(self, text, *arguments, model=cemoe.MODEL):
        return self.assert_done(cemoe.run("score", "--model", model, "--file", text, "--window", WINDOW, "--json", "--quiet",
                                          *arguments)).json()

    def text(self, name="text.txt", characters=900, start=0):
        return self.write(name, TEXT.read_text()[start:start + characters])


def write_affine(path, rank_of, **metadata):
    """Small random values; rank_of(expert) is r. Returns how many there are."""
    numbers = random.Random(5)
    header = {"__metadata__": {"format": "cemoe.compressed_experts", "version": "2", "kind": "affine", **metadata}}
    data = bytearray()
    for layer in range(LAYERS):
        for expert in range(EXPERTS):
            r = rank_of(expert)
            shapes = {"b": [HIDDEN], **({"u": [HIDDEN, r], "v": [r, HIDDEN]} if r > 0 else {})}
            for part, shape in shapes.items():
                first = len(data)
                for _ in range(math.prod(shape)):
                    data += struct.pack("<f", numbers.gauss(0, 0.05))[2:]  # BF16: the upper half
                header[f"model.layers.{layer}.mlp.affine.{expert}.{part}"] = {
                    "dtype": "BF16", "shape": shape, "data_offsets": [first, len(data)]}
    cemoe.write_safetensors(path, header, bytes(data))
    return len(data) // 2


class Affine(Compare):
    """Files that were fitted for one n_ce."""

    def setUp(self):
        super().setUp()
        self.path = self.dir / "r.safetensors"
        self.values = write_affine(self.path, lambda expert: expert % 3, n_ce="2")

    def settings(self, *arguments):
        document = self.document("--data", self.text(), "--windows", 2, "--compressed-experts", *arguments)
        return [(s["kind"], s["n_ce"]) for s in document["settings"]]

    def test_at_its_own_n_ce(self):
        own = [("full", 0), ("truncated", 2), ("affine", 2)]
        self.assertEqual(self.settings(self.path), own)
        self.assertEqual(self.settings(self.path, "--compressed", 2), own)
        self.assertEqual(self.settings(self.path, TABLES, "--compressed", 2, 3),
                         [*own, ("scaling", 2), ("truncated", 3), ("scaling", 3)])

    def test_at_any_n_ce(self):
        self.assertEqual(self.settings(self.path, "--any-n"),
                         [("full", 0), *((kind, n) for n in (1, 2, 3) for kind in ("truncated", "affine"))])
        silent = self.dir / "silent.safetensors"
        write_affine(silent, lambda expert: 0)
        self.assertEqual(len(self.settings(silent)), 7)

    def test_not_at_all(self):
        done = self.compare("--data", self.text(), "--compressed-experts", self.path, "--compressed", 1, 3, "--quiet")
        self.assertEqual(done.code, 1)
        for part in (str(self.path), "n_ce 2", "--any-n"):
            self.assertIn(part, done.err)

    def test_numbers(self):
        """The loss is that of cemoe score; a token has on average two sixteenths of the values."""
        text = self.text()
        other = self.dir / "other.safetensors"
        write_affine(other, lambda expert: 1, n_ce="2")
        settings = self.document("--data", text, "--compressed-experts", self.path, other, TABLES, "--compressed", 2)["settings"]
        losses = {s["name"]: s["texts"][0]["nll"] for s in settings}
        self.assertEqual(list(losses), ["full", "truncated", "r", "other", "ces-math"])
        for name, path in (("r", self.path), ("other", other), ("ces-math", TABLES)):
            self.assertEqual(losses[name], self.score(text, "--compressed", 2, "--compressed-experts", path)["nll"])
        self.assertEqual(len(set(losses.values())), 5)
        truncated, affine = settings[1], settings[2]
        self.assertEqual(affine["compressed_parameters"], self.values * 2 // EXPERTS)
        self.assertEqual(affine["active_parameters"], truncated["active_parameters"] + affine["compressed_parameters"])
        self.assertGreaterEqual(affine["replica_bytes"], 2 * self.values)

    def test_file_of_another_model(self):
        """It is found out before anything has run, also where it is the last."""
        other = self.dir / "other.safetensors"
        write_affine(other, lambda expert: 0, n_ce="2", model="0123456789abcdef")
        done = self.compare("--data", self.text(), "--compressed-experts", self.path, other)
        self.assertEqual(done.code, 1)
        self.assertIn(str(other), done.err)
        self.assertIn("0123456789abcdef", done.err)
        self.assertNotIn("NLL", done.err)

    def test_same_bytes_on_ranks(self):
        images = set()
        for ranks in (1, 2):
            done = self.compare("--data", self.text(), "--compressed-experts", self.path, TABLES, "--json", "--quiet", ranks=ranks)
            images.add(self.assert_done(done).out.split('\n "run": ')[0])
        self.assertEqual(len(images), 1)


class Numbers(Compare):
    def test_are_those_of_score(self):
        """To the last bit, also with a last window that is shorter."""
        texts = [self.text("a.txt"), self.text("b.txt", 500, 2000)]
        files = {"ces-math": TABLES}
        document = self.document("--data", *texts, "--compressed-experts", TABLES)
        self.assertEqual([(s["kind"], s["n_ce"]) for s in document["settings"]],
                         [("full", 0), *((kind, n) for n in (1, 2, 3) for kind in ("truncated", "scaling"))])
        self.assertEqual([t["path"] for t in document["texts"]], list(map(str, texts)))
        for setting in document["settings"]:
            for text, cell in zip(texts, setting["texts"]):
                wanted = self.score(text, *setting_options(setting, files))
                with self.subTest(text=text.name, setting=setting["name"], n=setting["n_ce"]):
                    self.assertEqual((cell["nll"], cell["perplexity"]), (wanted["nll"], wanted["perplexity"]))
        for text, found in zip(texts, document["texts"]):
            wanted = self.score(text)
            self.assertEqual((found["tokens"], found["scored"]), (wanted["tokens"], wanted["scored"]))
            self.assertNotEqual(found["tokens"] % WINDOW, 0)

    def windows(self, text, count, *options):
        """Mean NLL of the first windows, from cemoe score."""
        logprobs = self.score(text, "--per-token", *options)["logprobs"]
        return [-statistics.fmean(logprobs[w * WINDOW + 1:(w + 1) * WINDOW]) for w in range(count)]

    def test_differences_shares_and_errors(self):
        count = 5
        text = self.text(characters=2500)
        document = self.document("--data", text, "--compressed-experts", TABLES, "--compressed", 2, "--windows", count)
        self.assertEqual(document["texts"][0]["windows"], count)
        full, truncated, scaling = (setting["texts"][0] for setting in document["settings"])
        f = self.windows(text, count, "--compressed", 0)
        t = self.windows(text, count, "--truncated", 2)
        c = self.windows(text, count, "--compressed", 2, "--compressed-experts", TABLES)
        for cell, values in ((full, f), (truncated, t), (scaling, c)):
            for found, wanted in zip(cell["window_nll"], values, strict=True):
                self.assertAlmostEqual(found, wanted, delta=1e-12)
            self.assertAlmostEqual(cell["nll"], statistics.fmean(values), delta=1e-12)
        for found, a, b in ((truncated["minus_full"], t, f), (scaling["minus_full"], c, f), (scaling["minus_truncated"], c, t)):
            pairs = [x - y for x, y in zip(a, b)]
            self.assertAlmostEqual(found["value"], statistics.fmean(pairs), delta=1e-12)
            self.assertAlmostEqual(found["stderr"], error_of_mean(pairs), delta=1e-12)
        lost = statistics.fmean(t) - statistics.fmean(f)
        share = (statistics.fmean(t) - statistics.fmean(c)) / lost
        residuals = [((b - a) - share * (b - d)) / lost for a, b, d in zip(c, t, f)]
        self.assertAlmostEqual(scaling["recovered_fraction"]["value"], share, delta=1e-9)
        self.assertAlmostEqual(scaling["recovered_fraction"]["stderr"], error_of_mean(residuals), delta=1e-9)
        for cell, name in ((full, "minus_full"), (truncated, "minus_truncated"), (truncated, "recovered_fraction")):
            self.assertEqual(cell[name]["value"], "N/A")

    def test_parameters_are_those_of_inspect(self):
        document = self.document("--data", self.text(), "--compressed-experts", TABLES, "--windows", 1)
        for setting in document["settings"]:
            n = setting["n_ce"]
            wanted = self.assert_done(cemoe.run("inspect", "--model", cemoe.MODEL, "--compressed", n, "--json")).json()["parameters"]
            added = wanted["compressed_vectors"] if setting["kind"] == "scaling" else 0
            self.assertEqual((setting["active_parameters"], setting["compressed_parameters"]),
                             (wanted["active_compressed"] + added, added))
            self.assertEqual(setting["main_experts"], TOP_K - n)

    def test_tables_of_the_checkpoint(self):
        """They are compared where config.json uses them."""
        model = cemoe.MODEL / "ce-math"
        text = self.text()
        document = self.document("--data", text, "--compressed", 2, model=model)
        self.assertEqual([s["name"] for s in document["settings"]], ["full", "truncated", "checkpoint"])
        for setting in document["settings"]:
            self.assertEqual(setting["texts"][0]["nll"], self.score(text, *setting_options(setting, {}), model=model)["nll"])

    def test_without_files(self):
        """What dropping experts costs."""
        document = self.document("--data", self.text(), "--windows", 2)
        self.assertEqual([(s["kind"], s["n_ce"]) for s in document["settings"]],
                         [("full", 0), ("truncated", 1), ("truncated", 2), ("truncated", 3)])
        self.assertEqual(document["compressed_experts"], [])


class Ranks(Compare):
    def test_same_bytes_but_for_the_run(self):
        text = self.text()
        images = {}
        for ranks in (1, 2, 3):
            out = self.dir / f"ranks{ranks}"
            self.assert_done(self.compare("--data", text, "--compressed-experts", TABLES, "--out", out, "--compressed", 1, 2,
                                          ranks=ranks))
            image = (out / "comparison.json").read_text()
            images[ranks] = image[:image.index('\n "run": ')]
            run = json.loads(image)["run"]
            self.assertEqual(run["ranks"], ranks)
            self.assertEqual([s["moved_bytes"] > 0 for s in run["settings"]], [ranks > 1] * 5)
            if ranks > 1:  # fewer experts, fewer bytes
                full, one, _, two, _ = (s["moved_bytes_per_token"] for s in run["settings"])
                self.assertGreater(full, one)
                self.assertGreater(one, two)
            self.assertEqual((self.dir / "ranks1/frontier.dat").read_bytes(), (out / "frontier.dat").read_bytes())
        self.assertEqual(len(set(images.values())), 1)


class Output(Compare):
    def small(self, *arguments, **extra):
        return self.compare("--data", self.text(), "--compressed-experts", TABLES, "--windows", 2, *arguments, **extra)

    def test_files_and_table(self):
        out = self.dir / "a/b"
        done = self.assert_done(self.small("--out", out))
        drawn = shutil.which("gnuplot") is not None
        self.assertEqual(sorted(os.listdir(out)), FILES if drawn else FILES[:-1])
        self.assertEqual((out / "comparison.md").read_text(), done.out)
        self.assertEqual(done.out.count("| ces-math (scaling) |"), 3 * 3)
        self.assertEqual("frontier.svg" in done.err, not drawn)
        if drawn:
            picture = (out / "frontier.svg").read_text()
            self.assertTrue(picture.startswith("<?xml") and picture.rstrip().endswith("</svg>"))
            for name in ("full", "truncated", "ces-math", "text"):
                self.assertIn(f">{name}<", picture.replace("<text>", ">").replace("\n", ""))

    def test_replaces_what_was_there(self):
        out = self.dir / "out"
        self.assert_done(self.small("--out", out))
        first = (out / "comparison.json").read_bytes()
        (out / "comparison.json").write_bytes(b"old")
        self.assert_done(self.small("--out", out))
        settings = [json.loads(image)["settings"] for image in (first, (out / "comparison.json").read_bytes())]
        self.assertEqual(settings[0], settings[1])

    def test_json(self):
        out = self.dir / "out"
        done = self.assert_done(self.small("--json", "--out", out))
        self.assertEqual(done.out, (out / "comparison.json").read_text())

    def without_picture(self, path, wanted, *options):
        out = self.dir / "out"
        done = self.assert_done(self.small("--out", out, "--quiet", *options, PATH=str(path)))
        self.assertEqual(len(done.ours), 1, done.err)
        for word in ("warning", str(out), wanted):
            self.assertIn(word, done.ours[0])
        self.assertEqual(sorted(os.listdir(out)), FILES[:-1])

    def test_without_gnuplot(self):
        self.without_picture(self.dir / "nothing", "gnuplot is not installed")

    def test_gnuplot_that_fails(self):
        tools = self.dir / "tools"
        tools.mkdir()
        (tools / "gnuplot").write_text("#!/bin/sh\nexit 3\n")
        (tools / "gnuplot").chmod(0o755)
        self.without_picture(tools, "gnuplot failed")

    def test_gnuplot_that_does_not_end(self):
        tools = self.dir / "tools"
        tools.mkdir()
        (tools / "gnuplot").write_text("#!/bin/sh\nexec /bin/sleep 1000\n")
        (tools / "gnuplot").chmod(0o755)
        self.without_picture(tools, "gnuplot has not ended after 2000 ms", "--deadline-ms", 2000)

    def test_one_window_is_said_to_be_few(self):
        done = self.assert_done(self.compare("--data", self.text(characters=60)))
        self.assertIn("one window", done.err)

    def test_names_that_collide_are_paths(self):
        (self.dir / "x").mkdir()
        texts = [self.text("a.txt"), self.text("x/a.txt", start=100)]
        names = [t["name"] for t in self.document("--data", *texts, "--windows", 1)["texts"]]
        self.assertEqual(names, list(map(str, texts)))


class Table(Compare):
    """deploy/calibrate-table.py: comparisons of several texts in one table."""

    def test_rows_and_columns(self):
        files = [self.dir / f"{name}.safetensors" for name in ("budget4-n2", "rank4-n2", "rank1-n2", "rank1-n3")]
        for path, n in zip(files, (2, 2, 2, 3)):
            write_affine(path, lambda expert: 1, n_ce=str(n))
        outs = [self.dir / "one", self.dir / "two"]
        for start, out in enumerate(outs):
            self.assert_done(self.compare("--data", self.text(start=1000 * start), "--windows", 3, "--compressed", 2, 3,
                                          "--compressed-experts", *files, TABLES, "--out", out, "--quiet"))
        done = subprocess.run([cemoe.ROOT / "deploy/calibrate-table.py", *outs], capture_output=True, text=True, check=True)
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines()]
        self.assertEqual(rows[0], ["k_m", "setting", "active (M)", "replica bytes", "one", "two"])
        self.assertEqual([(row[0], row[1].split(", ", 1)[1]) for row in rows[2:]],
                         [("2", "truncated"), ("2", "scaling tables"), ("2", "affine of rank 1"), ("2", "affine of rank 4"),
                          ("2", "affine, the bytes of rank 4 where they help most"),
                          ("1", "truncated"), ("1", "scaling tables"), ("1", "affine of rank 1")])
        for column, out in enumerate(outs, 4):
            settings = json.loads((out / "comparison.json").read_text())["settings"]
            lost = next(s for s in settings if s["kind"] == "truncated" and s["n_ce"] == 2)["texts"][0]["minus_full"]
            share = next(s for s in settings if s["name"] == "rank4-n2")["texts"][0]["recovered_fraction"]
            self.assertEqual(rows[2][column], f"{lost['value']:.4f} ± {lost['stderr']:.4f}")
            self.assertEqual(rows[5][column], f"{100 * share['value']:.1f} ± {100 * share['stderr']:.1f} %")


class BadInput(Compare):
    def assert_failure(self, arguments, *parts, code=1):
        out = self.dir / "out"
        done = self.compare(*arguments, "--out", out, "--quiet")
        self.assertEqual(done.code, code, done.err)
        self.assertEqual(done.raw, b"")
        self.assertEqual(len(done.ours), 1, done.err)
        for part in parts:
            self.assertIn(str(part), done.ours[0])
        self.assertFalse((out / "comparison.json").exists())

    def test_texts(self):
        text = self.text()
        short = self.write("short.txt", "a")
        missing = self.dir / "missing"
        self.assert_failure(["--data", text, short], short, "1 tokens")
        self.assert_failure(["--data", missing], missing)
        self.assert_failure(["--data", text, f"{self.dir}/./text.txt"], "--data", "twice")
        self.assert_failure(["--data", self.write("bytes", b"ab\xff\xfe")], self.dir / "bytes")

    def test_numbers_of_experts(self):
        for word in ("0", "4", "-1", "two", "2x"):
            with self.subTest(word):
                self.assert_failure(["--data", self.text(), f"--compressed={word}"], f"--compressed {word}", "1 to 3")

    def test_files_of_compressed_experts(self):
        text = self.text()
        self.assert_failure(["--data", text, "--compressed-experts", TABLES, TABLES], TABLES, "twice")
        self.assert_failure(["--data", text, "--compressed-experts", self.dir / "missing"], self.dir / "missing")
        header, data = cemoe.read_safetensors(TABLES)
        narrow = self.dir / "narrow.safetensors"
        cemoe.write_safetensors(narrow, {name: {**tensor, "shape": [8, 6, 128]} if "shape" in tensor else tensor
                                         for name, tensor in header.items()}, data)
        self.assert_failure(["--data", text, "--compressed-experts", TABLES, narrow], narrow, "[16, 3, 128]")

    def test_out_that_is_a_file(self):
        done = self.compare("--data", self.text(), "--out", self.write("file", "x"), "--quiet")
        self.assertEqual(done.code, 1)
        self.assertIn("--out", done.err)
        self.assertIn("not a directory", done.err)

    def test_split_experts(self):
        self.assert_failure(["--data", self.text(), "--expert-split", "node"], "--expert-split node", code=2)


if __name__ == "__main__":
    cemoe.main()
