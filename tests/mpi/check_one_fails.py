#!/usr/bin/env python3
"""check_one_fails.py PROGRAM CEMOE MODEL [KIND...]: what fails or differs on one rank ends all, alike and soon."""
import json, os, pathlib, re, shutil, subprocess, sys, tempfile

MPIRUN = pathlib.Path(__file__).with_name("mpirun.sh")
RANKS = 3
# Under the sanitizers, where a run takes many times as long.
QUICK = ("batch", "experts", "prompt", "experts-int8", "differs-wire") if os.environ.get("CEMOE_QUICK") else ()

# kind of failure: what every rank says
FAILURES = {
    "batch": r"bad argument of rank 1: token 5001 is outside the vocabulary of 2048",
    "two": r"bad argument of rank 1: token 5001 is outside the vocabulary of 2048",
    "cache": r"out of memory of rank 1: the KV cache is full: .*",
    "idle": r"bad argument of rank 2: token -1 is outside the vocabulary of 2048",
    "experts": r"not a finite number of rank 2: layer 1, .*expert 15.*",
    "router": r"not a finite number of rank 2: layer 1, .*",
    "attention": r"not a finite number of rank 1: layer 2, .*",
    "logits": r"not a finite number of rank 1: logits: .*",
    "prompt": r"bad argument of rank 1: prompt 1 is empty: it has no tokens",
}


def run(*command):
    # One thread a rank: they share the cores.
    done = subprocess.run([MPIRUN, *map(str, command)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          env={**os.environ, "OMP_NUM_THREADS": "1", "CE_TEST_SECONDS": "60"}, check=False)
    if done.returncode == 77:
        sys.exit(77)
    return done


def check_failure(program, model, wire, kind):
    done = run(RANKS, program, model, wire, kind)
    lines = [line for line in done.stdout.splitlines() if line.startswith("rank ")]
    said = {line.split(": ", 1)[1] for line in lines}
    if done.returncode != 0:
        return f"exit code {done.returncode}\n{done.stdout}{done.stderr}"
    if len(lines) != RANKS or len(said) != 1:
        return f"the ranks do not say the same: {sorted(lines)}"
    if not re.fullmatch(FAILURES[kind], said.pop()):
        return f"unexpected: {lines[0]}"
    return None


def other_config(model, folder):
    """The same weights under another config.json."""
    for file in pathlib.Path(model).iterdir():
        if file.is_file():
            shutil.copy(file, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "rope_theta": 20000.0}))
    return folder


def differences(model, folder):
    """Name of a setting, arguments of rank 0, of rank 1, and the words of the error."""
    tables = f"{model}/ces-{{}}.safetensors"
    return [
        ("compressed", ["--compressed", 1], ["--compressed", 2], "compressed"),
        ("truncated", ["--truncated", 1], [], "main-experts"),
        ("step-tokens", ["--step-tokens", 8], ["--step-tokens", 16], "step-tokens"),
        ("wire", ["--wire", "int8"], [], "wire"),
        ("kv", [], ["--kv", "bf16"], "kv"),
        ("placement", ["--placement", "strided"], [], "placement"),
        ("max-tokens", [], ["--max-tokens", 3], "max-tokens"),
        ("seed", ["--temperature", 1], ["--temperature", 1, "--seed", 4], "random-seed"),
        ("config", [], ["--model", other_config(model, folder)], "model configuration"),
        ("tables", ["--compressed-experts", tables.format("math")],
         ["--compressed-experts", tables.format("code")], "compressed-experts"),
    ]


def check_difference(cemoe, model, first, second, words):
    line = [cemoe, "generate", "--model", model, "--prompt", "a", "--max-tokens", 2, "--quiet"]
    done = run(1, *line, *first, ":", "-n", 1, *line, *second)
    errors = [line for line in done.stderr.splitlines() if line.startswith("cemoe")]
    if done.returncode != 1:
        return f"exit code {done.returncode}, not 1\n{done.stdout}{done.stderr}"
    if len(errors) != 1 or not re.search(rf"\brank 1\b.*\b({words})\b", errors[0]):
        return f"not one line with rank 1 and {words}: {errors}"
    return None


def main(program, cemoe, model, *kinds):
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="cemoe-mpi-") as folder:
        checks = {kind: (check_failure, program, model, "f32", kind) for kind in FAILURES}
        # What is not finite must not be rounded to a number on its way.
        checks |= {f"experts-{wire}": (check_failure, program, model, wire, "experts") for wire in ("bf16", "int8")}
        for name, first, second, words in differences(model, pathlib.Path(folder)):
            checks[f"differs-{name}"] = (check_difference, cemoe, model, first, second, words)
        for name in kinds or QUICK or checks:
            check, *arguments = checks[name]
            problem = check(*arguments)
            wrong += problem is not None
            print(f"{name}: {problem or 'ok'}", flush=True)
    return wrong > 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
