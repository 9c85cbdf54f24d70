#!/usr/bin/env python3
"""What --traffic says that ranks sent each other: against --stats, itself, and runs without compression."""

import json

import cemoe

RANK_COUNTS = (1, 3) if cemoe.QUICK else (1, 2, 3, 5)
TABLES = ["--compressed-experts", cemoe.MODEL / "ces-math.safetensors"]
AFFINE = ["--compressed-experts", cemoe.AFFINE]
LAYERS, TOP_K, HIDDEN = 4, 4, 128
FIELDS = ("messages", "rows", "payload_bytes", "metadata_bytes", "bytes")

# name: (options, main experts, bytes of a row)
MODES = {"uncompressed": (["--compressed", 0], 4, 4 * HIDDEN),
         "compressed": (TABLES, 2, 4 * HIDDEN),
         "truncated, partial": (["--truncated", 3, "--combine", "partial"], 1, 4 * HIDDEN),
         "affine": (AFFINE, 2, 4 * HIDDEN),
         "compressed, bf16": ([*TABLES, "--wire", "bf16"], 2, 2 * HIDDEN)}
if cemoe.QUICK:
    del MODES["truncated, partial"]


def apart(matrix):
    """The sum of what is not on the diagonal."""
    return sum(value for s, row in enumerate(matrix) for d, value in enumerate(row) if s != d)


class Job:
    """One `cemoe score` with both files."""

    def __init__(self, test, ranks, *options):
        text = test.write("text", (cemoe.MODEL / "eval/math.txt").read_bytes()[:1500])
        traffic, stats = test.dir / "traffic.json", test.dir / "stats.json"
        self.done = test.assert_done(cemoe.run("score", "--model", cemoe.MODEL, "--file", text, "--window", 50,
                                               "--step-tokens", 64, *options, "--traffic", traffic, "--stats", stats,
                                               ranks=ranks))
        self.traffic, self.stats = json.loads(traffic.read_text()), json.loads(stats.read_text())
        self.dispatch, self.combine = (self.traffic["phases"][phase] for phase in ("dispatch", "combine"))
        self.summary = self.traffic["summary"]


def bench_step(test, ranks, *options):
    """The traffic of random weights and tokens."""
    traffic = test.dir / "traffic.json"
    test.assert_done(cemoe.run("bench", "step", "--dummy-weights", 1, "--batch", 2, "--prompt-tokens", 16,
                               "--decode-steps", 3, "--repeat", 1, "--read-bytes", 0, *options, "--traffic", traffic, ranks=ranks))
    return json.loads(traffic.read_text())


