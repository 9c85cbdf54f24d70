#!/usr/bin/env python3
"""check_fault.py PROGRAM FAULT [TRANSPORT]: the job ends, soon, with the right code and text, and leaves no process."""
import os, pathlib, re, subprocess, sys, time

RANKS = 3
DEADLINE_MS = 1000
TIMEOUT = r"rank [01]: dispatch round 1: no message after 1000 ms from rank 2 \(of 3, 2 here\); sends not done: "
NONSENSE = "rank [01]: a message that makes no sense came from rank 2: unknown slot, source or round"

# fault: exit code of the job, what every line of a waiting rank says (None: there is none)
EXPECTED = {
    "late-abort": (42, TIMEOUT + "none"),
    "late-exit": (3, TIMEOUT + "none"),
    "unsent": (42, TIMEOUT + "rank 2"),
    "leaves": (42, TIMEOUT + "none"),
    "unprepared": (42, r"rank [01]: control round \d+: no message after 1000 ms from rank 2 \(of 3, 2 here\)"),
    "stays": (3, "has left"),
    "killed": (128 + 9, None),
    "lost": (42, "rank [01]: ucx has lost rank 2: "),
    "malformed": (42, NONSENSE),
    "malformed-apart": (42, NONSENSE),
    "self": (3, "transport self was asked for in a launch of several processes"),
}

NO_DEADLINE = ("self", "malformed", "malformed-apart", "lost")
APART = ("malformed-apart", "lost")  # as if every rank had a host of its own
# Without a shared host a rank may first see that the other one, which has found the fault, is gone.
AFTERMATH = "rank [01]: ucx has lost rank [01]: "


def processes_with(token):
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if token.encode() in entry.read_bytes():
                found.append(entry.parent.name)
        except OSError:
            pass  # it ended while we looked
    return found


def main(program, fault, transport="mpi"):
    code, text = EXPECTED[fault]
    token = f"fault-token-{os.getpid()}"
    mpirun = pathlib.Path(__file__).with_name("mpirun.sh")
    hosts = [mpirun.with_name("own_host.sh")] if fault in APART else []
    run = subprocess.run([mpirun, str(RANKS), *hosts, program, fault, token], env={**os.environ, "CE_TEST_SECONDS": "60", "CE_TEST_TRANSPORT": transport},
                         stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if run.returncode == 77:
        return 77
    wrong = []
    # A lost rank is seen by its peers and by mpirun, whoever is first.
    if run.returncode != code and not (fault == "lost" and run.returncode == 128 + 9):
        wrong.append(f"exit code {run.returncode}, not {code}")
    lines = re.findall(r"fault: (.*) \(waited (\d+) ms\)", run.stderr)
    if bool(lines) != bool(text) and not (fault == "lost" and run.returncode == 128 + 9):
        wrong.append(f"{len(lines)} ranks reported")
    if fault in APART and any(re.match(text, line) for line, _ in lines):
        lines = [found for found in lines if not re.match(AFTERMATH, found[0])]
    for line, waited in lines:
        if not re.match(text or "", line):
            wrong.append(f"a rank said: {line}")
        if fault not in NO_DEADLINE and not DEADLINE_MS <= int(waited) <= DEADLINE_MS + 1000:
            wrong.append(f"a rank waited {waited} ms")
    if fault == "stays" and not re.search(r"rank [01]: control round \d+: no message after 1000 ms from rank 2 ", run.stderr):
        wrong.append("leaving named no rank")
    limit = time.monotonic() + 10
    while (left := processes_with(token)) and time.monotonic() < limit:
        time.sleep(0.1)
    if left:
        wrong.append(f"processes left: {left}")
    if wrong:
        print(run.stderr, *wrong, sep="\n", file=sys.stderr)
    return bool(wrong)


sys.exit(main(*sys.argv[1:]))
