#!/usr/bin/env python3
"""An evaluation ends with the same files however it came about: on any ranks, in any steps, killed or not."""

import json
import os
import pathlib
import random
import signal
import subprocess
import time
import unittest

import cemoe

TASKS = ["--tasks", "cemoe_arithmetic", "cemoe_answer", "cemoe_text_math", "--limit", 6]
SLOW = ["--tasks", "cemoe_arithmetic", "cemoe_answer", "cemoe_text",  # hundreds of steps of one sequence
        *(["--limit", 40] if cemoe.SANITIZED else [])]
TABLES = cemoe.MODEL / "ces-math.safetensors"
REQUESTS = """\
{"id": "a", "type": "loglikelihood", "context": "1 + 1 =", "continuation": " 2"}
{"id": "b", "type": "loglikelihood_rolling", "text": "A whole text, longer than a window."}
{"id": "c", "type": "generate_until", "context": "Question: 1 + 1?\\nAnswer:", "until": ["\\n"], "max_gen_toks": 12}
{"id": "d", "type": "generate_until", "context": "Once", "max_gen_toks": 9, "temperature": 0.8, "seed": 3}
"""
BATCH = """\
{"custom_id": "x", "method": "POST", "url": "/v1/completions", "body": {"model": "m", "prompt": ["1 +", "2 +"], "max_tokens": 4}}
{"custom_id": "bad", "method": "POST", "url": "/v1/completions", "body": {"model": "m", "prompt": "1", "logprobs": 3}}
{"custom_id": "y", "method": "POST", "url": "/v1/completions", "body": {"model": "m", "prompt": "3 +", "temperature": 0, "stop": "="}}
"""


def line(out, *arguments):
    return ["eval", "--model", cemoe.MODEL, "--out", out, *arguments]


def final_files(out):
    """Names without the time, and contents without it, of all files that must not depend on the run."""
    files = {}
    for path in sorted(pathlib.Path(out).rglob("*")):
        if path.is_dir() or path.name.startswith(("journal.", "run_")):
            continue
        files[str(path.relative_to(out))] = path.read_bytes()
    return files


def without_time(files):
    """Of two jobs that began at different times: the time is in names and in results_*.json."""
    plain = {}
    for name, content in files.items():
        stamp = name.rsplit(".", 1)[0][-26:] if name.split("/")[-1].startswith(("results_", "samples_", "comparison_")) else ""
        if name.split("/")[-1].startswith("results_") and name.endswith(".json"):
            content = json.loads(content)
            content.pop("date", None)
        plain[name.replace(stamp, "TIME") if stamp else name] = content
    return plain


class EvalCase(cemoe.TestCase):
    def start(self, out, *arguments, ranks=1, **extra):
        """A job in the background, in a process group of its own."""
        command = [cemoe.BINARY, *line(out, *arguments)]
        if ranks > 1:
            command = [cemoe.MPIRUN, ranks, *command]
        job = subprocess.Popen([*map(str, command)], env=cemoe.environment(extra), stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, start_new_session=True)
        self.addCleanup(self.end, job)
        return job

    @staticmethod
    def end(job):
        if job.poll() is None:
            os.killpg(job.pid, signal.SIGKILL)
        job.communicate()

    @staticmethod
    def ranks_of(out):
        """The processes of the program itself, without its launchers."""
        found = []
        for process in cemoe.processes_with(str(out)):
            try:
                if (pathlib.Path("/proc") / process / "comm").read_text().strip() == "cemoe":
                    found.append(int(process))
            except OSError:
                pass  # it has just ended
        return found

    def wait_for_answers(self, job, out, least=200):
        """Until the journal has some bytes of answers; False when the job ended before."""
        journal = pathlib.Path(out) / "journal.pb"
        limit = time.monotonic() + 30
        begin = None
        while time.monotonic() < limit:
            size = journal.stat().st_size if journal.exists() else 0
            begin = size if begin is None and size else begin
            if begin and size >= begin + least:
                return True
            if job.poll() is not None:
                return False
            time.sleep(0.005)
        self.fail("the job does not get on")

    def state(self, out):
        done = cemoe.run("eval", "--status", "--out", out, "--json")
        return done.code, (done.json() if done.raw else None)

    def finish(self, out, *arguments, **keywords):
        return self.assert_done(cemoe.run(*line(out, *arguments), "--quiet", **keywords))


