#!/usr/bin/env python3
"""check_stages.py CEMOE MODEL TRANSPORT[+split] [KIND:STAGE...]: a rank that fails, stops, hangs or is killed in a stage.

The job ends in time and with the right code, says who and where, and leaves no process. CEMOE_TEST_FAULT makes the
rank misbehave (see src/tools/test_fault.h). Jobs wait more than they compute: some run at the same time.
"""
import concurrent.futures, os, pathlib, re, signal, subprocess, sys, threading, time

MPIRUN = pathlib.Path(__file__).with_name("mpirun.sh")
AFFINE = pathlib.Path(__file__).parents[1] / "golden/affine/compressed.safetensors"  # so that there is a stage of that name
RING = os.environ.get("CEMOE_RING") or "quick"
RANKS = 3
JOBS = 2  # at the same time
DEADLINE = 5.0 if os.environ.get("CEMOE_SANITIZED") else 1.0  # seconds
LATE = 0.4  # seconds; less than a rank waits for the others' lines
LAST_STEP, LAST_LAYER = 3, 3
# stage: the step and the layer it is hit in
WHERE = {"start": (0, 0), "input": (0, 0), "load": (0, 0), "embed": (2, 0), "attention": (2, 1), "router": (2, 1), "plan": (2, 1),
         "dispatch": (2, 1), "affine": (2, 1), "experts": (2, 1), "combine": (2, 1), "logits": (2, LAST_LAYER), "agree": (2, LAST_LAYER),
         "end": (LAST_STEP, LAST_LAYER)}
USERS_STAGE = "router"  # where mpirun ends the others as it does for users, in two seconds
KILL = ["embed", "experts", "agree"]
ALL = {"fail": list(WHERE), "stop": list(WHERE), "late": ["experts"], "hang": ["experts"], "kill": KILL}
# Ranks that meet in memory instead.
SPLIT = {"fail": ["embed", "attention", "router", "affine", "dispatch", "experts", "combine", "logits"],
         "stop": ["embed", "attention", "dispatch", "experts", "combine", "logits"], "kill": ["attention", "experts"]}
# A deadline is of src/comm/exchange.c, which both transports have.
CASES = {"quick": {"mpi": {"fail": ["load", "router", "affine", "experts", "agree"], "stop": ["load", "experts"], "late": ["experts"],
                           "kill": ["experts"]},
                   "ucx": {"fail": ["router", "experts"], "kill": ["experts"]},
                   "ucx+split": {"fail": ["attention", "experts"], "stop": ["experts"], "kill": ["experts"]}},
         "ci": {"mpi": ALL, "ucx": {"fail": list(WHERE), "kill": KILL}, "ucx+split": SPLIT},
         "all": {"mpi": ALL, "ucx": ALL, "ucx+split": SPLIT}}
LIVES_LONG = 60.0  # seconds: a deadline that must not be what ends the job


