#!/usr/bin/env python3
"""Standard streams that are closed, full or shared with a library's warnings, and files that are none."""

import json
import os
import subprocess

import cemoe

REQUESTS = "".join(json.dumps({"id": f"q{i}", "type": "loglikelihood", "context": f"{i} boats", "continuation": " here"}) + "\n"
                   for i in range(8))


def redirected(arguments, streams, **extra):
    """`cemoe ARGUMENTS STREAMS`, with STREAMS as a shell has them."""
    return cemoe.Run(subprocess.run(["bash", "-c", f'"$@" {streams}', "bash", cemoe.BINARY, *map(str, arguments)],
                                    stdin=subprocess.DEVNULL, capture_output=True, env=cemoe.environment(extra),
                                    timeout=cemoe.SECONDS, check=False))


class Streams(cemoe.TestCase):
    def evaluate(self, name, streams):
        """A job with `streams`; its files by name, without the times in them."""
        out = self.dir / name
        done = redirected(["eval", "--model", cemoe.MODEL, "--requests", self.requests, "--out", out, "--json", "--verbose"], streams)
        self.assertEqual(done.code, 0, (streams, done.err))
        self.assertEqual(cemoe.run("eval", "--status", "--out", out).code, 0, streams)
        samples = list(out.glob("samples_*"))
        self.assertEqual(len(samples), 1)
        return (out / "journal.pb").read_bytes(), samples[0].read_bytes()

    def test_closed_streams_harm_no_file(self):
        self.requests = self.write("requests.jsonl", REQUESTS)
        _, samples = self.evaluate("open", "")
        for i, streams in enumerate(["<&- 2>&-", "<&- >&-", "<&- >&- 2>&-", ">&-"]):
            with self.subTest(streams):
                journal, there = self.evaluate(f"closed{i}", streams)
                self.assertEqual(there, samples)
                for text in (b"cemoe:", b"results"):
                    self.assertNotIn(text, journal)

    def test_results_that_cannot_be_written_are_a_failure(self):
        for arguments in (["--version"], ["inspect", "--help"], ["man"], ["inspect", "--model", cemoe.MODEL],
                          ["inspect", "--model", cemoe.MODEL, "--json"],
                          ["tokenize", "--model", cemoe.MODEL, "--file", cemoe.MODEL / "eval/math.txt", "--json"],
                          ["generate", "--model", cemoe.MODEL, "--prompt", "hi", "--max-tokens", 3, "--quiet"]):
            with self.subTest(arguments):
                done = redirected(arguments, ">/dev/full")
                self.assertEqual(done.code, 1, done.err)
                self.assertEqual(len(done.ours), 1, done.err)
                self.assertIn("cannot be written", done.ours[0])

    def test_a_reader_that_leaves_does_not_end_a_job(self):
        stats = self.dir / "stats.json"
        done = redirected(["generate", "--model", cemoe.MODEL, "--prompt", "hi", "--max-tokens", 3, "--quiet", "--stats", stats],
                          "> >(exec true); exit $?")
        if done.code != 0:  # else the pipe took the few bytes before its reader left
            self.assertEqual(done.code, 1, done.err)
            self.assertIn("Broken pipe", done.err)
        self.assertTrue(stats.exists())

    def test_what_ucx_prints_is_log(self):
        done = self.assert_done(cemoe.run("generate", "--model", cemoe.MODEL, "--prompt", "hi", "--max-tokens", 3, "--json", "--quiet",
                                          ranks=2, UCX_TLS="shm,self,tcp,nosuch", UCX_NOT_THERE="1"))
        self.assertEqual(len(done.json()["results"]), 1)
        self.assertIn("UCX", done.err)


class NoFiles(cemoe.TestCase):
    """A FIFO without a writer, which an open would wait for, wherever a file is read or written."""

    def setUp(self):
        super().setUp()
        self.fifo = self.dir / "fifo.jsonl"
        os.mkfifo(self.fifo)

    def assert_refused(self, *arguments, name=None, **options):
        with self.subTest(arguments):
            done = cemoe.run(*arguments, **options)
            self.assertEqual(done.code, 1, done.err)
            self.assertIn("not a regular file", done.err)
            self.assertIn(str(name or self.fifo), done.err)

    def model_with(self, name):
        model = self.copy_model()
        (model / name).unlink(missing_ok=True)
        os.mkfifo(model / name)
        return model

    def test_in_a_model(self):
        for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json", "model.safetensors"):
            self.assert_refused("generate", "--model", self.model_with(name), "--prompt", "hi", "--max-tokens", 2, name=name)
        packed = self.dir / "packed"
        self.assert_done(cemoe.run("pack", "--model", cemoe.MODEL, "--out", packed))
        weights = next(packed.glob("*.cemoe"))
        weights.unlink()
        os.mkfifo(weights)
        self.assert_refused("generate", "--model", packed, "--prompt", "hi", "--max-tokens", 2, name=weights.name)
        self.assert_refused("generate", "--model", self.model_with("config.json"), "--prompt", "hi", ranks=2, name="config.json")

    def test_as_the_value_of_an_option(self):
        generate = ["generate", "--model", cemoe.MODEL, "--prompt", "hi", "--max-tokens", 2]
        text = cemoe.MODEL / "heldout/math.txt"
        for option in ("--prompt-file", "--prompt-lines", "--placement", "--compressed-experts", "--stats", "--traffic"):
            self.assert_refused(*generate, option, self.fifo)
        self.assert_refused("score", "--model", cemoe.MODEL, "--file", self.fifo)
        self.assert_refused("tokenize", "--model", cemoe.MODEL, "--file", self.fifo)
        self.assert_refused("compare", "--model", cemoe.MODEL, "--data", self.fifo, "--out", self.dir / "c")
        self.assert_refused("compare", "--model", cemoe.MODEL, "--data", text, "--compressed-experts", self.fifo, "--out", self.dir / "c")
        self.assert_refused("calibrate", "--model", cemoe.MODEL, "--data", self.fifo, "--compressed", 2, "--rank", 4,
                            "--out", self.dir / "ces.safetensors")

    def test_in_an_evaluation(self):
        task = json.loads((cemoe.ROOT / "deploy/tasks/cemoe_answer.json").read_text())
        requests = self.write("requests.jsonl", REQUESTS)
        evaluate = ["eval", "--model", cemoe.MODEL]
        for option in ("--requests", "--openai-batch", "--tasks"):
            self.assert_refused(*evaluate, option, self.fifo, "--out", self.dir / "e")
        for documents in (self.fifo, "/dev/zero"):
            path = self.write("task.json", json.dumps({**task, "documents": str(documents)}))
            self.assert_refused(*evaluate, "--tasks", path, "--out", self.dir / "e", name=documents)
        for name in ("journal.pb", "journal.lock"):
            out = self.dir / f"e-{name}"
            out.mkdir()
            os.mkfifo(out / name)
            self.assert_refused(*evaluate, "--requests", requests, "--out", out, name=name)

    def test_a_pipe_of_the_shell_is_input(self):
        done = redirected(["generate", "--model", cemoe.MODEL, "--max-tokens", 3, "--json", "--quiet"], "--prompt-file <(printf hi)")
        self.assert_done(done)
        self.assertEqual(done.json()["results"][0]["prompt"], "hi")


if __name__ == "__main__":
    cemoe.main()