class SameFiles(EvalCase):
    def setUp(self):
        super().setUp()
        self.requests = self.write("requests.jsonl", REQUESTS)
        self.batch = self.write("batch.jsonl", BATCH)
        self.job = [*TASKS, "--requests", self.requests, "--openai-batch", self.batch]

    def test_ranks_steps_and_sequences(self):
        wanted = self.finish(self.dir / "one", *self.job)
        self.assertIn("cemoe_arithmetic", wanted.out)
        files = without_time(final_files(self.dir / "one"))
        self.assertEqual(sorted(name.split("_TIME")[0] for name in files),
                         ["batch_output.jsonl", "results", "results", "samples_cemoe_answer",
                          "samples_cemoe_arithmetic", "samples_cemoe_text_math", "samples_requests"])
        ways = [(3, ["--step-tokens", 37]), (1, ["--max-sequences", 2, "--cache-tokens", 1100]),
                (2, ["--no-share-prefixes", "--transport", "mpi"])]
        for ranks, options in ways[:1] if cemoe.QUICK else ways:
            with self.subTest(ranks):
                out = self.dir / f"n{ranks}"
                done = self.finish(out, *self.job, *options, ranks=ranks)
                self.assertEqual(done.raw, wanted.raw)
                self.assertEqual(without_time(final_files(out)), files)

    def test_a_complete_job_is_only_written_again(self):
        first = self.finish(self.dir / "out", *TASKS)
        files = final_files(self.dir / "out")
        for name in list(files)[:2]:
            (self.dir / "out" / name).unlink()
        if not list((self.dir / "out").glob("results_*.json")):
            self.assertEqual(self.state(self.dir / "out")[0], 4)
        again = self.finish(self.dir / "out", *TASKS)
        self.assertEqual((again.raw, final_files(self.dir / "out")), (first.raw, files))
        self.assertEqual(self.state(self.dir / "out")[0], 0)

    def test_answers(self):
        self.finish(self.dir / "out", *self.job)
        lines = [json.loads(text) for text in (self.dir / "out/batch_output.jsonl").read_text().splitlines()]
        self.assertEqual([answer["custom_id"] for answer in lines], ["x", "bad", "y"])
        self.assertEqual([answer["response"]["status_code"] for answer in lines], [200, 400, 200])
        self.assertEqual(len(lines[0]["response"]["body"]["choices"]), 2)
        self.assertNotIn("=", lines[2]["response"]["body"]["choices"][0]["text"])
        samples = next((self.dir / "out").glob("samples_requests_*")).read_text().splitlines()
        self.assertEqual(len(samples), 4)
        run = json.loads(next((self.dir / "out").glob("run_*.json")).read_text())["runs"]
        self.assertEqual([entry["ranks"] for entry in run], [1])


class Score(EvalCase):
    def test_as_cemoe_score(self):
        """The log-likelihood of a text is that of `cemoe score`, with the prefix token before it."""
        config = json.loads((cemoe.MODEL / "tokenizer_config.json").read_text())
        prefix = config.get("bos_token") or config["eos_token"]
        text = (cemoe.MODEL / "eval/math.txt").read_text()[:400]
        requests = self.write("r.jsonl", json.dumps({"id": "a", "type": "loglikelihood_rolling", "text": text}))
        self.finish(self.dir / "out", "--requests", requests)
        sample = json.loads(next((self.dir / "out").glob("samples_r_*")).read_text())
        score = self.assert_done(cemoe.run("score", "--model", cemoe.MODEL, "--file", self.write("t", prefix + text), "--json",
                                           "--window", 1024)).json()
        self.assertAlmostEqual(float(sample["resps"][0][0]), -score["nll"] * score["scored"], delta=1e-9)