class Matrices(cemoe.TestCase):
    def check_phase(self, job, phase, ranks, row_bytes):
        """Shapes; both ends; the parts of the bytes; what does not travel is apart."""
        matrices = job.traffic["phases"][phase]
        for field in FIELDS:
            self.assertEqual([len(row) for row in matrices[field]], [ranks] * ranks)
            self.assertEqual([matrices[field][r][r] for r in range(ranks)], [0] * ranks)
        for s, sender in enumerate(job.stats["ranks"]):
            for d, receiver in enumerate(job.stats["ranks"]):
                cell = {field: matrices[field][s][d] for field in FIELDS}
                if s == d:
                    cell = {field: own[s] for field, own in matrices["own"].items()}
                else:
                    self.assertEqual(cell["payload_bytes"], cell["rows"] * row_bytes)
                    self.assertEqual(cell["payload_bytes"] + cell["metadata_bytes"], cell["bytes"])
                self.assertEqual(cell["messages"], job.traffic["steps"] * LAYERS)
                for field in {"messages", "rows", "bytes"} & cell.keys():
                    self.assertEqual(sender["traffic"][phase][f"sent_{field}"][d], cell[field])
                    self.assertEqual(receiver["traffic"][phase][f"received_{field}"][s], cell[field])

    def check_metadata(self, job, ranks, auxiliary):
        """The bytes handed to the transport are those of the rows: a header for results; for rows of x also two
        bytes a row, 8 a pair and padding, up to 6 and 63 a message. An assignment has a row of results."""
        for s in range(ranks):
            for d in range(ranks):
                if s != d:
                    (messages, rows, metadata), (back, results, headers) = (
                        [phase[field][a][b] for field in ("messages", "rows", "metadata_bytes")]
                        for phase, a, b in ((job.dispatch, s, d), (job.combine, d, s)))
                    self.assertEqual(headers, 64 * back)
                    least = 64 * messages + 2 * rows + 8 * (results + auxiliary * rows)
                    self.assertLessEqual(least, metadata)
                    self.assertLessEqual(metadata, least + (6 + 63) * messages)

    def check_times(self, job, phase, ranks):
        matrices = job.traffic["phases"][phase]
        for r, rank in enumerate(job.stats["ranks"]):
            slot = rank["traffic"][phase]
            self.assertEqual(matrices["wait_seconds"][r], slot["wait_seconds"])
            self.assertAlmostEqual(sum(slot["wait_seconds"]), matrices["exposed_seconds"][r], places=6)
            self.assertAlmostEqual(max(0, slot["span"] - slot["exposed"]), matrices["hidden_seconds"][r], places=9)
            self.assertEqual(slot["span"], matrices["span_seconds"][r])
        self.assertEqual(len(matrices["wait_seconds"]), ranks)

    def check_rows(self, job, ranks, mains, partial):
        """Of all ranks together: every main expert of every token is an assignment somewhere."""
        for r, rank in enumerate(job.stats["ranks"]):
            self.assertEqual(sum(job.dispatch["rows"][r]), rank["moe"]["rows_sent"])
            self.assertEqual(job.dispatch["own"]["rows"][r], rank["moe"]["rows_local"])
            self.assertEqual(sum(row[r] for row in job.combine["rows"]), rank["moe"]["results_received"])
        token_layers = sum(rank["moe"]["token_layers"] for rank in job.stats["ranks"])
        there, back = ((apart(phase["rows"]) + sum(phase["own"]["rows"])) for phase in (job.dispatch, job.combine))
        self.assertEqual(back, there if partial else mains * token_layers)
        self.assertLessEqual(there, min(mains, ranks) * token_layers)
        self.assertEqual(job.traffic["tokens"] * LAYERS, token_layers)

    def test_matrices(self):
        for name, (options, mains, row_bytes) in MODES.items():
            for ranks in RANK_COUNTS:
                with self.subTest(mode=name, ranks=ranks):
                    job = Job(self, ranks, *options)
                    for phase in ("dispatch", "combine"):
                        self.check_phase(job, phase, ranks, row_bytes)
                        self.check_times(job, phase, ranks)
                    self.check_rows(job, ranks, mains, "partial" in name)
                    self.check_metadata(job, ranks, job.traffic["compressed"] if name != "affine" else 0)

    def test_affine_experts_send_nothing(self):
        """Ones that add nothing have the routing of a truncated run: then also its bytes, to the last one."""
        header, data = cemoe.read_safetensors(cemoe.AFFINE)
        zeros = self.dir / "zeros"
        cemoe.write_safetensors(zeros, header, bytes(len(data)))
        affine, truncated = (Job(self, 3, *options) for options in (["--compressed-experts", zeros], ["--truncated", 2]))
        self.assertEqual((affine.traffic["compressed"], truncated.traffic["compressed"]), (2, 0))
        for phase in ("dispatch", "combine"):
            for field in FIELDS:
                self.assertEqual(*(job.traffic["phases"][phase][field] for job in (affine, truncated)))
        self.assertEqual(affine.summary["run"]["bytes"], truncated.summary["run"]["bytes"])
        self.assertGreater(affine.summary["run"]["bytes"], 0)

    def test_head(self):
        job = Job(self, 2, *TABLES, "--wire", "bf16", "--placement", "strided", "--transport", "mpi").traffic
        wanted = {"command": "score", "transport": "mpi", "ranks": 2, "placement": "strided", "combine": "ordered",
                  "wire": "bf16", "experts_per_token": TOP_K, "main_experts": 2, "compressed": 2,
                  "row_bytes": 2 * HIDDEN, "layers": LAYERS}
        self.assertEqual({key: job[key] for key in wanted}, wanted)
        self.assertEqual(len(job["hosts"]), 2)

    def test_measured_steps_only(self):
        """bench step warms up first and counts from zero then."""
        document = bench_step(self, 2, "--model", cemoe.MODEL)
        self.assertEqual(document["phases"]["dispatch"]["messages"][0][1], document["steps"] * LAYERS)


