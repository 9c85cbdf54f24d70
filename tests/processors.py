#!/usr/bin/env python3
"""Tests of numbers as another processor would round them: processors.py BUILD_DIR PROCESSOR; processors.py --list

Of the programs in BUILD_DIR/tests those run that use BLAS, kernels or libm: no other can come to another result.
Then the commands that calibrate, compare and evaluate. All with OpenBLAS told to compute for PROCESSOR, which this
one has to be able to, and with one of our kernel sets.

In the rings quick and ci (CEMOE_RING) only the two processors are tried that differ most from this one, and only the
cases of commands that are about numbers. Exits 77 and says why where a processor is not tried.
"""

import os
import pathlib
import re
import subprocess
import sys
import time
import typing

SKIPPED = 77
ALL = os.environ.get("CEMOE_RING") == "all"
CLI = pathlib.Path(__file__).resolve().parent / "cli"
SECONDS = 600  # no program may take longer


class Processor(typing.NamedTuple):
    core: str  # of OpenBLAS
    kernels: str  # of ours
    needs: tuple  # flags in /proc/cpuinfo
    fused: bool = True  # libm with fused multiply-add


AVX2 = ("avx2", "fma", "f16c")
AVX512 = (*AVX2, "avx512f", "avx512cd", "avx512dq", "avx512bw", "avx512vl")
PROCESSORS = {
    "haswell": Processor("Haswell", "avx2", AVX2),
    "zen": Processor("Zen", "ref", AVX2),
    "skylakex": Processor("SkylakeX", "avx2", AVX512),
    "prescott": Processor("Prescott", "ref", ("pni",), fused=False),
}
# For what OpenBLAS takes by itself: the others, those whose kernels differ most first.
OTHERS = {
    "SkylakeX": ("haswell", "prescott", "zen"),
    "Cooperlake": ("haswell", "prescott", "zen"),
    "Haswell": ("skylakex", "prescott", "zen"),
    "Zen": ("skylakex", "prescott", "haswell"),
}
UNFUSED = "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4"

# Symbols by which the results of a program can depend on the processor. What conformance is about tries all kernel
# sets by itself.
BLAS = re.compile(r" U (cblas_|d[a-z0-9]+_$)", re.MULTILINE)
KERNELS_OR_LIBM = re.compile(r" (T ce_isa_choose$|U (exp|log|pow|cos|sin)(@|$))", re.MULTILINE)

# Scripts of commands, and their cases that are about numbers.
SCRIPTS = {
    "calibrate": ["Outcome"],
    "compare": ["Numbers", "Table"],
    "eval": ["Score", "SameFiles.test_answers"],
}


def skip(name, why):
    print(f"processors: {name} skipped: {why}", flush=True)
    raise SystemExit(SKIPPED)


def flags():
    text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    found = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    return set(found.group(1).split()) if found else set()


def environment(processor):
    """With what makes programs round as on this processor; None: as on this one."""
    kept = {name: value for name, value in os.environ.items()
            if name not in ("OPENBLAS_CORETYPE", "CEMOE_ISA", "GLIBC_TUNABLES")}
    kept.update(OMP_WAIT_POLICY="passive", PYTHONDONTWRITEBYTECODE="1")
    if processor is not None:
        kept.update(OPENBLAS_CORETYPE=processor.core, CEMOE_ISA=processor.kernels)
        if not processor.fused:
            kept["GLIBC_TUNABLES"] = UNFUSED
    return kept


def core_of(binary, processor):
    """What OpenBLAS says that it computes for."""
    done = subprocess.run([binary, "--version"], env={**environment(processor), "OPENBLAS_VERBOSE": "2"},
                          capture_output=True, text=True, timeout=60, check=True)
    found = re.search(r"^Core: (\w+)$", done.stdout + done.stderr, re.MULTILINE)
    return found.group(1) if found else "unknown"


def programs(build, nm):
    """Those whose results can depend on the processor."""
    found = []
    for program in sorted((build / "tests").glob("*_*")):
        kind = program.name.split("_", 1)[0]
        if kind in ("unit", "golden", "conformance") and os.access(program, os.X_OK):
            symbols = subprocess.run([nm, program], capture_output=True, text=True, timeout=60, check=True).stdout
            if BLAS.search(symbols) or (kind != "conformance" and KERNELS_OR_LIBM.search(symbols)):
                found.append(program)
    return found


def run(name, command, env):
    began = time.monotonic()
    try:
        done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS, check=False)
        code, text = done.returncode, done.stdout
    except subprocess.TimeoutExpired as late:
        code, text = f"no end after {SECONDS} s", late.stdout or b""
    passed = code in (0, SKIPPED)
    result = {0: "passed", SKIPPED: "skipped"}.get(code, f"FAILED ({code})")
    print(f"{name:40} {time.monotonic() - began:6.1f} s  {result}", flush=True)
    if not passed:
        print(text.decode("utf-8", "replace"), flush=True)
    return passed


def main(build, name, nm="nm"):
    processor = PROCESSORS[name]
    binary = build / "cemoe"
    missing = [flag for flag in processor.needs if flag not in flags()]
    if missing:
        skip(name, f"this processor has no {', '.join(missing)}")
    own = core_of(binary, None)
    chosen = [other for other in OTHERS.get(own, ("zen", "haswell", "skylakex"))
              if set(PROCESSORS[other].needs) <= flags()][:2]
    if not ALL and name not in chosen:
        skip(name, f"OpenBLAS computes for {own} here, {' and '.join(chosen)} differ more; in the ring all only")
    if core_of(binary, processor) != processor.core:
        raise SystemExit(f"processors: OpenBLAS computes for {core_of(binary, processor)} where {processor.core} is asked for")

    env = {**environment(processor), "CEMOE_BINARY": str(binary), "CEMOE_RING": "all" if ALL else "quick"}
    print(f"processors: {name}: OpenBLAS for {processor.core}, kernels {processor.kernels}, libm "
          f"{'as it is' if processor.fused else 'without fused multiply-add'}", flush=True)
    tests = programs(build, nm)
    if len(tests) < 20:
        raise SystemExit(f"processors: only {len(tests)} programs use BLAS, kernels or libm, says {nm}")
    results = [run(test.name.replace("_", ".", 1), [test], env) for test in tests]
    for script, cases in SCRIPTS.items():
        command = [sys.executable, CLI / f"test_{script}.py", *([] if ALL else cases)]
        results.append(run(f"cli.{script}", command, env))
    print(f"processors: {name}: {sum(results)} of {len(results)} passed", flush=True)
    raise SystemExit(0 if all(results) else 1)


if __name__ == "__main__":
    if sys.argv[1:] == ["--list"]:
        print("\n".join(PROCESSORS))
    elif len(sys.argv) in (3, 4) and sys.argv[2] in PROCESSORS:
        main(pathlib.Path(sys.argv[1]).resolve(), *sys.argv[2:])
    else:
        raise SystemExit(__doc__)
