#!/usr/bin/env python3
"""cemoe plan and --placement: files are made, shown and used; what does not fit is refused."""

import json
import shutil

import cemoe

LAYERS, EXPERTS = 4, 16
EXPERT_BYTES = 3 * 128 * 64 * 2


def plan(*arguments):
    done = cemoe.run("plan", *arguments, "--json")
    assert done.code == 0, done.err
    return done.json()


def make(*arguments):
    return plan("--model", cemoe.MODEL, *arguments)


class Plan(cemoe.TestCase):
    def assert_valid(self, document, most=1):
        """Owners are there, ascending, in range; the sums of the ranks are theirs."""
        ranks = document["ranks"]
        self.assertEqual((document["layers"], document["experts"]), (LAYERS, EXPERTS))
        self.assertEqual([len(layer) for layer in document["owners"]], [EXPERTS] * LAYERS)
        lists = [owners for layer in document["owners"] for owners in layer]
        for owners in lists:
            self.assertTrue(1 <= len(owners) <= most, owners)
            self.assertEqual(owners, sorted(set(owners)))
            self.assertTrue(0 <= owners[0] and owners[-1] < ranks, owners)
        self.assertEqual(document["copies"], sum(map(len, lists)))
        self.assertEqual([share["rank"] for share in document["per_rank"]], list(range(ranks)))
        for share in document["per_rank"]:
            mine = [[share["rank"] in owners for owners in layer] for layer in document["owners"]]
            self.assertEqual(share["experts"], sum(map(sum, mine)))
            self.assertEqual((share["experts_min"], share["experts_max"]), (min(map(sum, mine)), max(map(sum, mine))))
            self.assertEqual(share["replicated"], sum(share["rank"] in o and len(o) > 1 for o in lists))
            self.assertIn(share["bytes"], (None, share["experts"] * EXPERT_BYTES))

    def test_built_in_placements(self):
        for ranks in (1, 3, 5, 20):
            document = make("--ranks", ranks)
            self.assert_valid(document)
            self.assertEqual(document["name"], "contiguous")
            self.assertEqual([owner for owner, in document["owners"][1]],
                             sorted(owner for owner, in document["owners"][1]))
            strided = make("--ranks", ranks, "--placement", "strided")
            self.assert_valid(strided)
            self.assertEqual(strided["owners"], [[[e % ranks] for e in range(EXPERTS)]] * LAYERS)
            self.assertEqual(document["hash"] == strided["hash"], ranks in (1,), ranks)

    def test_bytes_are_those_that_inspect_gives(self):
        memory = cemoe.run("inspect", "--model", cemoe.MODEL, "--ranks", 3, "--json").json()["memory"]
        shares = [share["bytes"] for share in make("--ranks", 3)["per_rank"]]
        self.assertEqual((min(shares), max(shares)), (memory["expert_bytes_min"], memory["expert_bytes_max"]))

    def test_replicas(self):
        document = make("--ranks", 4, "--replicas", 2)
        self.assert_valid(document, 2)
        self.assertEqual(document["owners"][0][:8], [[0, 2]] * 4 + [[1, 3]] * 4)
        self.assertEqual(document["copies"], 2 * LAYERS * EXPERTS)
        self.assertEqual(document["name"], "contiguous, 2 replicas")

    def test_random(self):
        document = make("--ranks", 5, "--random", 3, "--replicas", 3)
        self.assert_valid(document, 3)
        self.assertEqual({len(owners) for layer in document["owners"] for owners in layer}, {1, 2, 3})
        self.assertNotEqual(document["owners"][0], document["owners"][1])
        self.assertEqual(document, make("--ranks", 5, "--random", 3, "--replicas", 3))
        self.assertNotEqual(document["owners"], make("--ranks", 5, "--random", 4, "--replicas", 3)["owners"])

    def test_what_is_written_is_shown(self):
        file = self.dir / "placement"
        made = make("--ranks", 3, "--random", 1, "--replicas", 2, "--out", file)
        self.assertEqual(plan("--show", file, "--model", cemoe.MODEL), made)
        without = plan("--show", file)
        self.assertEqual({share["bytes"] for share in without["per_rank"]}, {None})
        self.assertEqual(without["owners"], made["owners"])

    def test_tables_for_people(self):
        file = self.dir / "placement"
        done = self.assert_done(cemoe.run("plan", "--model", cemoe.MODEL, "--ranks", 3, "--out", file))
        self.assertEqual(done.err, "")
        for words in ("contiguous: 4 layers with 16 experts on 3 ranks, 1.00 copies", "MiB", "3.00\n"):
            self.assertIn(words, done.out)
        self.assertNotIn("MiB", self.assert_done(cemoe.run("plan", "--show", file)).out)

    def test_config_alone_is_enough(self):
        shutil.copy(cemoe.MODEL / "config.json", self.dir)
        self.assertEqual(plan("--model", self.dir, "--ranks", 3), make("--ranks", 3))

    def test_one_process_of_a_job_answers(self):
        if shutil.which("mpirun") is None:
            self.skipTest("no mpirun")
        done = self.assert_done(cemoe.run("plan", "--model", cemoe.MODEL, "--ranks", 3, "--json", ranks=2))
        self.assertEqual(done.json(), make("--ranks", 3))


