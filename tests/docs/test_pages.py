#!/usr/bin/env python3
"""What pages.py finds wrong in a page, and what it lets pass."""

import pathlib
import tempfile
import unittest
import unittest.mock

import pages

PAGE = pathlib.Path("page.md")


def marked(mark, body="true\n"):
    return f"Text\n\n<!-- example: {mark} -->\n```\n{body}```\n"


class Blocks(unittest.TestCase):
    def check_refused(self, text, what):
        with self.assertRaisesRegex(ValueError, what):
            pages.parse(PAGE, text)

    def test_marks(self):
        for mark, kind, argument in (("run", "run", ""), ("run as root", "run as root", ""),
                                     ("run with slurm", "run with slurm", ""), ("output", "output", ""), ("output exactly", "output exactly", ""),
                                     ("file a/b.json", "file", "a/b.json"), ("skip: a reason", "skip", "a reason")):
            block, = pages.parse(PAGE, marked(mark))
            self.assertEqual((block.kind, block.argument, block.text, block.line), (kind, argument, "true\n", 5))

    def test_a_block_needs_a_mark(self):
        self.check_refused("Text\n\n```\ntrue\n```\n", "page.md:3: a block without a mark")
        self.check_refused("<!-- example: run -->\n\n```\ntrue\n```\n", "page.md:2: a mark without a block")
        self.check_refused(marked("runs"), "\"runs\" is no mark")
        self.check_refused(marked("skip:"), "is no mark")
        self.check_refused(marked("file"), "is no mark")

    def test_a_block_is_fenced_and_ends(self):
        self.check_refused("Text\n\n    true\n", "page.md:3: a block by indentation")
        self.check_refused("<!-- example: run -->\n```\ntrue\n", "has no end")
        self.assertEqual(pages.parse(PAGE, "- a\n\n    goes on\n"), [])


class Output(unittest.TestCase):
    def test_numbers_may_differ_and_words_not(self):
        printed = "first\nrank 0: 1.25 s, -3 %  of 12,000\n"
        self.assertEqual(pages.missing_lines("rank 7: 0.5 s, +88.1 % of 3\n...\n\n", printed), [])
        self.assertEqual(pages.missing_lines("first\nsecond\n", printed), ["second"])
        exact = "rank 0: 1.25 s, -3 % of 12,000"
        self.assertEqual(pages.missing_lines(exact, printed, exactly=True), [])
        self.assertEqual(pages.missing_lines(exact.replace("25", "26"), printed, exactly=True), [exact.replace("25", "26")])
        self.assertEqual(pages.missing_lines("rank 0: 1.25 ms, -3 % of 12,000\n", printed),
                         ["rank 0: 1.25 ms, -3 % of 12,000"])


class Links(unittest.TestCase):
    def test_links_lead_somewhere(self):
        with tempfile.TemporaryDirectory() as folder, unittest.mock.patch.object(pages, "ROOT", pathlib.Path(folder)):
            pathlib.Path(folder, "b.md").write_text("# A `title`, long\n```\n# none\n```\n")
            pathlib.Path(folder, "a.md").write_text(
                "[1](b.md) [2](b.md#a-title-long) [3](https://example.org/x) `[4](c.md)`\n"
                "[5](c.md) [6](b.md#none) [7](#here)\n```\n[8](d.md)\n```\n")
            self.assertEqual([line.split(": ")[1] for line in pages.broken_links(pathlib.Path("a.md"))],
                             ["c.md", "b.md#none", "#here"])


if __name__ == "__main__":
    unittest.main()
