#!/usr/bin/env python3
"""check_network.py CASE PROGRAM MODEL: the program across hosts that are joined by a network.

traffic  what the interfaces count is what the engine says it sent; compressed moves less; same results
ranks    two ranks on each of two hosts: what stays within a host is in shared memory
rate     the same results over a slow network
killed   a rank killed on another host ends the job, everywhere and soon
scripts  what the scripts of deploy/testbed promise beyond that
"""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

import testbed

QUICK = bool(os.environ.get("CEMOE_SANITIZED"))  # less text
SECONDS = 150  # for a whole case

# Small enough steps that messages are tens of kilobytes, not hundreds: the overhead is then at its worst.
STEP_TOKENS = 64
LEAST_MESSAGE = 10_000
LEAST_MOVED = 0 if QUICK else 20_000_000
# Interface over engine: headers, acknowledgements, one header for a segment of up to 64 KiB.
OVERHEAD = (1.00, 1.05)
# Interface over rows and their ids and weights alone: with the engine's headers as well.
OVERHEAD_OF_ROWS = (1.00, 1.10)


def check(holds, *what):
    if not holds:
        sys.exit(" ".join(map(str, ("failed:", *what))))


def engine_traffic(stats):
    """Of a --stats file: (messages, bytes sent by each host, bytes for each host), between hosts only."""
    hosts = [rank["host"] for rank in stats["ranks"]]
    names = sorted(set(hosts))
    messages, sent, received = 0, [0] * len(names), [0] * len(names)
    for rank in stats["ranks"]:
        for slot in rank["traffic"].values():
            for peer, host in enumerate(hosts):
                if host != rank["host"]:
                    messages += slot["sent_messages"][peer]
                    sent[names.index(rank["host"])] += slot["sent_bytes"][peer]
                    received[names.index(host)] += slot["sent_bytes"][peer]
    return messages, sent, received


def row_bytes(stats):
    """Rows, ids and weights between ranks, also those of one host."""
    total = 0
    for rank in stats["ranks"]:
        for slot in ("dispatch", "combine"):
            total += sum(sent for peer, sent in enumerate(rank["traffic"][slot]["sent_bytes"]) if peer != rank["rank"])
    return total


class Run:
    """One `cemoe score` across hosts: results, and what interfaces and engine counted of it."""

    def __init__(self, hosts, ranks_per_host, command):
        with tempfile.NamedTemporaryFile() as file:
            before, began = hosts.counters(), time.monotonic()
            done = hosts.script("mpirun.sh", hosts.count, ranks_per_host, *command, "--stats", file.name)
            self.seconds = time.monotonic() - began
            after = hosts.counters()
            check(done.returncode == 0, "exit code", done.returncode, done.stdout, done.stderr)
            stats = json.loads(pathlib.Path(file.name).read_text())
        self.results = done.stdout
        self.tokens = sum(rank["tokens"] for rank in stats["ranks"])
        self.out, self.into = ([y - x for x, y in zip(b, a)] for b, a in zip(zip(*before), zip(*after)))
        self.messages, self.sent, self.received = engine_traffic(stats)
        self.rows = row_bytes(stats)

    def minus(self, start):
        """Without what another run moved, which did hardly more than start and end."""
        for mine, its in ((self.out, start.out), (self.into, start.into), (self.sent, start.sent),
                          (self.received, start.received)):
            mine[:] = [x - y for x, y in zip(mine, its)]
        self.messages -= start.messages
        self.rows -= start.rows
        self.tokens -= start.tokens
        return self


def output_of(command):
    """Of a run on this machine alone."""
    return subprocess.run(command, capture_output=True, text=True, check=True, env=testbed.environment()).stdout


