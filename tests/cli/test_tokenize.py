#!/usr/bin/env python3
"""cemoe tokenize: text to ids and back, needing only tokenizer.json."""

import json
import shutil

import cemoe

GOLDENS = [json.loads(line) for line in (cemoe.MODEL / "tokenizer_goldens.jsonl").read_text().splitlines()]


class Tokenize(cemoe.TestCase):
    def setUp(self):
        super().setUp()
        self.model = self.dir / "tokenizer-only"
        self.model.mkdir()
        shutil.copy(cemoe.MODEL / "tokenizer.json", self.model)

    def tokenize(self, *arguments, **extra):
        return self.assert_done(cemoe.run("tokenize", "--model", self.model, *arguments, **extra))

    def test_text_and_file_and_stdin_agree_with_the_goldens(self):
        for golden in GOLDENS[:: max(1, len(GOLDENS) // 8)]:
            text = golden["text"]
            with self.subTest(text):
                wanted = {"ids": golden["ids"]}
                file = self.write("text", text)
                self.assertEqual(self.tokenize("--file", file, "--json").json(), wanted)
                self.assertEqual(self.tokenize("--file", "-", "--json", stdin=text.encode()).json(), wanted)
                if "\0" not in text:
                    self.assertEqual(self.tokenize(f"--text={text}", "--json").json(), wanted)

    def test_files_of_other_systems(self):
        wanted = self.tokenize("--text", "Two\nexperts\n", "--json").json()
        for data in (b"\xef\xbb\xbfTwo\r\nexperts\r\n", b"Two\rexperts\r"):
            self.assertEqual(self.tokenize("--file", self.write("text", data), "--json").json(), wanted)

    def test_decode_gives_the_text_back(self):
        text = "Two  experts, été,\n日本 \U0001F600"
        ids = ",".join(map(str, self.tokenize("--text", text, "--json").json()["ids"]))
        self.assertEqual(self.tokenize("--decode", ids).raw, text.encode() + b"\n")
        self.assertEqual(self.tokenize("--decode", ids, "--json").json(), {"text": text})

    def test_nothing_is_no_ids(self):
        self.assertEqual(self.tokenize("--text", "", "--json").json(), {"ids": []})
        self.assertEqual(self.tokenize("--text", "").out, "\n")

    def test_special_tokens(self):
        text = "a<|endoftext|>b"
        ids = self.tokenize("--text", text, "--json").json()["ids"]
        self.assertIn(0, ids)
        self.assertEqual(self.tokenize("--decode", ",".join(map(str, ids))).out, text + "\n")
        plain = self.tokenize("--text", text, "--json", "--plain-specials").json()["ids"]
        self.assertNotIn(0, plain)
        self.assertEqual(self.tokenize("--decode", ",".join(map(str, plain))).out, text + "\n")

    def test_readable_forms(self):
        ids = self.tokenize("--text", "Question: James", "--json").json()["ids"]
        self.assertEqual(self.tokenize("--text", "Question: James").out.split(), list(map(str, ids)))
        lines = self.tokenize("--text", "Question: James", "--pieces").out.splitlines()
        self.assertEqual([int(line.split()[0]) for line in lines], ids)
        self.assertEqual("".join(json.loads(line.split(None, 1)[1]) for line in lines), "Question: James")
        both = self.tokenize("--text", "Question: James", "--pieces", "--json").json()
        self.assertEqual(both["ids"], ids)
        self.assertEqual("".join(both["pieces"]), "Question: James")
        decoded = self.tokenize("--decode", ",".join(map(str, ids)), "--pieces", "--json").json()
        self.assertEqual(decoded, {"text": "Question: James", **both})

    def test_one_process_of_a_job_answers(self):
        if shutil.which("mpirun") is None:
            self.skipTest("no mpirun")
        alone = self.tokenize("--text", "a b", "--json").raw
        self.assertEqual(self.tokenize("--text", "a b", "--json", ranks=2).raw, alone)


class BadInput(cemoe.TestCase):
    def assert_failure(self, arguments, *parts, stdin=b""):
        with self.subTest(" ".join(map(str, arguments))):
            done = cemoe.run("tokenize", *arguments, stdin=stdin)
            self.assertEqual(done.code, 1, done.err)
            self.assertEqual(done.raw, b"")
            self.assertEqual(len(done.err.splitlines()), 1, done.err)
            for part in parts:
                self.assertIn(part, done.err)

    def test_files(self):
        self.assert_failure(["--model", self.dir, "--text", "a"], f"{self.dir}/tokenizer.json")
        self.assert_failure(["--model", cemoe.MODEL, "--file", self.dir / "none"], f"{self.dir}/none")
        document = json.loads((cemoe.MODEL / "tokenizer.json").read_text())
        document["model"]["type"] = "Unigram"
        self.write("tokenizer.json", json.dumps(document))
        self.assert_failure(["--model", self.dir, "--text", "a"], "tokenizer.json", "Unigram")
        self.write("tokenizer.json", "{")
        self.assert_failure(["--model", self.dir, "--text", "a"], "tokenizer.json", "line 1")

    def test_text_that_is_not_utf8(self):
        file = self.write("broken", b"ab\xff")
        self.assert_failure(["--model", cemoe.MODEL, "--file", file], str(file), "UTF-8", "byte 2")
        self.assert_failure(["--model", cemoe.MODEL, "--file", "-"], "UTF-8", "byte 0", stdin=b"\xc3")

    def test_a_file_of_another_encoding(self):
        file = self.write("wide", "Two".encode("utf-16"))
        self.assert_failure(["--model", cemoe.MODEL, "--file", file], str(file), "UTF-16")

    def test_an_id_outside_the_vocabulary(self):
        self.assert_failure(["--model", cemoe.MODEL, "--decode", "1,2048"], "--decode", "2048")


if __name__ == "__main__":
    cemoe.main()
