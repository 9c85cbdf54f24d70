"""Inputs and situations in which the program was wrong once.

CEMOE_TEST_CASES names a folder with a folder for each case. One with a run.sh is run: `run.sh CEMOE MODEL OUT`, from the
root of the project, with CEMOE and MODEL in the environment; it ends with 0 and does not say NOT YET. Of the others, which
have a README.md and files, the commands are here. A folder of neither kind is an error. CEMOE_CGROUP_LEFT is the program
cgroup_left.c.
"""

import concurrent.futures
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import cemoe

SECONDS = 150  # of one case
AT_ONCE = 2
FIRST = ("job-suspended",)  # the longest: others run beside it

# What these do to a job a second or two after its start must meet it, also on a fast machine: the program runs for a
# seventh of the time.
SLOWLY = ("mmap-cut",)
SLOW = """#!{python}
import os, signal, subprocess, sys, time
program = subprocess.Popen([{binary!r}, *sys.argv[1:]])
while program.poll() is None:
    time.sleep(0.02)
    program.send_signal(signal.SIGSTOP)
    time.sleep(0.12)
    program.send_signal(signal.SIGCONT)
sys.exit(program.returncode if program.returncode >= 0 else 128 - program.returncode)
"""


class Wrong(Exception):
    pass


def demand(holds, *what):
    if not holds:
        raise Wrong(" ".join(str(part) for part in what))


class Case:
    """A case and a folder of its own for what it writes."""

    def __init__(self, folder, out):
        self.folder = folder
        self.out = out

    def run(self, *arguments, stdin=b""):
        """`cemoe ARGUMENTS` on the shipped model."""
        return cemoe.run(*arguments, stdin=stdin)

    def copy_model(self, name, **fields):
        """The shipped model with other fields in its config.json."""
        model = self.out / name
        shutil.copytree(cemoe.MODEL, model)
        config = json.loads((model / "config.json").read_text())
        (model / "config.json").write_text(json.dumps({**config, **fields}))
        return model


# ---- cases without a run.sh, by the names of their folders

def sliding_window(case):
    def generate(name, window):
        model = case.copy_model(name, sliding_window=window)
        return case.run("generate", "--model", model, "--prompt", "Question: A farmer has 3", "--max-tokens", 6, "--json")

    def ids(done):
        return done.json()["results"][0]["ids"] if done.code == 0 else None

    with_window = generate("four", 4)
    refused = with_window.code == 1 and "sliding_window" in with_window.err
    demand(refused or ids(with_window) == [739, 375, 458, 739, 375, 454], with_window.err, with_window.out)
    demand(ids(generate("none", None)) == [739, 375, 458, 281, 777, 375], "null is no window")


def crlf_prompts(case):
    def generate(*arguments, stdin=b""):
        done = case.run("generate", "--model", cemoe.MODEL, *arguments, "--max-tokens", 8, "--json", stdin=stdin)
        demand(done.code == 0, done.err)
        return [(result["prompt"], result["ids"]) for result in done.json()["results"]]

    expected = json.loads((case.folder / "expected.json").read_text())
    found = generate("--prompt-lines", case.folder / "prompts.txt")
    demand([prompt for prompt, _ in found] == expected, found)
    demand(found == generate("--prompt-lines", "-", stdin="\n".join([*expected, ""]).encode()), "other ids than with LF")


def json_lines_names(case):
    def calibrate(path):
        out = case.out / (path.name + ".safetensors")
        done = case.run("calibrate", "--model", cemoe.MODEL, "--data", path, "--compressed", 2, "--rank", 2, "--tokens", 1024,
                        "--window", 64, "--out", out)
        return done, out.read_bytes() if done.code == 0 else None

    done, wanted = calibrate(case.folder / "texts.jsonl")
    demand(wanted is not None, done.err)
    others = sorted(path for path in case.folder.glob("texts.*") if path.name != "texts.jsonl")
    demand(others, "no files under other names")
    for path in others:
        done, found = calibrate(path)
        refused = done.code == 1 and str(path) in done.err
        demand(refused or found == wanted, path.name, "gives other tables:", done.err)


