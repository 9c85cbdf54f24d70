"""The pages that a user reads, their blocks with the mark before each, and their links."""

import dataclasses
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Whose blocks are marked: what a user runs. Links are followed in every page.
MARKED = ("README.md", "CONTRIBUTING.md", "docs/*.md", "deploy/**/README.md", "slurm/*.md", "bench/**/README.md")
MARK = re.compile(r"<!-- example: (.*?) -->")
KINDS = ("run", "run as root", "run with slurm", "output", "output exactly", "file", "skip")
FENCE = re.compile(r"( *)```")
HELP = ("; marks are run, run as root, run with slurm, output, output exactly, file NAME and skip: REASON, "
        "in a comment on the line before the block (docs/README.md)")


@dataclasses.dataclass
class Block:
    page: pathlib.Path  # relative to ROOT
    line: int  # of its first line of text
    kind: str  # of KINDS
    argument: str  # name or reason
    text: str

    def __str__(self):
        return f"{self.page}:{self.line}"


def marked_pages():
    """README.md first: the others go on from what it installs."""
    found = []
    for pattern in MARKED:
        found += sorted(path.relative_to(ROOT) for path in ROOT.glob(pattern) if path.relative_to(ROOT) not in found)
    return found


def all_pages():
    return sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.md")
                  if not path.relative_to(ROOT).parts[0].startswith((".", "build", "results")))


def parse_mark(where, line):
    """Kind and argument of the comment before a block."""
    mark = MARK.fullmatch(line.strip())
    if mark is None:
        raise ValueError(f"{where}: a block without a mark{HELP}")
    kind, argument = mark[1], ""
    if kind.startswith("skip:"):
        kind, argument = "skip", kind[len("skip:"):].strip()
    elif kind.startswith("file "):
        kind, argument = "file", kind[len("file "):].strip()
    if kind not in KINDS or (kind in ("skip", "file") and not argument):
        raise ValueError(f"{where}: \"{mark[1]}\" is no mark{HELP}")
    return kind, argument


def parse(page, text):
    """The blocks of a page's text, in order; an error names the first line that is wrong."""
    blocks, before, body = [], "", None
    in_list = False
    for number, line in enumerate(text.splitlines(), 1):
        where = f"{page}:{number}"
        fence = FENCE.match(line)
        if body is not None:
            if fence:
                blocks[-1].text, body = "".join(body), None
            else:
                body.append(line + "\n")
        elif fence:
            blocks.append(Block(page, number + 1, *parse_mark(where, before), ""))
            body = []
        elif before.startswith("<!-- example:"):
            raise ValueError(f"{where}: a mark without a block after it")
        elif line.startswith("    ") and not before and not in_list:
            raise ValueError(f"{where}: a block by indentation; put it between lines of ```, with a mark before it")
        if body is None and line and not line.startswith(" "):
            in_list = re.match(r"([-*]|\d+\.) ", line) is not None
        before = line
    if body is not None:
        raise ValueError(f"{page}: the last block has no end")
    return blocks


def read(page):
    return parse(page, (ROOT / page).read_text(encoding="utf-8"))


def prose(text):
    """A page without its blocks and code."""
    text = re.sub(r"(?ms)^ *```.*?^ *```$", "", text)
    return re.sub(r"`[^`\n]*`", "", text)


def anchor(title):
    """As GitHub makes it from a heading."""
    title = re.sub(r"[`*]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title)).strip().lower()
    return re.sub(r"[^\w\- ]", "", title).replace(" ", "-")


def anchors(path):
    text = re.sub(r"(?ms)^ *```.*?^ *```$", "", path.read_text(encoding="utf-8"))
    return {anchor(title) for title in re.findall(r"(?m)^#+ +(.*)$", text)}


def broken_links(page):
    """Each relative link of a page whose file or heading is not there."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose((ROOT / page).read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, heading = target.partition("#")
        path = (ROOT / page).parent / name if name else ROOT / page
        if not path.exists():
            yield f"{page}: {target}: there is no {name}"
        elif heading and (path.suffix != ".md" or heading not in anchors(path)):
            yield f"{page}: {target}: no heading of this name"


def line_pattern(line, exactly):
    """What a printed line must be for one of an output block: the same words, any numbers unless exactly."""
    words = [re.escape(word) for word in line.split()]
    if not exactly:
        words = [re.sub(r"\\?[-+]?\d+(\\?[.,]\d+)*", r"[-+]?\\d+([.,]\\d+)*", word) for word in words]
    return re.compile(r"\s*" + r"\s+".join(words) + r"\s*")


def missing_lines(wanted, printed, exactly=False):
    """The lines of an output block that were not printed, in the block's order."""
    lines = printed.splitlines()
    return [line for line in wanted.splitlines() if line.strip() not in ("", "...")
            and not any(line_pattern(line, exactly).fullmatch(other) for other in lines)]
