#!/usr/bin/env python3
"""check_exchange.py copies | table MPIRUN PROGRAM: what bench/exchange counts is right, and what it prints is complete.

copies: rows counted from the bytes given to each transport against closed forms that are computed here, and the
        counters of senders against those of receivers.
table:  one small cell is timed with all its lanes, and one that does not fit is skipped. No time is looked at.
"""
import json, math, os, subprocess, sys

TOKENS = 100_000
TOLERANCE = 0.01
QUICK = (os.environ.get("CEMOE_RING") or "quick") == "quick"  # see tests/README.md
RANKS = (3,) if QUICK else (2, 3, 4, 5, 8)  # 3 and 5 divide no shape's experts
SHAPES = {"olmoe": (64, 8), "phi": (16, 2), "deepseek": (256, 8)}
TRANSPORTS = ("mpi", "ucx")
WRONG_COUNT = 3  # the exit code when the program itself finds so


def run(mpirun, ranks, program, *options):
    done = subprocess.run([mpirun, str(ranks), program, *options, "--json", "-"], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)
    if done.returncode == 77:
        sys.exit(77)
    if done.returncode not in (0, WRONG_COUNT):
        sys.exit(f"{ranks} ranks: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return {**json.loads(done.stdout), "code": done.returncode}


def copies_per_token(experts, ranks, mains):
    """Ranks other than its own that a token needs: experts are dealt in contiguous parts."""
    hit = 0.0
    for r in range(ranks):
        part = (r + 1) * experts // ranks - r * experts // ranks
        hit += 1 - math.comb(experts - part, mains) / math.comb(experts, mains)
    return hit * (ranks - 1) / ranks


def check_cell(cell, ranks):
    experts, top_k = SHAPES[cell["shape"]]
    name = f"{ranks} ranks, {cell['shape']}, {cell['mains']} of {top_k}, {cell['combine']}, {cell['transport']}"
    copies = copies_per_token(experts, ranks, cell["mains"])
    results = copies if cell["combine"] == "partial" else cell["mains"] * (ranks - 1) / ranks
    if cell["tokens"] < TOKENS:
        yield f"{name}: only {cell['tokens']} tokens"
    for what, found, wanted in (("copies", cell["rows"] / cell["tokens"], copies),
                                ("results", cell["results"] / cell["tokens"], results)):
        print(f"{name}: {found:.4f} {what} per token, closed form {wanted:.4f}")
        if abs(found - wanted) > TOLERANCE * wanted:
            yield f"{name}: {found:.4f} {what} per token, not {wanted:.4f}"


def check_traffic(result, ranks):
    """Both ends' counters, and that the rows of the cells account for every byte between ranks."""
    for transport, counters in result["traffic"].items():
        cells = [cell for cell in result["cells"] if cell["transport"] == transport]
        counted = sum(cell["dispatch_bytes"] + cell["combine_bytes"] for cell in cells)
        between = sum(counters["sent_bytes"][s][d] for s in range(ranks) for d in range(ranks) if s != d)
        if counted != between or between == 0:
            yield f"{ranks} ranks, {transport}: {counted} bytes of rows, {between} were sent"
        for what in ("messages", "bytes"):
            sent, received = counters[f"sent_{what}"], counters[f"received_{what}"]
            if len(sent) != ranks or sent != received:
                yield f"{ranks} ranks, {transport}: {what} sent and received differ: {sent} {received}"


def check_ranks(mpirun, program, ranks, *options):
    result = run(mpirun, ranks, program, "--count-only", "--routing", "uniform", "--mains", "both",
                 "--count-tokens", str(TOKENS), *options)
    expected = {(shape, mains, t) for shape, (_, k) in SHAPES.items() for mains in (k, k // 2) for t in TRANSPORTS}
    found = {(cell["shape"], cell["mains"], cell["transport"]) for cell in result["cells"]}
    if found != expected or set(result["traffic"]) != set(TRANSPORTS):
        yield f"{ranks} ranks: cells are missing: {expected - found}"
    for cell in result["cells"]:
        yield from check_cell(cell, ranks)
    yield from check_traffic(result, ranks)
    if result["code"] != 0:
        yield f"{ranks} ranks: exit code {result['code']}"


def check_copies(mpirun, program):
    wrong = []
    for ranks in RANKS:
        wrong += check_ranks(mpirun, program, ranks)
    return wrong + list(check_ranks(mpirun, program, 3, "--combine", "partial"))


def check_table(mpirun, program):
    wrong = []
    small = ["--shape", "phi", "--routing", "zipf", "--tokens", "16", "--width", "64", "--repeat", "2", "--seconds", "0"]
    cells = run(mpirun, 2, program, *small)["cells"]
    lanes = {lane["name"]: lane for cell in cells for lane in cell["lanes"]}
    if len(cells) != 1 or set(lanes) != {*TRANSPORTS, "alltoallv", "memcpy", "memcpy+own"}:
        wrong.append(f"cells or lanes are missing: {cells}")
    for name, lane in lanes.items():
        for phase in ("dispatch", "combine"):
            times = lane[phase]
            if not 0 < times["min_us"] <= times["median_us"] <= times["p99_us"] or times["bytes"] == 0:
                wrong.append(f"{name}, {phase}: {times}")
    for cell in run(mpirun, 2, program, *small, "--memory-limit", "1k")["cells"]:
        if "needs" not in cell.get("skipped", "") or "lanes" in cell:
            wrong.append(f"not skipped: {cell}")
    return wrong


def main(what, mpirun, program):
    wrong = {"copies": check_copies, "table": check_table}[what](mpirun, program)
    print("\n".join(wrong) or "ok")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
