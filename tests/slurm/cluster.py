"""A real Slurm of two hosts for a test, and jobs in it."""

import os
import pathlib
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/net"))

import testbed  # noqa: E402

PREFIX = "test"
STATE = pathlib.Path(f"/run/cemoe-testbed-{PREFIX}")
HOSTS = 2

# What a job of root's on hosts that share their cores needs; a user of a cluster needs none of it.
SETTINGS = {"SLURM_CONF": str(STATE / "slurm.conf"),
            "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
            "OMPI_MCA_oob_tcp_if_include": "eth0", "OMPI_MCA_btl_tcp_if_include": "eth0",
            "OMPI_MCA_mpi_yield_when_idle": "1", "UCX_NET_DEVICES": "eth0", "OMP_WAIT_POLICY": "passive",
            "CEMOE_MPIRUN_OPTIONS": "--bind-to none"}


def run_apart(seconds):
    for tool in ("munged", "slurmctld", "slurmd", "sbatch"):
        if shutil.which(tool, path=os.environ["PATH"] + ":/usr/sbin") is None:
            print(f"skipped: {tool} is not installed; deploy/install-deps.sh --slurm")
            sys.exit(testbed.SKIPPED)
    testbed.run_apart(seconds)


class Cluster(testbed.Testbed):
    """`with Cluster() as cluster`: Slurm is up inside; after it its processes are gone."""

    def __init__(self):
        super().__init__(HOSTS, prefix=PREFIX)

    def __enter__(self):
        super().__enter__()
        began = time.monotonic()
        done = self.script("slurm-up.sh")
        if done.returncode != 0:
            sys.exit(f"failed: slurm-up.sh: {done.stderr}")
        print(f"Slurm is up after {time.monotonic() - began:.1f} s", flush=True)
        return self

    def __exit__(self, *_):
        recorded = [int(file.read_text()) for file in STATE.glob("run/*.pid")]
        super().__exit__()
        left = [pid for pid in recorded if os.path.exists(f"/proc/{pid}/exe")]
        if left or STATE.exists():
            sys.exit(f"failed: down.sh left {left} {STATE.exists()}")

    def run(self, *command, check=True, **settings):
        """A command as on the first host; returns what it printed."""
        done = subprocess.run([testbed.SCRIPTS / "run-on.sh", "0", *map(str, command)], capture_output=True, text=True,
                              check=False, stdin=subprocess.DEVNULL,
                              env=testbed.environment(CEMOE_TESTBED=PREFIX, **SETTINGS,
                                                      **{name: str(value) for name, value in settings.items()}))
        if check and done.returncode != 0:
            sys.exit(f"failed: {command}: {done.returncode} {done.stdout} {done.stderr}")
        return done.stdout if check else done

    def submit(self, script, folder, *options, **settings):
        """sbatch of one of the project's files, in the folder, which gets the logs; returns the job."""
        out = self.run("sbatch", "--parsable", f"--chdir={folder}", *options, ROOT / "slurm" / script,
                       CEMOE_SLURM=ROOT / "slurm", **settings)
        return Job(self, int(out.split(";")[0]), folder)

    def find_ranks(self, program):
        """Processes of the program on all hosts that are not batch scripts' own questions."""
        found = []
        for host in range(self.count):
            for pid in self.processes(host):
                try:
                    command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                    if os.path.realpath(f"/proc/{pid}/exe") == os.path.realpath(program) and b"--model" in command:
                        found.append(pid)
                except OSError:
                    pass  # it ended while we looked
        return found


class Job:
    def __init__(self, cluster, number, folder):
        self.cluster = cluster
        self.number = number
        self.folder = pathlib.Path(folder)

    def show(self):
        """Fields of `scontrol show job`, of each element of an array."""
        shown = self.cluster.run("scontrol", "--oneliner", "show", "job", self.number)
        return [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in shown.splitlines()]

    def starts(self):
        """Times it was requeued, and its state."""
        fields = self.show()[0]
        return int(fields["Restarts"]), fields["JobState"]

    def log(self):
        return "".join(file.read_text() for file in sorted(self.folder.glob("*.log")))

    def fail(self, *what):
        sys.exit(" ".join(map(str, ("failed:", *what, self.show(), "\n" + self.log()))))

    def wait(self, seconds, done, what):
        """Until done() is true, looking often."""
        limit = time.monotonic() + seconds
        while not (result := done()):
            if time.monotonic() > limit:
                self.fail("after", seconds, "s not", what)
            time.sleep(0.05)
        return result

    def end(self, seconds=60):
        """Waits for all of it; returns the exit codes."""
        ended = ("COMPLETED", "FAILED", "TIMEOUT", "CANCELLED", "NODE_FAIL")
        self.wait(seconds, lambda: all(fields["JobState"] in ended for fields in self.show()), "ended")
        return [int(fields["ExitCode"].split(":")[0]) for fields in self.show()]