class Summary(cemoe.TestCase):
    def check_totals(self, job, row_bytes):
        """The run's line is the sum of the matrices; savings are against both baselines."""
        run, token_layers = job.summary["run"], job.summary["token_layers"]
        self.assertEqual(run["rows"], apart(job.dispatch["rows"]))
        self.assertEqual(run["results"], apart(job.combine["rows"]))
        for field in ("payload_bytes", "metadata_bytes", "bytes"):
            self.assertEqual(run[field], apart(job.dispatch[field]) + apart(job.combine[field]))
        for name in ("run", "uncompressed_per_rank", "uncompressed_per_expert"):
            total = job.summary[name]
            self.assertEqual(total["payload_bytes"], (total["rows"] + total["results"]) * row_bytes)
            self.assertEqual(total["bytes"], total["payload_bytes"] + total["metadata_bytes"])
            self.assertAlmostEqual(total["copies_per_token_layer"], total["rows"] / token_layers)
            self.assertAlmostEqual(total["bytes_per_token_layer"], total["bytes"] / token_layers)
            if name != "run":
                self.assertAlmostEqual(total["saved_bytes"], 1 - run["bytes"] / total["bytes"])
                rows = total["rows"] + total["results"]
                self.assertAlmostEqual(total["saved_rows"], 1 - (run["rows"] + run["results"]) / rows)

    def test_an_uncompressed_run_is_its_own_baseline(self):
        """Also in bytes: headers, pairs and padding are those of the same messages."""
        for options in ([],) if cemoe.QUICK else ([], ["--combine", "partial"], ["--wire", "int8"]):
            with self.subTest(options):
                job = Job(self, 3, "--compressed", 0, *options)
                run, same = job.summary["run"], job.summary["uncompressed_per_rank"]
                self.assertEqual({key: same[key] for key in run}, run)
                self.assertEqual((same["saved_rows"], same["saved_bytes"]), (0, 0))
                self.check_totals(job, job.traffic["row_bytes"])
                if not options:  # a row back for each expert is what it has
                    self.assertEqual(job.summary["uncompressed_per_expert"]["results"], run["results"])

    def test_full_counts_are_those_of_an_uncompressed_run(self):
        """Of a model with one layer, whose router sees the same tokens however many experts run in full."""
        model = self.copy_model()
        cemoe.edit_json(model / "config.json", num_hidden_layers=1)
        full, truncated = (bench_step(self, 3, "--model", model, *options)["summary"]
                           for options in (["--compressed", 0], ["--truncated", 3]))
        for name in ("uncompressed_per_rank", "uncompressed_per_expert"):
            for key in ("rows", "results", "bytes", "copies_if_uniform"):
                self.assertEqual(truncated[name][key], full[name][key])
        self.assertLess(truncated["run"]["bytes"], full["run"]["bytes"])

    def test_every_expert_is_counted(self):
        """All experts of all tokens, here and elsewhere, are tokens x layers x k, whatever runs in full."""
        for options in (TABLES, ["--truncated", 3]):
            job = Job(self, 3, *options)
            everywhere = sum(sum(rank["traffic"]["dispatch"]["full_assignments"]) for rank in job.stats["ranks"])
            local = sum(rank["traffic"]["dispatch"]["full_assignments"][r] for r, rank in enumerate(job.stats["ranks"]))
            self.assertEqual(everywhere, job.traffic["tokens"] * LAYERS * TOP_K)
            self.assertEqual(job.summary["uncompressed_per_expert"]["rows"], everywhere - local)
            self.check_totals(job, 4 * HIDDEN)
            for baseline in ("uncompressed_per_rank", "uncompressed_per_expert"):
                self.assertGreater(job.summary[baseline]["saved_bytes"], 0.2)

    def test_closed_form(self):
        """Halves of the experts: C(8, m) / C(16, m) of the tokens miss the other rank."""
        job = Job(self, 2, *TABLES)
        wanted = {"run": 1 - 8 * 7 / (16 * 15), "uncompressed_per_rank": 1 - 8 * 7 * 6 * 5 / (16 * 15 * 14 * 13),
                  "uncompressed_per_expert": 2}
        for name, copies in wanted.items():
            self.assertAlmostEqual(job.summary[name]["copies_if_uniform"], copies)
            self.assertLess(abs(job.summary[name]["copies_per_token_layer"] / copies - 1), 0.25)
        self.assertLessEqual(job.summary["run"]["copies_per_token_layer"], 1)  # there is one other rank

    def test_no_closed_form_with_replicas(self):
        plan = self.dir / "plan"
        self.assert_done(cemoe.run("plan", "--model", cemoe.MODEL, "--ranks", 3, "--replicas", 2, "--out", plan))
        job = Job(self, 3, *TABLES, "--placement", plan)
        self.assertIsNone(job.summary["run"]["copies_if_uniform"])
        self.assertIn("owners", job.summary["uniform"])
        self.check_totals(job, 4 * HIDDEN)
        self.assertNotIn("nan", job.done.err)