def jsonl_fields(case):
    def results(task):
        out = case.out / task.stem
        done = case.run("eval", "--model", cemoe.MODEL, "--tasks", task, "--out", out)
        demand(done.code == 0, task.name, done.err)
        (file,) = out.glob("results_*.json")
        (of_task,) = json.loads(file.read_text())["results"].values()
        return {key: value for key, value in of_task.items() if key.startswith("acc")}

    wanted = results(case.folder / "plain.json")
    demand(wanted, "no metric")
    for task in sorted(case.folder.glob("*.json")):
        if task.stem != "plain":
            demand(results(task) == wanted, task.name, "has another result")


def page_cache(case):
    mib = 1 << 20
    made = subprocess.run([sys.executable, case.folder / "make.py", case.out / "group"], capture_output=True, text=True,
                          check=True)
    left = subprocess.run([os.environ["CEMOE_CGROUP_LEFT"], *made.stdout.split()], capture_output=True, text=True, check=True)
    demand(900 * mib <= int(left.stdout) <= 930 * mib, int(left.stdout) / mib, "MiB, and 930 can be had")


HERE = {"sliding-window": sliding_window, "crlf-prompts": crlf_prompts, "json-lines-names": json_lines_names,
        "jsonl-fields": jsonl_fields, "page-cache": page_cache}


# ---- all cases

def program_for(case):
    if case.folder.name not in SLOWLY:
        return cemoe.BINARY
    slow = case.out / "cemoe"
    slow.write_text(SLOW.format(python=sys.executable, binary=str(cemoe.BINARY)))
    slow.chmod(0o755)
    return slow


def run_script(case):
    """run.sh in a process group of its own, all of which ends with it."""
    program = program_for(case)
    environment = {**cemoe.environment({}), "CEMOE": str(program), "MODEL": str(cemoe.MODEL), "TMPDIR": str(case.out)}
    script = subprocess.Popen(["bash", case.folder / "run.sh", program, cemoe.MODEL, case.out], cwd=cemoe.ROOT,
                              env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, errors="replace", start_new_session=True)
    try:
        said, _ = script.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(script.pid, signal.SIGKILL)
        said, _ = script.communicate()
        raise Wrong(f"goes on after {SECONDS} s: {said[-500:]}") from None
    demand(script.returncode == 0 and "NOT YET" not in said, f"exit code {script.returncode}:", said[-1000:])


def run_case(folder):
    """What is wrong, "" where nothing is, and the seconds it took."""
    began = time.monotonic()
    wrong = ""
    with tempfile.TemporaryDirectory(prefix="cemoe-case-") as out:
        case = Case(folder, pathlib.Path(out))
        try:
            if (folder / "run.sh").exists():
                run_script(case)
            elif folder.name in HERE:
                HERE[folder.name](case)
            else:
                raise Wrong("has no run.sh, and nothing is known of it here")
        except (Wrong, OSError, KeyError, ValueError, subprocess.SubprocessError) as failure:
            wrong = f"{type(failure).__name__}: {failure}"
    return wrong, time.monotonic() - began


def main():
    named = os.environ.get("CEMOE_TEST_CASES")
    if not named:
        print("skipped: CEMOE_TEST_CASES is not set")
        return cemoe.SKIPPED
    if cemoe.SANITIZED:
        print("skipped: the cases have deadlines of a program without sanitizers")
        return cemoe.SKIPPED
    folders = sorted((path for path in pathlib.Path(named).resolve().iterdir() if path.is_dir()),
                     key=lambda path: (path.name not in FIRST, path.name))
    demand(folders, named, "has no folders")
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for folder, (wrong, seconds) in zip(folders, pool.map(run_case, folders)):
            print(f"{folder.name:28} {seconds:6.1f} s  {'fine' if not wrong else 'WRONG'}", flush=True)
            if wrong:
                print("    " + wrong.strip().replace("\n", "\n    "), flush=True)
                failed += 1
    print(f"{len(folders)} cases, {failed} wrong")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
