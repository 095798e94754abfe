# SPDX-License-Identifier: BSD-2-Clause
"""docs/findings.md and its tables."""
import tempfile
import unittest
from pathlib import Path

from .support import TOP

from vmxcheck import findings, known  # noqa: E402
from vmxcheck.errors import Problem  # noqa: E402


class Findings(unittest.TestCase):
    def test_document_is_of_today(self) -> None:
        self.assertEqual((TOP / "docs" / "findings.md").read_text(encoding="utf-8"), findings.text(), "run: make findings")

    def test_one_finding_for_lines_that_say_the_same(self) -> None:
        lines = known.parse("a.b\t-\tit sleeps\tr\n\tx\na.c\tversion=3.0..\tit sleeps\tr\n\tx\na.d\tversion=<3.0\tgone\tr\n\tx\n", "t.tsv")
        found = findings.find(lines, "3.1", ())
        self.assertEqual([(one.why, one.ids) for one in found], [("it sleeps", ["a.b", "a.c"])])

    def test_defects_of_the_machine_below_are_not_its_own(self) -> None:
        lines = known.parse("a.b\t-\tBochs', through KVM\tr\n\tx\n", "t.tsv")
        self.assertEqual(findings.find(lines, "6.12", ("Bochs'",)), [])

    def test_bad_line(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "findings.tsv"
            path.write_text("kvm\ttitle\n")
            with self.assertRaisesRegex(Problem, "findings.tsv:1: a line is target, title"):
                findings._read_others(path)


if __name__ == "__main__":
    unittest.main()