class Resume(EvalCase):
    def test_kills(self):
        """kill -9 at random moments, on other ranks each time; mpi.eval.kills does it more often."""
        out, chosen, kills = self.dir / "out", random.Random(7), 0
        slow = [*SLOW, "--max-sequences", 1, "--step-tokens", 3, "--no-share-prefixes"]
        for ranks in (1, 3, 2):
            job = self.start(out, *slow, ranks=ranks)
            if self.wait_for_answers(job, out):
                time.sleep(chosen.random() / 4)
                for process in self.ranks_of(out)[-1:]:
                    os.kill(process, signal.SIGKILL)
            job.wait(timeout=30)
            self.assertEqual(cemoe.wait_until_gone(str(out)), [])
            code, state = self.state(out)
            kills += code == 4 and 0 < state["done"] < state["wanted"]
        self.assertGreater(kills, 0)
        self.finish(out, *SLOW, ranks=2)
        self.finish(self.dir / "straight", *SLOW)
        self.assertEqual(without_time(final_files(out)), without_time(final_files(self.dir / "straight")))

    def test_torn_and_damaged(self):
        out = self.dir / "out"
        self.finish(out, *TASKS)
        files = final_files(out)
        journal = out / "journal.pb"
        whole = journal.read_bytes()
        for damage, said in ((whole[:-5], "journal.pb"), (whole[:-300] + b"\xff" * 7 + whole[-293:], "journal.pb")):
            journal.write_bytes(damage)
            for path in out.glob("*_20*"):
                path.unlink()
            self.assertEqual(self.state(out)[0], 4)
            done = self.assert_done(cemoe.run(*line(out, *TASKS)))
            self.assertIn(said, done.err)
            self.assertIn("warning", done.err)
            self.assertEqual(final_files(out), files)


