#!/usr/bin/env python3
"""check_forward.py PROGRAM CEMOE MODEL [TRANSPORT]: logits are the same bits on 1 to 8 ranks and under all placements, overlap on or off; sums by rank are noticed."""
import os, pathlib, subprocess, sys, tempfile

QUICK = bool(os.environ.get("CEMOE_QUICK"))  # under the sanitizers, where a run takes many times as long
RANKS = (1, 3) if QUICK else (1, 2, 3, 4, 5, 7, 8)
OVERLAP_RANKS = (3,) if QUICK else (2, 5)
WIRE_RANKS = (1, 2) if QUICK else (1, 2, 3, 5)
PLACED_RANKS = (3,) if QUICK else (2, 3, 5)


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


def placements(cemoe, model, ranks, folder):
    """Built in, and a file in which some experts have several owners."""
    file = folder / f"random{ranks}"
    subprocess.run([cemoe, "plan", "--model", model, "--ranks", str(ranks), "--random", "5", "--replicas", "2",
                    "--out", file], stdout=subprocess.DEVNULL, check=True)
    return "contiguous", "strided", str(file)


def check_placements(program, cemoe, model, tables):
    hashes = {}
    with tempfile.TemporaryDirectory(prefix="cemoe-mpi-") as folder:
        for ranks in PLACED_RANKS:
            for placement in placements(cemoe, model, ranks, pathlib.Path(folder)):
                name = (ranks, pathlib.Path(placement).name)
                hashes[name] = run(program, ranks, model, tables, "ordered", 1, CE_TEST_PLACEMENT=placement)
    return hashes


def main(program, cemoe, model, transport="mpi"):
    os.environ["CE_TEST_TRANSPORT"] = transport
    wrong = []
    for tables in ("-", f"{model}/ces-math.safetensors"):
        hashes = {(n, 1): run(program, n, model, tables, "ordered", 1) for n in RANKS}
        hashes |= {(n, 3): run(program, n, model, tables, "ordered", 3) for n in (1, 2)}
        hashes |= {(n, how): run(program, n, model, tables, "ordered", 1, CE_TEST_OVERLAP=how)
                   for n in OVERLAP_RANKS for how in ("on", "off")}
        hashes |= {(n, "late"): run(program, n, model, tables, "ordered", 1, CE_TEST_OVERLAP="on", CEMOE_LATENCY_US="1500")
                   for n in OVERLAP_RANKS}
        print(f"tables {tables}: {sorted(set(hashes.values()))}")
        if len(set(hashes.values())) != 1:
            wrong.append(f"tables {tables}: bits depend on ranks or threads: {hashes}")
        placed = check_placements(program, cemoe, model, tables)
        print(f"tables {tables}, {len(placed)} placements: {sorted(set(placed.values()))}")
        if set(placed.values()) != set(hashes.values()):
            wrong.append(f"tables {tables}: bits depend on the placement: {placed}")
    for wire in ("bf16", "int8"):
        hashes = {n: run(program, n, model, f"{model}/ces-math.safetensors", "ordered", 1, wire) for n in WIRE_RANKS}
        print(f"wire {wire}: {sorted(set(hashes.values()))}")
        if len(set(hashes.values())) != 1:
            wrong.append(f"wire {wire}: bits depend on ranks: {hashes}")
    # Uncompressed only: of the two main experts left by compression either order gives the same sum.
    if len({run(program, n, model, "-", "partial", 1) for n in (1, 2, 5)}) == 1:
        wrong.append("summing by rank was not noticed")
    print("\n".join(wrong) or "ok")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