class Score:
    """The commands: the text on one rank without network, and across hosts."""

    MODES = {"uncompressed": ["--compressed", "0"],
             "compressed": ["--compressed-experts", "{model}/ces-math.safetensors"]}

    def __init__(self, program, model, folder, copies=1):
        self.program, self.model = program, model
        self.text, self.word = folder / "text", folder / "word"
        text = pathlib.Path(model, "eval/math.txt").read_bytes()
        self.text.write_bytes(text[:4000] if QUICK else text * copies)
        self.word.write_bytes(text[:20])
        self.wanted = {}

    def command(self, mode, file, *more):
        options = [option.format(model=self.model) for option in self.MODES[mode]]
        return [self.program, "score", "--model", self.model, "--file", file, "--json", "--quiet", *options, *more]

    def results(self, mode):
        """Of one rank, at the default size of a step."""
        if mode not in self.wanted:
            self.wanted[mode] = output_of(self.command(mode, self.text))
        return self.wanted[mode]

    def run(self, hosts, ranks_per_host, mode, transport):
        run = Run(hosts, ranks_per_host, self.command(mode, self.text, "--transport", transport,
                                                      "--step-tokens", STEP_TOKENS))
        check(run.results == self.results(mode), "other results:", run.results, self.results(mode))
        return run

    def start(self, hosts, ranks_per_host, transport):
        return Run(hosts, ranks_per_host, self.command("uncompressed", self.word, "--transport", transport))

    def closed_form(self, ranks):
        """Bytes of a token in all layers, by mode, when all experts are as likely."""
        document = json.loads(output_of([self.program, "inspect", "--model", self.model, "--ranks", str(ranks),
                                         "--compressed", "2", "--json"]))
        ordered = document["traffic"]["ordered"]
        return {mode: ordered[mode]["bytes"] * document["config"]["num_hidden_layers"] for mode in self.MODES}


def within(bounds, value):
    return bounds[0] <= value <= bounds[1]


def check_counters(run, what):
    """The interfaces of every host, both ways, against the engine."""
    for host, counts in enumerate(zip(run.out, run.sent, run.into, run.received)):
        ratios = counts[0] / counts[1], counts[2] / counts[3]
        check(all(within(OVERHEAD, ratio) for ratio in ratios), what, f"host {host} out, in: {ratios[0]:.4f},",
              f"{ratios[1]:.4f} of the engine's bytes, not {OVERHEAD}")
    check(sum(run.sent) >= LEAST_MOVED, what, "moved only", sum(run.sent))
    mean = sum(run.sent) / run.messages
    check(mean >= LEAST_MESSAGE, what, f"{mean:.0f} bytes a message")


def check_transport(score, hosts, transport, closed):
    start = score.start(hosts, 1, transport)
    runs = {mode: score.run(hosts, 1, mode, transport).minus(start) for mode in Score.MODES}
    for mode, run in runs.items():
        check_counters(run, f"{hosts.count} hosts, {transport}, {mode}:")
        ratio = sum(run.out) / run.rows
        check(within(OVERHEAD_OF_ROWS, ratio), "interface over rows and metadata:", ratio)
        print(f"{hosts.count:5} {transport:9} {mode:12} {sum(run.out):12,} {sum(run.sent):12,} "
              f"{sum(run.out) / sum(run.sent):8.4f} {ratio:8.4f} {closed[mode] * run.tokens:12,.0f} "
              f"{sum(run.sent) / run.messages / 1000:7.1f}", flush=True)
    moved = sum(runs["compressed"].out) / sum(runs["uncompressed"].out)
    print(f"      compressed over uncompressed: {moved:.3f} on the interfaces, "
          f"{closed['compressed'] / closed['uncompressed']:.3f} by the closed forms; "
          f"start and end alone: {sum(start.out):,} bytes", flush=True)
    check(moved < 0.75, "compressed moves", moved)


def case_traffic(score):
    print("Bytes: interface, sent by all hosts together, and over the engine's and over rows, ids and weights alone;\n"
          "engine, the messages between its ranks; closed form, if all experts were as likely; kB, of a message\n"
          "hosts transport mode            interface       engine  /engine    /rows  closed form      kB")
    for count in (2,) if QUICK else (2, 3):
        closed = score.closed_form(count)
        with testbed.Testbed(count) as hosts:
            for transport in ("ucx",) if QUICK else ("mpi", "ucx"):
                check_transport(score, hosts, transport, closed)


def case_ranks(score):
    with testbed.Testbed(2) as hosts:
        for transport in ("mpi", "ucx"):
            start = score.start(hosts, 2, transport)
            before = hosts.counters("lo")
            run = score.run(hosts, 2, "compressed", transport).minus(start)
            check_counters(run, transport)
            own = [y[0] - x[0] for x, y in zip(before, hosts.counters("lo"))]
            check(max(own) < 0.01 * sum(run.sent), "within hosts over TCP:", own)
            print(f"{transport}: {sum(run.out):,} bytes between hosts, {sum(own):,} over TCP within hosts")


def case_rate(score):
    with testbed.Testbed(2, "100mbit") as hosts:
        for transport in ("mpi", "ucx"):
            run = score.run(hosts, 1, "compressed", transport)
            least = max(run.out) / (100e6 / 8)
            check(run.seconds > 0.9 * least, "no limit:", run.seconds, "s for", run.out)
            print(f"{transport}: {run.seconds:.1f} s, at this rate at least {least:.1f} s")


