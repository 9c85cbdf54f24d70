#!/usr/bin/env python3
"""check_forward.py PROGRAM MODEL [TRANSPORT]: logits are the same bits on 1, 2, 3, 4, 5 and 7 ranks, overlap on or off; sums by rank are noticed."""
import os, pathlib, subprocess, sys

QUICK = bool(os.environ.get("CEMOE_QUICK"))  # under the sanitizers, where a run takes many times as long
RANKS = (1, 3) if QUICK else (1, 2, 3, 4, 5, 7)
OVERLAP_RANKS = (3,) if QUICK else (2, 5)
WIRE_RANKS = (1, 2) if QUICK else (1, 2, 3, 5)


def run(program, ranks, model, tables, combine, threads, wire="f32", overlap="auto"):
    mpirun = pathlib.Path(__file__).with_name("mpirun.sh")
    done = subprocess.run([mpirun, str(ranks), program, model, tables, combine, wire], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": str(threads), "CE_TEST_OVERLAP": overlap})
    if done.returncode == 77:
        sys.exit(77)
    hashes = [line for line in done.stdout.splitlines() if line.startswith("hash ")]
    if done.returncode != 0 or len(hashes) != 1:
        sys.exit(f"{ranks} ranks, {combine}, {overlap}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return hashes[0]


def main(program, model, transport="mpi"):
    os.environ["CE_TEST_TRANSPORT"] = transport
    wrong = []
    for tables in ("-", f"{model}/ces-math.safetensors"):
        hashes = {(n, 1): run(program, n, model, tables, "ordered", 1) for n in RANKS}
        hashes |= {(n, 3): run(program, n, model, tables, "ordered", 3) for n in (1, 2)}
        hashes |= {(n, how): run(program, n, model, tables, "ordered", 1, overlap=how)
                   for n in OVERLAP_RANKS for how in ("on", "off")}
        print(f"tables {tables}: {sorted(set(hashes.values()))}")
        if len(set(hashes.values())) != 1:
            wrong.append(f"tables {tables}: bits depend on ranks or threads: {hashes}")
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
