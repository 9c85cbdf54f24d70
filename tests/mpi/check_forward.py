#!/usr/bin/env python3
"""check_forward.py PROGRAM CEMOE MODEL TRANSPORT: logits are the same bits on 1 to 8 ranks, in all placements, overlap on or off, matrices split or not; sums by rank are noticed.

What must have the same bits is a group of settings. All settings of a number of ranks, of all groups, are one job.
"""
import collections, os, pathlib, subprocess, sys, tempfile

AFFINE = str(pathlib.Path(__file__).parents[1] / "golden/affine/compressed.safetensors")
QUICK = os.environ.get("CEMOE_RING") != "all"  # fewer ranks and settings: ranks.forward has them all on threads
RANKS = (1, 3) if QUICK else (1, 2, 3, 4, 5, 7, 8)
THREADED = () if QUICK else (1, 2)
WIRES = ("int8",) if QUICK else ("bf16", "int8")
LATE_RANKS = (3,) if QUICK else (2, 5)
SPLIT_RANKS = (3,) if QUICK else (1, 2, 3, 4, 5)  # 64 rows of h are four slices: the fifth is empty
WIRE_RANKS = (1, 3) if QUICK else (1, 2, 3, 5)
WEIGHTS = () if QUICK else ("q8", "q4")
DENSE = () if QUICK else ("bf16", "q8", "q4")
LATE = "overlap=on latency-us=1500"  # every message finds its receiver at work


class Jobs:
    """Settings, collected by transport and number of ranks, and the hashes that groups of them have."""

    def __init__(self, transport):
        self.transport = transport
        self.settings = collections.defaultdict(list)  # (transport, ranks): [(group, setting)]
        self.hashes = collections.defaultdict(dict)  # group: {(transport, ranks, setting): hash}

    def add(self, group, ranks, setting, transport=None):
        self.settings[transport or self.transport, ranks].append((group, setting))

    def run(self, program, model):
        mpirun = pathlib.Path(__file__).with_name("mpirun.sh")
        for (transport, ranks), settings in self.settings.items():
            done = subprocess.run([mpirun, str(ranks), program, model, *(setting for _, setting in settings)], stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, env={**os.environ, "CE_TEST_TRANSPORT": transport})
            if done.returncode == 77:
                sys.exit(77)
            hashes = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("hash ")]
            if done.returncode != 0 or len(hashes) != len(settings):
                following = settings[min(len(hashes), len(settings) - 1)][1]
                sys.exit(f"{ranks} ranks, {len(hashes)} of {len(settings)} settings done, then '{following}': exit code "
                         f"{done.returncode}\n{done.stderr}")
            for (group, setting), found in zip(settings, hashes):
                self.hashes[group][transport, ranks, setting] = found

    def found(self, group):
        return set(self.hashes[group].values())


def random_placement(cemoe, model, ranks, folder):
    """A file in which some experts have several owners."""
    file = folder / f"random{ranks}"
    subprocess.run([cemoe, "plan", "--model", model, "--ranks", str(ranks), "--random", "5", "--replicas", "2" if ranks > 1 else "1",
                    "--out", file], stdout=subprocess.DEVNULL, check=True)
    return str(file)


def add_everything_ordered(jobs, cemoe, model, folder):
    """With full experts, with scaling vectors and with affine experts: all that must not change a bit."""
    random = {n: random_placement(cemoe, model, n, folder) for n in RANKS}
    for name, tables in (("none", ""), ("scaling", f" tables={model}/ces-math.safetensors"), ("affine", f" tables={AFFINE}")):
        group = f"compressed experts: {name}"
        jobs.add(group, 1, "combine=ordered" + tables, "self")
        for n in RANKS:
            jobs.add(group, n, "combine=ordered" + tables)
            jobs.add(group, n, "overlap=on placement=strided" + tables)
            jobs.add(group, n, f"overlap=off placement={random[n]}" + tables)
        for n in SPLIT_RANKS:
            jobs.add(group, n, "split=node" + tables)
        for n in THREADED:
            jobs.add(group, n, "threads=3" + tables)
        for n in LATE_RANKS:
            jobs.add(group, n, LATE + tables)


def add_formats(jobs, model):
    """Bits depend on the format of rows, experts and dense matrices, but not on ranks or split."""
    for n in WIRE_RANKS:
        for split in ("none", "node"):
            for wire in WIRES:
                jobs.add(f"wire {wire}", n, f"wire={wire} split={split} tables={model}/ces-math.safetensors")
            for weights in WEIGHTS:
                jobs.add(f"weights {weights}", n, f"weights={weights} split={split}")
            for dense in DENSE:
                jobs.add(f"dense {dense}", n, f"dense={dense} split={split}")
    for dense in DENSE:
        jobs.add(f"dense {dense}", 2, f"dense={dense} split=node threads=2")


def add_partial(jobs):
    """Depends on the placement, but not on timing or transport. Uncompressed only: of the two main experts left by
    compression either order gives the same sum."""
    jobs.add("partial, one rank", 1, "combine=partial")
    for setting in ("overlap=off", "overlap=on", LATE):
        jobs.add("partial, three ranks", 3, f"combine=partial {setting}")
    other = {"mpi": "ucx", "ucx": "mpi"}[jobs.transport]
    jobs.add("partial, three ranks", 3, "combine=partial", other)


def check(jobs):
    for group, hashes in jobs.hashes.items():
        print(f"{group}, {len(hashes)} runs: {sorted(jobs.found(group))}")
        if len(jobs.found(group)) != 1:
            yield f"{group}: bits differ: {hashes}"
    if jobs.found("partial, one rank") != jobs.found("compressed experts: none"):
        yield "partial on one rank is not the sum in the router's order"
    if jobs.found("partial, three ranks") == jobs.found("partial, one rank"):
        yield "summing by rank was not noticed"
    formats = [group for group in jobs.hashes if not group.startswith("partial") and group != "dense bf16"]  # as the model is
    if len(set().union(*map(jobs.found, formats))) < len(formats):
        yield "settings that must differ have the same bits"


def main(program, cemoe, model, transport):
    jobs = Jobs(transport)
    with tempfile.TemporaryDirectory(prefix="cemoe-mpi-") as folder:
        add_everything_ordered(jobs, cemoe, model, pathlib.Path(folder))
        add_formats(jobs, model)
        add_partial(jobs)
        jobs.run(program, model)
    wrong = list(check(jobs))
    print("\n".join(wrong) or "ok")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
