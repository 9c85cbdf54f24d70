#!/usr/bin/env python3
"""check_forward.py PROGRAM CEMOE MODEL [TRANSPORT]: logits are the same bits on 1 to 8 ranks, in all placements, overlap on or off, matrices split or not; sums by rank are noticed."""
import os, pathlib, subprocess, sys, tempfile

AFFINE = str(pathlib.Path(__file__).parents[1] / "golden/affine/compressed.safetensors")
QUICK = bool(os.environ.get("CEMOE_QUICK"))  # under the sanitizers, where a run takes many times as long
RANKS = (3,) if QUICK else (1, 2, 3, 4, 5, 7, 8)
THREADED = () if QUICK else (1, 2)
WIRES = ("int8",) if QUICK else ("bf16", "int8")
LATE_RANKS = (3,) if QUICK else (2, 5)
SPLIT_RANKS = (3,) if QUICK else (1, 2, 3, 4, 5)  # 64 rows of h are four slices: the fifth is empty
WIRE_RANKS = (1, 2) if QUICK else (1, 2, 3, 5)
LATE = {"CE_TEST_OVERLAP": "on", "CEMOE_LATENCY_US": "1500"}  # every message finds its receiver at work


def run(program, ranks, model, tables, combine, threads, wire="f32", **extra):
    mpirun = pathlib.Path(__file__).with_name("mpirun.sh")
    done = subprocess.run([mpirun, str(ranks), program, model, tables, combine, wire], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": str(threads), **extra})
    if done.returncode == 77:
        sys.exit(77)
    hashes = [line for line in done.stdout.splitlines() if line.startswith("hash ")]
    if done.returncode != 0 or len(hashes) != 1:
        sys.exit(f"{ranks} ranks, {combine}, {extra}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return hashes[0]


def random_placement(cemoe, model, ranks, folder):
    """A file in which some experts have several owners."""
    file = folder / f"random{ranks}"
    subprocess.run([cemoe, "plan", "--model", model, "--ranks", str(ranks), "--random", "5", "--replicas", "2" if ranks > 1 else "1",
                    "--out", file], stdout=subprocess.DEVNULL, check=True)
    return str(file)


def ordered_hashes(program, cemoe, model, tables, folder):
    """Of everything that must not change a bit."""
    hashes = {("self", 1): run(program, 1, model, tables, "ordered", 1, CE_TEST_TRANSPORT="self")}
    for n in RANKS:
        hashes |= {(n, "contiguous"): run(program, n, model, tables, "ordered", 1),
                   (n, "strided, overlap"): run(program, n, model, tables, "ordered", 1, CE_TEST_OVERLAP="on",
                                                CE_TEST_PLACEMENT="strided"),
                   (n, "random, no overlap"): run(program, n, model, tables, "ordered", 1, CE_TEST_OVERLAP="off",
                                                  CE_TEST_PLACEMENT=random_placement(cemoe, model, n, folder))}
    hashes |= {(n, "split"): run(program, n, model, tables, "ordered", 1, CE_TEST_SPLIT="node") for n in SPLIT_RANKS}
    hashes |= {(n, "3 threads"): run(program, n, model, tables, "ordered", 3) for n in THREADED}
    hashes |= {(n, "late"): run(program, n, model, tables, "ordered", 1, **LATE) for n in LATE_RANKS}
    return hashes


def check_partial(program, model):
    """Depends on the placement, but not on timing or transport; on one rank it is the same sum. Uncompressed only: of the
    two main experts left by compression either order gives the same sum."""
    wrong = []
    alone = run(program, 1, model, "-", "partial", 1)
    if alone != run(program, 1, model, "-", "ordered", 1):
        wrong.append("partial on one rank is not the sum in the router's order")
    same = {run(program, 3, model, "-", "partial", 1, **extra)
            for extra in ({"CE_TEST_OVERLAP": "off"}, {"CE_TEST_OVERLAP": "on"}, LATE, {"CE_TEST_TRANSPORT": "mpi"},
                          {"CE_TEST_TRANSPORT": "ucx"})}
    if len(same) != 1:
        wrong.append(f"partial depends on timing or transport: {same}")
    if same | {alone} == {alone}:
        wrong.append("summing by rank was not noticed")
    return wrong


def main(program, cemoe, model, transport="mpi"):
    os.environ["CE_TEST_TRANSPORT"] = transport
    wrong = []
    with tempfile.TemporaryDirectory(prefix="cemoe-mpi-") as folder:
        for tables in (f"{model}/ces-math.safetensors", AFFINE) if QUICK else ("-", f"{model}/ces-math.safetensors", AFFINE):
            hashes = ordered_hashes(program, cemoe, model, tables, pathlib.Path(folder))
            print(f"tables {tables}, {len(hashes)} runs: {sorted(set(hashes.values()))}")
            if len(set(hashes.values())) != 1:
                wrong.append(f"tables {tables}: bits differ: {hashes}")
    for wire in WIRES:
        hashes = {n: run(program, n, model, f"{model}/ces-math.safetensors", "ordered", 1, wire) for n in WIRE_RANKS}
        print(f"wire {wire}: {sorted(set(hashes.values()))}")
        hashes |= {(n, "split"): run(program, n, model, f"{model}/ces-math.safetensors", "ordered", 1, wire, CE_TEST_SPLIT="node")
                   for n in WIRE_RANKS}
        if len(set(hashes.values())) != 1:
            wrong.append(f"wire {wire}: bits depend on ranks or split: {hashes}")
    for weights in () if QUICK else ("q8", "q4"):
        hashes = {(n, split): run(program, n, model, "-", "ordered", 1, CE_TEST_WEIGHTS=weights, CE_TEST_SPLIT=split)
                  for n in WIRE_RANKS for split in ("none", "node")}
        print(f"weights {weights}: {sorted(set(hashes.values()))}")
        if len(set(hashes.values())) != 1:
            wrong.append(f"weights {weights}: bits depend on ranks or split: {hashes}")
    for dense in () if QUICK else ("bf16", "q8", "q4"):
        hashes = {(n, split): run(program, n, model, "-", "ordered", 1, CE_TEST_DENSE=dense, CE_TEST_SPLIT=split)
                  for n in WIRE_RANKS for split in ("none", "node")}
        hashes |= {(2, "node, 2 threads"): run(program, 2, model, "-", "ordered", 2, CE_TEST_DENSE=dense, CE_TEST_SPLIT="node")}
        print(f"dense {dense}: {sorted(set(hashes.values()))}")
        if len(set(hashes.values())) != 1:
            wrong.append(f"dense {dense}: bits depend on ranks or split: {hashes}")
    if not QUICK:
        wrong += check_partial(program, model)
    print("\n".join(wrong) or "ok")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
