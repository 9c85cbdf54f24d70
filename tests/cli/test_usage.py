#!/usr/bin/env python3
"""Help, version and wrong usage of every command."""

import cemoe

MODEL_OPTIONS = ["--model", "--compressed", "--compressed-experts", "--truncated"]
RUN_OPTIONS = ["--transport", "--placement", "--deadline-ms", "--step-tokens", "--cache-tokens", "--stats", "--quiet",
               "--verbose"]
OPTIONS = {
    "generate": [*MODEL_OPTIONS, *RUN_OPTIONS, "--prompt", "--prompt-file", "--max-tokens", "--temperature", "--top-k",
                 "--top-p", "--seed", "--json"],
    "score": [*MODEL_OPTIONS, *RUN_OPTIONS, "--file", "--window", "--json"],
    "logits": [*MODEL_OPTIONS, *RUN_OPTIONS, "--ids", "--out"],
    "inspect": ["--model", "--ranks", "--compressed", "--compressed-experts", "--json"],
    "plan": ["--model", "--ranks", "--placement", "--random", "--replicas", "--out", "--show", "--json"],
    "tokenize": ["--model", "--text", "--file", "--decode", "--plain-specials", "--pieces", "--json"],
    "bench step": [*MODEL_OPTIONS, *RUN_OPTIONS, "--dummy-weights", "--batch", "--read-bytes", "--json"],
    "bench schedule": [*MODEL_OPTIONS, *RUN_OPTIONS, "--dummy-weights", "--items", "--seed", "--max-sequences", "--json"],
    "bench kernels": ["--model", "--rows", "--positions", "--repeat", "--sample-ms", "--read-bytes", "--json"],
}


class Help(cemoe.TestCase):
    def test_program(self):
        done = self.assert_done(cemoe.run("--help"))
        self.assertEqual(done.err, "")
        for command in cemoe.COMMANDS:
            self.assertIn(f"\n  {command} ", done.out)

    def test_every_command_mentions_every_option(self):
        for command, options in OPTIONS.items():
            with self.subTest(command):
                done = self.assert_done(cemoe.run(*command.split(), "--help"))
                self.assertEqual(done.err, "")
                words = done.out.replace(",", " ").replace("--[no-]", "--").split()
                for option in [*options, "--help", "--version"]:
                    self.assertIn(option, words)
                self.assertIn("Usage:", done.out)
                self.assertLessEqual(max(map(len, done.out.split("\nExamples:")[0].splitlines())), 80)
                self.assertEqual(done.out, cemoe.run("help", *command.split()).out)

    def test_help_wins_over_what_is_missing_or_wrong(self):
        self.assert_done(cemoe.run("generate", "--model", "/nowhere", "--help"))

    def test_man_page_and_completion(self):
        page = self.assert_done(cemoe.run("man")).out
        self.assertTrue(page.startswith((".TH", ".\\\"", "'\\\"")), page[:40])
        self.assertIn("--max-tokens", self.assert_done(cemoe.run("completion")).out)


class Version(cemoe.TestCase):
    def test_is_the_same_everywhere(self):
        line = self.assert_done(cemoe.run("--version")).out
        self.assertRegex(line, r"^cemoe \d+\.\d+\.\d+\n$")
        for command in cemoe.COMMANDS:
            with self.subTest(command):
                self.assertEqual(self.assert_done(cemoe.run(*command.split(), "--version")).out, line)


class WrongUsage(cemoe.TestCase):
    def assert_usage(self, arguments, *parts, stdin=b""):
        with self.subTest(" ".join(map(str, arguments))):
            done = cemoe.run(*arguments, stdin=stdin)
            self.assertEqual(done.code, 2, done.err)
            self.assertEqual(done.raw, b"")
            self.assertEqual(len(done.err.splitlines()), 1, done.err)
            for part in parts:
                self.assertIn(part, done.err)

    def test_commands(self):
        self.assert_usage([], "no command", "--help")
        self.assert_usage(["generat"], "unknown command generat", "generate")
        self.assert_usage(["tokenise"], "tokenize")
        self.assert_usage(["--frobnicate"], "--frobnicate")

    def test_unknown_options_suggest_the_nearest(self):
        model = ["--model", cemoe.MODEL]
        self.assert_usage(["generate", *model, "--max-token", "3"], "--max-token", "did you mean --max-tokens?")
        self.assert_usage(["score", *model, "--flie", "x"], "did you mean --file?")
        self.assert_usage(["inspect", *model, "--rank=3"], "did you mean --ranks?")
        self.assert_usage(["tokenize", *model, "--jsn"], "did you mean --json?")
        self.assert_usage(["logits", *model, "--id", "1"], "did you mean --ids?")
        self.assert_usage(["inspect", *model, "--zzzzzz"], "--zzzzzz", "--help")

    def test_values(self):
        model = ["--model", cemoe.MODEL]
        self.assert_usage(["generate", *model, "--max-tokens", "many"], "--max-tokens", "many")
        self.assert_usage(["generate", *model, "--max-tokens"], "--max-tokens wants N")
        self.assert_usage(["generate", *model, "--temperature", "-1"], "--temperature", "-1")
        self.assert_usage(["generate", *model, "--compressed", "-1"], "--compressed", "-1")
        self.assert_usage(["generate", *model, "--transport", "pigeon"], "--transport", "pigeon", "mpi")
        self.assert_usage(["score", *model, "--window", "1"], "--window")
        self.assert_usage(["inspect", *model, "--ranks", "0"], "--ranks")
        self.assert_usage(["inspect", *model, "superfluous"], "superfluous")

    def test_faults_for_tests(self):
        for value in ("", "stop", "stop:0:0:0:nowhere", "stops:0:1:0:embed", "stop:0:-1:0:embed", "stop:0:1:0:embed:",
                      "stop:0::0:embed", "stop:0:1:99999999999999999999:embed"):
            with self.subTest(value):
                done = cemoe.run("inspect", "--model", cemoe.MODEL, CEMOE_TEST_FAULT=value)
                self.assertEqual(done.code, 2)
                self.assertEqual(done.out, "")
                self.assertIn(f"CEMOE_TEST_FAULT={value} is not", done.err)

    def test_what_is_required(self):
        self.assert_usage(["inspect"], "--model DIR is required")
        self.assert_usage(["score", "--model", cemoe.MODEL], "--file FILE is required")
        self.assert_usage(["logits", "--model", cemoe.MODEL, "--ids", "1"], "--out FILE is required")

    def test_tokenize_wants_one_source(self):
        model = ["tokenize", "--model", cemoe.MODEL]
        for sources in ([], ["--text", "a", "--decode", "1"], ["--text", "a", "--file", "-"]):
            self.assert_usage([*model, *sources], "--text", "--file", "--decode")
        for ids in ("", "1,", "1;2", "x", "-1", "99999999999"):
            self.assert_usage([*model, f"--decode={ids}"], "--decode")


if __name__ == "__main__":
    cemoe.main()
