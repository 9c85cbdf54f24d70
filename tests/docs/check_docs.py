#!/usr/bin/env python3
"""check_docs.py CASE [BUILD]: what the pages say holds.

pages  every block of the pages for users has a mark, every relative link leads somewhere
user   the blocks marked to be run, page after page, as an ordinary user
root   the same as root, with those that only root can run and those that need a Slurm

A pass starts from a copy of this checkout and of BUILD, without the program, in a home that is
empty and an environment that knows nothing. The copy is where the original was, seen by nobody
else: a build tree has its own path in it.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import pages
from pages import ROOT

sys.path.insert(0, str(ROOT / "tests/slurm"))
import cluster  # noqa: E402

NOBODY = 65534
SECONDS = 280  # for a whole pass
MAPPED = "CEMOE_TEST_MAPPED"  # user and group of who started it, once it runs as root of a namespace of theirs
# Tests share the cores: who waits must not spin.
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8",
               "OMP_WAIT_POLICY": "passive"}


def check_pages():
    wrong = [link for page in pages.all_pages() for link in pages.broken_links(page)]
    blocks = []
    for page in pages.marked_pages():
        try:
            blocks += pages.read(page)
        except ValueError as error:
            wrong.append(str(error))
    if wrong:
        sys.exit("\n".join(wrong))
    counts = {kind: sum(block.kind == kind for block in blocks) for kind in pages.KINDS}
    print(", ".join(f"{count} {kind}" for kind, count in counts.items()))


def ignored(build):
    """For copytree: what a pass does not need. Of the tests only what a build tree is configured by."""
    def ignore(folder, names):
        folder = pathlib.Path(folder)
        if folder == ROOT:
            return [name for name in names if name.startswith((".git", "build", "results"))]
        if build / "tests" in (folder, *folder.parents):
            return [name for name in names if (folder / name).is_file() and not name.endswith(".cmake")]
        return ["Testing"] if folder == build else []
    return ignore


def copy_tree(copy, build):
    """Times stay, so that nothing is built again but the program and what is made by it."""
    shutil.copytree(ROOT, copy, symlinks=True, ignore=ignored(build))
    folder = copy / build.relative_to(ROOT)
    shutil.copytree(build, folder, symlinks=True, ignore=ignored(build))
    for made in ("cemoe", "cemoe.1", "cemoe.bash"):
        (folder / made).unlink()


def mount(*arguments):
    subprocess.run(["mount", *map(str, arguments)], check=True)


def stand_in(build):
    """Puts a copy where the original is, in the mounts of this process, with an empty /tmp and /run."""
    copy = pathlib.Path(os.environ["TMPDIR"]) / "copy"
    copy_tree(copy, build)
    mount("--bind", copy, "/mnt")
    mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", "/tmp")
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    os.environ["TMPDIR"] = "/tmp"
    for folder in reversed(ROOT.parents):  # nobody else could come to a checkout in /root
        if folder.exists() and not folder.stat().st_mode & 1:
            mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", folder)
    ROOT.mkdir(parents=True, exist_ok=True)
    mount("--bind", "/mnt", ROOT)
    os.chdir(ROOT)


def give(user, *tops):
    for top in tops:
        for folder, _, names in os.walk(top):
            for path in (folder, *(os.path.join(folder, name) for name in names)):
                os.chown(path, user, user, follow_symlinks=False)


def read_note(note):
    """What a block printed, None where it did not run."""
    streams = [pathlib.Path(f"{note}.{stream}") for stream in ("out", "err")]
    return "".join(stream.read_text(errors="replace") for stream in streams) if streams[0].exists() else None


class Pass:
    """The pages as one user runs them, with notes of what was printed in `scratch`."""

    def __init__(self, user, scratch):
        self.user = user
        self.become = []  # what a shell of that user is started with
        self.home = scratch / "home"
        self.notes = scratch / "notes"
        self.home.mkdir()
        self.notes.mkdir()
        self.state = scratch / "notes/exported"  # by README.md, for the other pages
        self.count = 0

    def runs(self, block):
        return block.kind == "run" or (self.user == 0 and block.kind in ("run as root", "run with slurm"))

    def note(self, page, number):
        return self.notes / f"{str(page).replace('/', '-')}.{number}"

    def commands(self, block):
        if block.kind == "file":
            parent = pathlib.PurePath(block.argument).parent
            return f"mkdir -p {parent}\ncat >{block.argument} <<'END_OF_FILE'\n{block.text}END_OF_FILE\n"
        if block.kind == "run with slurm":
            settings = " ".join(f"'{name}={value}'" for name, value in cluster.SETTINGS.items())
            return (f"env CEMOE_TESTBED={cluster.PREFIX} {settings} deploy/testbed/run-on.sh 0 bash -e "
                    f"<<'END_OF_BLOCK'\n{block.text}END_OF_BLOCK\n")
        return block.text

    def script(self, page, blocks):
        """One shell for the page. What a block prints goes to two files, as mpirun may begin a line of one stream
        in the middle of a line of the other; `times` has when each block began."""
        lines = ["set -e", 'note() { echo "$EPOCHREALTIME $1 $2" >>' + f'{self.notes}/times; exec >"$2.out" 2>"$2.err"; }}']
        if self.state.exists():
            lines.append(f". {self.state}")
        for number, block in enumerate(blocks):
            if self.runs(block) or block.kind == "file":
                lines += [f"note {block} {self.note(page, number)}", self.commands(block)]
        return "\n".join([*lines, f"note end {self.note(page, 'end')}", f"export -p >{self.notes}/exported.{len(lines)}",
                          f"[ -e {self.state} ] || mv {self.notes}/exported.{len(lines)} {self.state}"])

    def run_page(self, page):
        blocks = pages.read(page)
        if not any(map(self.runs, blocks)):
            return
        (self.notes / "times").unlink(missing_ok=True)
        done = subprocess.run([*self.become, "bash", "-c", self.script(page, blocks)], cwd=ROOT,
                              env={**ENVIRONMENT, "HOME": str(self.home)}, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False)
        times = [line.split() for line in (self.notes / "times").read_text().splitlines()]
        if done.returncode != 0:
            printed = read_note(times[-1][2])
            sys.exit(f"failed: {times[-1][1]}: exit code {done.returncode}; it printed\n{printed}{done.stderr}")
        for (began, where, _), (ended, *_) in zip(times, times[1:]):
            print(f"{float(ended) - float(began):6.1f} s  {where}", flush=True)
        self.count += len(times) - 1
        self.compare(page, blocks)

    def compare(self, page, blocks):
        """What output blocks show with what the block before them printed."""
        printed = None
        for number, block in enumerate(blocks):
            if block.kind.startswith("output") and printed is not None:
                missing = pages.missing_lines(block.text, printed, block.kind == "output exactly")
                if missing:
                    sys.exit(f"failed: {block}: shown, but not printed:\n" + "\n".join(missing) +
                             f"\nprinted was\n{printed}")
            elif not block.kind.startswith("output") and block.kind != "file":
                printed = read_note(self.note(page, number))

    def run(self):
        for page in pages.marked_pages():
            self.run_page(page)
        print(f"{self.count} blocks ran as user {self.user}")


def run_mapped():
    """Runs this program again as what is root in a namespace of ours alone, so that we may mount there."""
    command = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if (probe := subprocess.run([*command, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, text=True,
                                check=False)).returncode != 0:
        print(f"skipped: the kernel refuses: {probe.stderr.strip()}")
        sys.exit(cluster.testbed.SKIPPED)
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(subprocess.run([*command, sys.executable, "-B", *sys.argv], check=False, timeout=SECONDS,
                                env={**os.environ, "TMPDIR": folder, MAPPED: f"{os.geteuid()} {os.getegid()}"}).returncode)


def run_user(build):
    """As nobody where root starts it; anybody else is an ordinary user already."""
    mapped = os.environ.get(MAPPED, "").split()
    if os.geteuid() != 0:
        run_mapped()
    if not mapped:
        cluster.testbed.run_apart(SECONDS)
    stand_in(build)
    one = Pass(int(mapped[0]) if mapped else NOBODY, pathlib.Path(tempfile.mkdtemp()))
    if mapped:
        one.become = ["unshare", "--user", f"--map-user={mapped[0]}", f"--map-group={mapped[1]}"]
    else:
        one.become = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        give(NOBODY, ROOT, one.home.parent)
    one.run()


def run_root(build):
    cluster.run_apart(SECONDS)
    stand_in(build)
    with cluster.Cluster():
        Pass(0, pathlib.Path(tempfile.mkdtemp())).run()


def main(case, build=""):
    if case == "pages":
        check_pages()
    else:
        {"user": run_user, "root": run_root}[case](pathlib.Path(build).resolve())


if __name__ == "__main__":
    main(*sys.argv[1:])
