#!/usr/bin/env python3
"""check_one_fails.py PROGRAM CEMOE MODEL [NAME...]: what fails or differs on one rank ends all, alike and soon."""
import json, os, pathlib, re, shutil, subprocess, sys, tempfile

MPIRUN = pathlib.Path(__file__).with_name("mpirun.sh")
RANKS = 3
RING = os.environ.get("CEMOE_RING") or "quick"
# Settings of failures that take all paths through a transport; ranks.one_fails has them all on threads.
FEW = ("f32", "overlap", "ucx-partial", "split")
# An option of the engine, what a file says, an option of the command.
QUICK = (*FEW, "differs-wire", "differs-config", "differs-seed")

# TRANSPORT, then WIRE COMBINE OVERLAP SPLIT and the kinds of failure (None: all that need neither overlap, as "late" does, nor matrices that are split)
SETTINGS = {
    "f32": ("mpi", "f32 ordered auto none", None),
    "overlap": ("mpi", "f32 ordered on none", ("experts", "late", "router")),
    "partial": ("mpi", "f32 partial on none", None),
    "ucx": ("ucx", "f32 ordered off none", None),
    "ucx-partial": ("ucx", "f32 partial on none", ("late", "experts", "late", "attention")),
    # What is not finite must not be rounded to a number on its way.
    "bf16": ("mpi", "bf16 ordered on none", ("experts", "late")),
    "int8": ("ucx", "int8 partial auto none", ("experts",)),
    "split": ("mpi", "f32 ordered auto node", None),
    "split-int8": ("ucx", "int8 ordered auto node", ("experts", "router", "experts", "batch")),
    "split-dense": ("mpi", "f32 ordered auto node", ("slice", "attention", "output", "logits", "idle", "slice")),
}
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
    "slice": r"not a finite number of rank 0: layer 1, attention: .*",
    "output": r"not a finite number of rank 0: logits: .*",
    "late": r"not a finite number of rank 2: failed when rank 1 was answered",
    "prompt": r"bad argument of rank 1: prompt 1 is empty: it has no tokens",
}


def run(*command):
    # One thread a rank: they share the cores.
    done = subprocess.run([MPIRUN, *map(str, command)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          env={**os.environ, "OMP_NUM_THREADS": "1", "CE_TEST_SECONDS": "60",
                               "OMPI_MCA_odls_base_sigkill_timeout": "0"}, check=False)
    if done.returncode == 77:
        sys.exit(77)
    return done


def check_failures(program, model, transport, names):
    """Problems of the settings of a transport: several failures of one job, one after the other; after each of them the ranks go on."""
    kinds = {name: SETTINGS[name][2] or [kind for kind in FAILURES if kind not in ("late", "slice", "output")] for name in names}
    done = run(RANKS, program, model, transport, *(f"{name} {SETTINGS[name][1]} {' '.join(kinds[name])}" for name in names))
    lines = [line.split(": ", 3) for line in done.stdout.splitlines() if line.startswith("rank ")]
    if done.returncode != 0:
        return {"/".join(names): f"exit code {done.returncode}\n{done.stdout}{done.stderr}"}
    return {name: find_problem(kinds[name], [(rank, kind, text) for rank, of, kind, text in lines if of == name]) for name in names}


def find_problem(kinds, lines):
    for rank in range(RANKS):
        said = [(kind, text) for of, kind, text in lines if of == f"rank {rank}"]
        if [kind for kind, _ in said] != list(kinds):
            return f"rank {rank} does not report each kind: {said}"
        for kind, text in said:
            if not re.fullmatch(FAILURES[kind], text):
                return f"rank {rank}, {kind}: {text}"
    said = {(kind, text) for _, kind, text in lines}
    return None if len(said) == len(set(kinds)) else f"the ranks do not say the same: {sorted(lines)}"


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
        ("truncated", ["--truncated", 1], [], "truncated"),
        ("step-tokens", ["--step-tokens", 8], ["--step-tokens", 16], "step-tokens"),
        ("wire", ["--wire", "int8"], [], "wire"),
        ("kv", [], ["--kv", "bf16"], "kv"),
        ("placement", ["--placement", "strided"], [], "placement"),
        ("expert-split", ["--expert-split", "node"], [], "expert-split"),
        ("max-tokens", [], ["--max-tokens", 3], "max-tokens"),
        ("seed", ["--temperature", 1], ["--temperature", 1, "--seed", 4], "seed"),
        ("config", [], ["--model", other_config(model, folder)], "read a config.json"),
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


def main(program, cemoe, model, *names):
    problems = {}
    with tempfile.TemporaryDirectory(prefix="cemoe-mpi-") as folder:
        differ = {f"differs-{name}": sides for name, *sides in differences(model, pathlib.Path(folder))}
        names = names or {"quick": QUICK, "ci": (*FEW, *differ), "all": (*SETTINGS, *differ)}[RING]
        for transport in ("mpi", "ucx"):
            chosen = [name for name in names if name in SETTINGS and SETTINGS[name][0] == transport]
            problems |= check_failures(program, model, transport, chosen) if chosen else {}
        for name in names:
            if name not in SETTINGS:
                problems[name] = check_difference(cemoe, model, *differ[name])
    for name, problem in problems.items():
        print(f"{name}: {problem or 'ok'}")
    return any(problems.values())


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