class Table(cemoe.TestCase):
    def lines(self, ranks, *options):
        job = Job(self, ranks, *options)
        ours = [line.removeprefix("cemoe: ") for line in job.done.ours]
        return job, {key: [line for line in ours if line.startswith(key)]
                     for key in ("traffic", "this run", "uncompressed, a row for each rank",
                                 "uncompressed, a row for each expert", "a rank waited")}

    def test_both_baselines_are_quoted(self):
        job, lines = self.lines(3, *TABLES)
        self.assertEqual([len(found) for found in lines.values()], [1] * 5)
        self.assertIn("2 of 4 experts per token in full, 2 compressed", lines["traffic"][0])
        names = {"this run": "run", "uncompressed, a row for each rank": "uncompressed_per_rank",
                 "uncompressed, a row for each expert": "uncompressed_per_expert"}
        for key, name in names.items():
            total, words = job.summary[name], lines[key][0].removeprefix(key).split()
            self.assertEqual(words[:2], [str(total["rows"]), str(total["results"])])
            self.assertEqual(words[-2:], [f"{total['copies_per_token_layer']:.3f}", f"({total['copies_if_uniform']:.3f})"])
            if name != "run":
                self.assertEqual(words[-4:-2], [f"{100 * total['saved_bytes']:.1f}", "%"])

    def test_waits(self):
        """A mean over the ranks, and the longest wait of one for another, both phases together."""
        job, lines = self.lines(3, *TABLES)
        phases = job.traffic["phases"].values()
        waits = {(w, f): sum(phase["wait_seconds"][w][f] for phase in phases)
                 for w in range(3) for f in range(3) if w != f}
        (waiting, other), longest = max(waits.items(), key=lambda item: item[1])
        exposed, hidden = (sum(sum(phase[key]) for phase in phases) / 3 for key in ("exposed_seconds", "hidden_seconds"))
        (line,) = lines["a rank waited"]
        self.assertTrue(line.startswith(f"a rank waited {exposed:.3f} s"), line)
        self.assertIn(f"hidden behind work {hidden:.3f} s", line)
        self.assertTrue(line.endswith(f"longest, rank {waiting} for rank {other}: {longest:.3f} s"), line)

    def test_one_rank_and_quiet_say_nothing(self):
        for ranks, options in ((1, []), (2, ["--quiet"])):
            _, lines = self.lines(ranks, *options)
            self.assertEqual([len(found) for found in lines.values()], [0] * 5)

    def test_dropped_experts_are_not_called_compressed(self):
        _, lines = self.lines(2, "--truncated", 3)
        self.assertIn("1 of 4 experts per token in full, 3 dropped", lines["traffic"][0])

    def test_a_file_that_cannot_be_written(self):
        done = cemoe.run("score", "--model", cemoe.MODEL, "--file", self.write("text", "Some words of text"),
                         "--traffic", self.dir / "no/such/file", ranks=2)
        self.assertEqual(done.code, 1)
        self.assertIn("no/such/file", done.err)


if __name__ == "__main__":
    cemoe.main()