class Refused(EvalCase):
    def setUp(self):
        super().setUp()
        self.out = self.dir / "out"

    def refused(self, *arguments, code=1, **extra):
        done = cemoe.run(*line(self.out, *arguments), **extra)
        self.assertEqual(done.code, code, done.err)
        self.assertEqual(done.raw, b"")
        self.assertEqual(len(done.ours), 1 if code == 2 else len(done.ours), done.err)
        return done.err

    def test_another_job(self):
        job = ["--tasks", "cemoe_arithmetic", "cemoe_answer", "--limit", 6]
        self.finish(self.out, *job)
        before = {path: path.read_bytes() for path in self.out.iterdir()}
        for arguments, name, extra in (
                (["--wire", "bf16"], "wire", {}), (["--kv", "bf16"], "kv", {}),
                (["--max-length", 100], "maximal length", {}), (["--fewshot", 1], "fewshot", {}),
                (["--weights", "q8"], "weights", {}), ([], "CEMOE_ISA", {"CEMOE_ISA": "ref"}),
                (["--compressed-experts", TABLES], "variant", {}), (["--compressed-experts", cemoe.AFFINE], "variant", {}), (["--limit", 5], "cemoe_arithmetic", {})):
            with self.subTest(name):
                said = self.refused(*job, *arguments, **extra)
                self.assertIn("the journal of another job", said)
                self.assertIn(name, said)
        self.assertIn("begun here already", self.refused(*job, "--no-resume"))
        model = self.copy_model()
        header, data = cemoe.read_safetensors(model / "model.safetensors")
        middle = len(data) // 2  # a byte inside a tensor
        cemoe.write_safetensors(model / "model.safetensors", header,
                                data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1:])
        self.assertIn("model (all bytes) is", self.refused(*job, "--model", model))
        self.assertEqual({path: path.read_bytes() for path in self.out.iterdir()}, before)

    def test_other_compressed_experts(self):
        """Of the same number: the files differ."""
        job = ["--tasks", "cemoe_arithmetic", "--limit", 3, "--compressed-experts"]
        self.finish(self.out, *job, TABLES)
        self.assertIn("compressed experts", self.refused(*job, cemoe.AFFINE))

    def test_second_job(self):
        job = self.start(self.out, *SLOW, "--max-sequences", 1)
        self.assertTrue(self.wait_for_answers(job, self.out))
        os.kill(job.pid, signal.SIGSTOP)
        said = self.refused(*SLOW)
        os.kill(job.pid, signal.SIGCONT)
        self.assertIn(str(job.pid), said)

    def test_usage(self):
        self.assertIn("nothing to do", self.refused(code=2))
        done = cemoe.run("eval", "--out", self.out, "--tasks", "x")
        self.assertEqual(done.code, 2)
        self.assertIn("--model", done.err)
        self.assertIn("--compressed N", self.refused(*TASKS, "--compare"))
        self.assertFalse(self.out.exists())

    def test_bad_input(self):
        first, *rest = REQUESTS.splitlines()
        cases = {
            "not JSON": (first + "\n{", "bad.jsonl"), "missing": ('{"id": "a", "type": "loglikelihood"}', "context"),
            "twice": (first + "\n" + first, "a"), "empty": ("\n", "bad.jsonl"),
            "nothing to score": ('{"id": "a", "type": "loglikelihood", "context": "a", "continuation": ""}', "line 1"),
            "unknown": ('{"id": "a", "type": "loglikelihood", "context": "", "continuation": "b", "best": 1}', "best")}
        for name, (text, said) in cases.items():
            with self.subTest(name):
                self.assertIn(said, self.refused("--requests", self.write("bad.jsonl", text)))
        self.assertIn("cemoe_arithmetic", self.refused("--tasks", "cemoe_arithmetik"))
        self.assertIn("gsm8k_test.jsonl", self.refused("--tasks", "gsm8k", "--data", self.dir))
        self.write("t.json", (cemoe.ROOT / "deploy/tasks/cemoe_answer.json").read_text())
        self.write("cemoe_answer.jsonl", "")
        self.assertIn("cemoe_answer.jsonl", self.refused("--tasks", self.dir / "t.json"))
        self.assertIn("twice", self.refused("--tasks", "cemoe_answer", "cemoe_answer"))
        self.assertIn("--max-length", self.refused(*TASKS, "--max-length", 1 << 20))

    def test_out(self):
        self.out = self.write("file", "")
        self.refused(*TASKS)
        self.assertEqual(cemoe.run("eval", "--status", "--out", self.dir).code, 1)
        self.assertEqual(self.out.read_bytes(), b"")

    def test_dropped_tokens_are_counted(self):
        done = self.assert_done(cemoe.run(*line(self.out, "--tasks", "cemoe_answer", "--limit", 3, "--max-length", 40)))
        self.assertRegex(done.err, r"3 of 3 requests do not fit into 40 tokens and lose \d+ tokens")