def rank_on(hosts, host, program):
    """The process of the rank, once it has sent a megabyte."""
    limit = time.monotonic() + 30
    while time.monotonic() < limit:
        if hosts.counters()[host][0] > 1_000_000:
            for pid in hosts.processes(host):
                if os.path.realpath(f"/proc/{pid}/exe") == os.path.realpath(program):
                    return pid
        time.sleep(0.01)
    sys.exit(f"failed: no rank at work on host {host}")


def case_killed(score):
    for transport in ("mpi", "ucx"):
        with testbed.Testbed(3) as hosts:
            job = hosts.start("mpirun.sh", 3, 1, *score.command("uncompressed", score.text, "--transport", transport,
                                                                "--step-tokens", STEP_TOKENS))
            os.kill(rank_on(hosts, 1, score.program), signal.SIGKILL)
            killed = time.monotonic()
            out, err = job.communicate()
            left = hosts.wait_until_empty(15 - (time.monotonic() - killed))
            seconds = time.monotonic() - killed
            check(job.returncode != 0 and out == "", "exit code", job.returncode, out, err)
            # Whoever notices first says so: the launcher, or ucx on the other ranks.
            check(re.search(r"rank 1 .*on node test-1 exited on signal 9|lost rank 1\b", err), "not named:", err)
            check(not left and seconds < 15, "left after", seconds, "s:", left)
            print(f"{transport}: exit code {job.returncode}, all gone after {seconds:.1f} s")


def names():
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True)
    return {line.split()[0] for line in listed.stdout.splitlines()}


def check_refusals(hosts):
    """Exit code and words of each; nothing is made or removed."""
    there = names()
    for code, words, script, *arguments in (
            (2, "K", "up.sh"),
            (2, "K is a number", "up.sh", "0"),
            (2, "K is a number", "up.sh", "2x"),
            (1, "up already", "up.sh", "2"),
            (2, "no arguments", "down.sh", "all"),
            (2, "COMMAND", "run-on.sh", "0"),
            (1, "no host test-7", "run-on.sh", "7", "true"),
            (2, "RANKS_PER_HOST", "mpirun.sh", "2", "-n", "true"),
            (1, "only 2 of 3 hosts", "mpirun.sh", "3", "1", "true")):
        done = hosts.script(script, *arguments)
        check(done.returncode == code and words in done.stderr, script, arguments, done)
    check(names() == there, "changed:", there, names())
    for script in ("up.sh", "down.sh", "run-on.sh", "rsh.sh", "mpirun.sh"):
        done = hosts.script(script, "--help")
        check(done.returncode == 0 and done.stdout.startswith(script), done)


def check_hosts_are_apart(hosts):
    done = hosts.script("run-on.sh", "1", "sh", "-c", "hostname; ls /dev/shm /sys/class/net; ls /sys/fs/cgroup; exit 3")
    wanted = ["test-1", "/dev/shm:", "", "/sys/class/net:", "eth0", "lo", *sorted(os.listdir("/sys/fs/cgroup"))]
    check((done.returncode, done.stdout.splitlines()) == (3, wanted), done, wanted)


def case_scripts(_score):
    subprocess.run(["ip", "netns", "add", "test-other"], check=True)  # named alike, but not ours
    with testbed.Testbed(2) as hosts:
        with testbed.Testbed(2, prefix="second") as second:
            check_refusals(hosts)
            check_hosts_are_apart(hosts)
            sleeper = second.start("run-on.sh", "second-0", "sleep", "100")
            while len(second.processes(0)) != 1:
                time.sleep(0.01)
        check(sleeper.wait(timeout=10) == -signal.SIGKILL, "down.sh left a process")
        sleeper.communicate()
        check(names() == {"test-other", "test-hub", "test-0", "test-1"}, "down.sh left or took:", names())
    check(names() == {"test-other"}, "down.sh left or took:", names())
    failed = testbed.Testbed(2).script("up.sh", "2", "fast")
    check(failed.returncode == 1 and names() == {"test-other"}, "half up:", failed, names())


def main(case, program, model):
    testbed.run_apart(SECONDS)
    with tempfile.TemporaryDirectory() as folder:
        globals()[f"case_{case}"](Score(program, model, pathlib.Path(folder), copies=20 if case == "killed" else 1))
    print(f"{case}: ok")


if __name__ == "__main__":
    main(*sys.argv[1:])
