"""Hosts of deploy/testbed for a test, which runs apart from the machine and leaves nothing on it."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "deploy/testbed"
SKIPPED = 77
INSIDE = "CEMOE_TEST_INSIDE"  # set once the test runs apart

# What a testbed stands on, tried in a namespace that is gone at once.
PROBE = """ip link add br0 type bridge
ip link add eth0 type veth peer name host0
ip link set host0 master br0
tc qdisc add dev eth0 root tbf rate 1gbit burst 256kb latency 50ms
mount -t tmpfs tmpfs /dev/shm
mount -t sysfs sysfs /sys"""


def reason_to_skip():
    if os.geteuid() != 0:
        return "network namespaces need root"
    for tool in ("ip", "tc", "nsenter", "unshare", "setpriv", "mpirun"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    probe = subprocess.run(["unshare", "--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "sh", "-ec", PROBE],
                           capture_output=True, text=True, check=False)
    return f"the kernel refuses: {probe.stderr.strip()}" if probe.returncode != 0 else None


def run_apart(seconds):
    """Runs this program again where the kernel removes all it makes, however it ends; returns inside only.

    Inside, process ids and mounts are private, names of namespaces among them: when the first
    process ends, the rest is killed and the last user of a namespace is gone. It ends when we do.
    """
    if os.environ.get(INSIDE):
        os.makedirs("/run/netns", exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run/netns"], check=True)
        return
    if reason := reason_to_skip():
        print(f"skipped: {reason}")
        sys.exit(SKIPPED)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    command = ["setpriv", "--pdeathsig", "KILL",
               "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
               sys.executable, "-B", *sys.argv]
    # Also Open MPI's files go where they are removed.
    with tempfile.TemporaryDirectory(prefix="cemoe-net-") as folder:
        try:
            sys.exit(subprocess.run(command, env={**os.environ, INSIDE: "1", "TMPDIR": folder}, timeout=seconds,
                                    check=False).returncode)
        except subprocess.TimeoutExpired:
            sys.exit(f"not done after {seconds} s")


def environment(**extra):
    """One thread a rank, and what tests/mpi/mpirun.sh sets for the sanitizers."""
    return {**os.environ, "OMP_NUM_THREADS": "1",
            "LSAN_OPTIONS": f"suppressions={ROOT}/tests/mpi/lsan.supp:print_suppressions=0",
            "ASAN_OPTIONS": ":".join(filter(None, [os.environ.get("ASAN_OPTIONS"), "fast_unwind_on_malloc=0"])),
            **extra}


class Testbed:
    """`with Testbed(2) as hosts`: up inside, down after."""

    def __init__(self, count, *rate, prefix="test"):
        self.count = count
        self.rate = rate
        self.prefix = prefix

    def __enter__(self):
        self.script("up.sh", self.count, *self.rate).check_returncode()
        return self

    def __exit__(self, *_):
        self.script("down.sh").check_returncode()

    def start(self, script, *arguments):
        return subprocess.Popen([SCRIPTS / script, *map(str, arguments)], stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                env=environment(CEMOE_TESTBED=self.prefix))

    def script(self, script, *arguments):
        """The script, done: returncode, stdout, stderr."""
        process = self.start(script, *arguments)
        out, err = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def counters(self, interface="eth0"):
        """(bytes out, bytes in) of the interface of each host."""
        result = []
        for host in range(self.count):
            shown = subprocess.run(["ip", "-n", f"{self.prefix}-{host}", "-json", "-statistics", "link", "show",
                                    interface], capture_output=True, text=True, check=True)
            stats = json.loads(shown.stdout)[0]["stats64"]
            result.append((stats["tx"]["bytes"], stats["rx"]["bytes"]))
        return result

    def processes(self, host):
        listed = subprocess.run(["ip", "netns", "pids", f"{self.prefix}-{host}"],
                                capture_output=True, text=True, check=True)
        return [int(pid) for pid in listed.stdout.split()]

    def wait_until_empty(self, seconds):
        """Processes that are still on some host then."""
        limit = time.monotonic() + seconds
        while (left := [pid for host in range(self.count) for pid in self.processes(host)]):
            if time.monotonic() > limit:
                break
            time.sleep(0.05)
        return left