class Refused(cemoe.TestCase):
    def assert_failure(self, code, arguments, *parts):
        with self.subTest(" ".join(map(str, arguments))):
            done = cemoe.run(*arguments)
            self.assertEqual(done.code, code, done.err)
            self.assertEqual(done.raw, b"")
            self.assertEqual(len(done.err.splitlines()), 1, done.err)
            for part in parts:
                self.assertIn(str(part), done.err)

    def test_usage(self):
        model = ["--model", cemoe.MODEL]
        for arguments in ([], model, ["--ranks", 3]):
            self.assert_failure(2, ["plan", *arguments], "--model", "--ranks", "--show")
        self.assert_failure(2, ["plan", *model, "--ranks", 3, "--random", 1, "--placement", "strided"], "--random",
                            "--placement")
        for arguments in (["--ranks", 3], ["--out", "x"], ["--random", 1], ["--replicas", 2], ["--placement", "strided"]):
            self.assert_failure(2, ["plan", "--show", "x", *arguments], "--show")
        self.assert_failure(2, ["plan", *model, "--ranks", 3, "--placement", "round"], "contiguous", "strided")

    def test_more_replicas_than_ranks(self):
        self.assert_failure(1, ["plan", "--model", cemoe.MODEL, "--ranks", 3, "--replicas", 4], "4 replicas", "3 rank")

    def test_files_that_are_no_placements(self):
        whole = self.dir / "whole"
        make("--ranks", 1, "--out", whole)
        torn = self.write("torn", whole.read_bytes()[:-3])
        damaged = self.write("damaged", whole.read_bytes()[:-1] + b"\x07")
        for file, words in ((torn, "cut short"), (damaged, "checksum"), (self.write("empty", b""), "format"),
                            (self.dir / "none", "No such file")):
            self.assert_failure(1, ["plan", "--show", file], file, words)
            self.assert_failure(1, ["generate", "--model", cemoe.MODEL, "--prompt", "a", "--placement", file], file, words)

    def test_files_for_something_else(self):
        file = self.dir / "placement"
        make("--ranks", 3, "--out", file)
        self.assert_failure(1, ["generate", "--model", cemoe.MODEL, "--prompt", "a", "--placement", file], file,
                            "4 layers with 16 experts on 3 rank", "1 rank", "cemoe plan --model DIR --ranks 1 --out FILE")
        shutil.copy(cemoe.MODEL / "config.json", self.dir)
        cemoe.edit_json(self.dir / "config.json", num_experts=8)
        self.assert_failure(1, ["plan", "--show", file, "--model", self.dir], file, "16 experts", "8 experts")


class Used(cemoe.TestCase):
    def test_by_every_command_that_runs_a_model(self):
        file = self.dir / "placement"
        make("--ranks", 1, "--placement", "strided", "--out", file)
        text = self.write("text", "Question: 2 + 2?")
        commands = [
            ["generate", "--prompt", "a", "--max-tokens", 2],
            ["score", "--file", text],
            ["logits", "--ids", "1,2", "--out", self.dir / "logits"],
            ["bench", "step", "--dummy-weights", 1, "--prompt-tokens", 4, "--decode-steps", 1, "--repeat", 1,
             "--read-bytes", 0],
        ]
        for command in commands:
            with self.subTest(command[0]):
                done = self.assert_done(cemoe.run(*command, "--model", cemoe.MODEL, "--placement", file))
                self.assertIn("placement strided", done.err)

    def test_text_does_not_depend_on_it(self):
        if shutil.which("mpirun") is None:
            self.skipTest("no mpirun")
        file = self.dir / "placement"
        document = make("--ranks", 2, "--random", 2, "--replicas", 2, "--out", file)
        command = ["generate", "--model", cemoe.MODEL, "--prompt", "Question: A", "--max-tokens", 8]
        stats = self.dir / "stats.json"
        alone = self.assert_done(cemoe.run(*command)).raw
        done = self.assert_done(cemoe.run(*command, "--placement", file, "--stats", stats, ranks=2))
        self.assertEqual(done.raw, alone)
        report = json.loads(stats.read_text())
        self.assertEqual(report["placement"], "random 2, 1 to 2 replicas")
        self.assertEqual([rank["expert_bytes"] for rank in report["ranks"]],
                         [share["bytes"] for share in document["per_rank"]])


if __name__ == "__main__":
    cemoe.main()