@unittest.skipIf(cemoe.SANITIZED, "a job must be met in its middle, and ended in seconds: not under the sanitizers")
class Signals(EvalCase):
    def stop(self, number, ranks, whom="all", *arguments):
        """A job that was signalled while it runs: its exit code and log."""
        out = self.dir / "out"
        job = self.start(out, *SLOW, "--max-sequences", 1, *arguments, ranks=ranks)
        self.assertTrue(self.wait_for_answers(job, out))
        if whom == "all":
            for process in self.ranks_of(out):
                os.kill(process, number)
        else:
            os.kill(job.pid, number)
        _, err = job.communicate(timeout=30)
        return job.returncode, err.decode()

    def test_drain_and_resume(self):
        out = self.dir / "out"
        code, err = self.stop(signal.SIGUSR1, 2)
        self.assertEqual(code, 4, err)
        self.assertRegex(err, r"stopped early: \d+ of \d+ answers are in ")
        code, state = self.state(out)
        self.assertEqual((code, state["state"]), (4, "resumable"))
        self.assertEqual(cemoe.run(*line(out, *SLOW), "--time-limit", 0.05, "--grace", 0).code, 4)
        self.finish(out, *SLOW)
        self.assertEqual(self.state(out)[0], 0)
        runs = json.loads(next(out.glob("run_*.json")).read_text())["runs"]
        self.assertEqual([run["stopped_early"] for run in runs], [True, True, False])

    def test_terminated(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            code, err = self.stop(number, 1)
            self.assertEqual(code, 4, err)
            code, state = self.state(self.dir / "out")
            self.assertEqual(code, 4)
            self.assertGreater(state["done"], 0)

    def test_terminated_launcher(self):
        """mpirun passes it on and kills two seconds later; the code may be its own, the journal counts."""
        code, err = self.stop(signal.SIGTERM, 2, "launcher")
        self.assertNotEqual(code, 0, err)
        self.assertEqual(cemoe.wait_until_gone(str(self.dir)), [])
        code, state = self.state(self.dir / "out")
        self.assertEqual(code, 4)
        self.assertGreater(state["done"], 0)
        self.finish(self.dir / "out", *SLOW)

    def test_a_full_disk(self):
        """Nothing that was recorded before is lost."""
        out = self.dir / "out"
        done = subprocess.run(["bash", "-c", "ulimit -f 8; exec \"$@\"", "-", *map(str, [cemoe.BINARY, *line(out, *SLOW)])],
                              env=cemoe.environment({}), capture_output=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn(b"journal.pb", done.stderr)
        code, state = self.state(out)
        self.assertEqual(code, 4)
        self.assertGreater(state["done"], 0)
        self.finish(out, *SLOW)
        self.assertEqual(self.state(out)[0], 0)


class Compare(EvalCase):
    def compare(self, out, *arguments, **keywords):
        return self.finish(out, *TASKS, "--compare", "--compressed-experts", TABLES, *arguments, **keywords)

    def test_table(self):
        done = self.compare(self.dir / "one")
        for word in ("Full", "Truncated − full", "Recovered", "tokens/s", "moved bytes/token"):
            self.assertIn(word, done.out)
        shown = self.assert_done(cemoe.run("inspect", "--model", cemoe.MODEL, "--compressed", 2, "--json")).json()["parameters"]
        costs = json.loads(next((self.dir / "one").glob("comparison_*.json")).read_text())["costs"]
        for variant, name in (("full", "active_uncompressed"), ("truncated", "active_compressed"), ("compressed", "active_compressed")):
            self.assertEqual(costs[variant], {"active_parameters_millions": shown[name] / 1e6})
        files = without_time(final_files(self.dir / "one"))
        self.compare(self.dir / "three", "--step-tokens", 50, ranks=3)
        self.assertEqual(without_time(final_files(self.dir / "three")), files)
        for variant, options in (("full", []), ("truncated", ["--truncated", 2]),
                                 ("compressed", ["--compressed-experts", TABLES])):
            with self.subTest(variant):
                self.finish(self.dir / variant, *TASKS, *options)
                alone = without_time(final_files(self.dir / variant))
                for name, content in alone.items():
                    if name.startswith("samples_"):
                        self.assertEqual(files[f"{variant}/{name}"], content)

    def test_affine(self):
        job = [*TASKS, "--limit", 4]
        self.finish(self.dir / "all", *job, "--compare", "--compressed-experts", cemoe.AFFINE)
        self.finish(self.dir / "alone", *job, "--compressed-experts", cemoe.AFFINE, "--step-tokens", 50, ranks=2)
        files = without_time(final_files(self.dir / "all"))
        alone = {name: content for name, content in without_time(final_files(self.dir / "alone")).items() if name.startswith("samples_")}
        self.assertGreater(len(alone), 0)
        for name, content in alone.items():
            self.assertEqual(files[f"compressed/{name}"], content)

    def test_resumed(self):
        out = self.dir / "out"
        job = ["--compare", "--compressed-experts", TABLES, *TASKS]
        codes = [cemoe.run(*line(out, *job), "--max-sequences", 1, "--time-limit", 0.6, "--grace", 0).code for _ in range(2)]
        self.assertEqual(set(codes) - {0, 4}, set())
        self.finish(out, *job)
        self.compare(self.dir / "straight")
        self.assertEqual(without_time(final_files(out)), without_time(final_files(self.dir / "straight")))


if __name__ == "__main__":
    cemoe.main()