def read(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""  # it has ended


def processes_with(token):
    return [entry.parent for entry in pathlib.Path("/proc").glob("[0-9]*/cmdline") if token.encode() in read(entry)]


def is_stopped(process):
    return read(process / "stat").rpartition(b")")[2].split()[:1] == [b"T"]


class Job:
    """One run of generate, with the times of what it says."""

    def __init__(self, cemoe, model, transport, fault, deadline, token, **settings):
        # Three prompts, so that every rank has tokens.
        command = [MPIRUN, RANKS, cemoe, "generate", "--model", model, "--prompt", token, "--prompt", "Question: A", "--prompt", "b",
                   "--max-tokens", LAST_STEP, "--compressed-experts", AFFINE, "--ignore-eos", "--quiet", "--deadline-ms", round(deadline * 1000),
                   "--transport", transport.removesuffix("+split"), "--expert-split", "node" if transport.endswith("+split") else "none"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CE_TEST_SECONDS": "60", "CEMOE_TEST_FAULT": fault, **settings}
        self.token = token
        self.lines = []  # (time, text)
        self.stopped = None  # when a rank was first seen stopped
        self.process = subprocess.Popen([*map(str, command)], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, text=True, errors="replace")
        self.reader = threading.Thread(target=self.read_lines)
        self.began = time.monotonic()
        self.reader.start()

    def read_lines(self):
        for line in self.process.stderr:
            self.lines.append((time.monotonic(), line.rstrip("\n")))

    def make_late(self, rank):
        """Another rank cannot say its line when it is due: it is stopped, until a moment after the first line."""
        while self.stopped is None and self.process.poll() is None:
            self.look()
        time.sleep(DEADLINE / 2)  # it waits by then: its deadline passes while it is stopped
        (process,) = [p for p in processes_with(self.token) if f"OMPI_COMM_WORLD_RANK={rank}\0".encode() in read(p / "environ")]
        os.kill(int(process.name), signal.SIGSTOP)
        while not self.ours() and self.process.poll() is None:
            time.sleep(0.02)
        time.sleep(LATE)
        if self.process.poll() is None:
            os.kill(int(process.name), signal.SIGCONT)

    def look(self):
        if self.stopped is None and any(map(is_stopped, processes_with(self.token))):
            self.stopped = time.monotonic()

    def wait(self):
        """Until mpirun has ended and no process is left; False when that takes too long."""
        limit = self.began + 90
        while time.monotonic() < limit and (self.process.poll() is None or processes_with(self.token)):
            self.look()
            time.sleep(0.02)
        self.gone = time.monotonic()
        left = processes_with(self.token)
        for process in left:
            os.kill(int(process.name), signal.SIGKILL)
        self.process.wait()
        self.reader.join()
        return not left

    def ours(self):
        return [(when, line) for when, line in self.lines if line.startswith("cemoe")]


def check_fail(job, rank, stage):
    step, layer = WHERE[stage]
    wanted = rf"cemoe(\[rank {rank}\])?: error: generate: rank {rank}: step {step}, layer {layer}, stage {stage}: failed .*"
    lines = job.ours()
    if job.process.returncode != 1:
        yield f"exit code {job.process.returncode}, not 1"
    if len(lines) != 1 or not re.fullmatch(wanted, lines[0][1]):
        yield "not one line about the failure"
    if job.gone - job.began > LIVES_LONG / 2:
        yield f"took {job.gone - job.began:.1f} s"


def state_line(stage, me, missing, deadline):
    """What rank `me` says when `missing` does not go on from the stage: it is there, or further as far as it can be."""
    step, _ = WHERE[stage]
    ms = round(deadline * 1000)
    if stage in ("start", "load"):  # seen by its process: its messages may take longer there
        return rf"stage {stage}: on \S+: no sign after {ms} ms from rank {missing} \(process \d+ is stopped\)"
    where = rf"step {step}, layer \d, stage \w+: " if step > 0 else rf"stage {stage}: "
    # Whoever waits for a rank that waits for the missing one names both; whose message has not been taken names the taker.
    ranks = rf"ranks? (\d, )?{missing}(, \d)?"
    return (rf"{where}\w+ round \d+: (no sign after {ms} ms from {ranks} \(of {RANKS}, \d here\)|no message after {ms} ms from {ranks} \(of {RANKS}, \d here\); sends not done: .*|"
            rf"all messages are here, but after {ms} ms sends not done: {ranks} \(of {RANKS}\))")


def check_stop(job, rank, stage):
    deadline = job.deadline
    since = job.stopped
    if since is None:
        since = job.began  # it hangs in a way that cannot be seen
        if job.kind != "hang":
            yield "no rank was stopped"
    if job.process.returncode != 1:
        yield f"exit code {job.process.returncode}, not 1"
    others = [r for r in range(RANKS) if r != rank]
    # Open MPI's mpirun wakes a stopped process (SIGCONT) two seconds before it kills it: that one may say something, too.
    lines = [(when, line) for when, line in job.ours() if f" rank {rank}: " not in line]
    if len(lines) != len(others):
        yield f"{len(lines)} state lines, not {len(others)}"
    for me in others:
        wanted = rf"cemoe(\[rank {me}\])?: error: generate: rank {me}: " + state_line(stage, me, rank, deadline)
        said = [when for when, line in lines if re.fullmatch(wanted, line)]
        if len(said) != 1:
            yield f"rank {me}: {len(said)} lines like: {wanted}"
        elif job.kind != "hang" and said[0] - since > deadline + 2:
            yield f"rank {me} said so after {said[0] - since:.1f} s"
    if job.kind == "late" and lines and lines[-1][0] - lines[0][0] < LATE * 0.75:
        yield "mpirun woke the late rank, to end it"
    if job.gone - since > deadline + 10:
        yield f"gone after {job.gone - since:.1f} s"


def check_kill(job, rank, stage):
    del stage
    if job.process.returncode == 0:
        yield "exit code 0"
    if not any(re.search(rf"process rank {rank} with PID .* exited on signal 9", line) for _, line in job.lines):
        yield f"mpirun does not name rank {rank}"
    if job.gone - job.began > LIVES_LONG / 2:
        yield f"took {job.gone - job.began:.1f} s"


CHECKS = {"fail": check_fail, "stop": check_stop, "late": check_stop, "hang": check_stop, "kill": check_kill}


def run_case(program, kind, rank, stage):
    deadline = LIVES_LONG if kind in ("fail", "kill") else DEADLINE
    step, layer = WHERE[stage]
    fault = f"{'stop' if kind == 'late' else kind}:{rank}:{step}:{layer}:{stage}"
    # mpirun wakes the others, waits and kills them. "late" shows that the ranks wait for each other's lines: mpirun must not.
    seconds = "1" if stage == USERS_STAGE else "0"
    job = Job(*program, fault, deadline, f"stages-token-{os.getpid()}-{kind}-{stage}.", OMPI_MCA_odls_base_sigkill_timeout=seconds)
    job.kind, job.deadline = kind, deadline
    if kind == "late":
        job.make_late((rank + 1) % RANKS)
    ended = job.wait()
    if job.process.returncode == 77:
        return 77
    wrong = [] if ended else ["processes were left"]
    wrong += CHECKS[kind](job, rank, stage)
    lines = [f"{kind} of rank {rank} in {stage}: {'; '.join(wrong) or 'ok'} ({job.gone - job.began:.1f} s)"]
    lines += [f"  {when - job.began:5.2f} {line}" for when, line in job.lines] if wrong else []
    print("\n".join(lines), flush=True)
    return bool(wrong)


def main(cemoe, model, transport, *chosen):
    cases = [tuple(case.split(":")) for case in chosen]
    cases = cases or [(kind, stage) for kind, stages in CASES[RING][transport].items() for stage in stages]
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        codes = list(pool.map(lambda i: run_case((cemoe, model, transport), cases[i][0], (i + 1) % RANKS, cases[i][1]), range(len(cases))))
    return 77 if 77 in codes else any(codes)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
