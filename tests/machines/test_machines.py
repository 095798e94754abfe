# SPDX-License-Identifier: BSD-2-Clause
"""The judge of the hostile machines, and the tables that it reads."""
import re
import sys
import unittest
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Sequence

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from vmxcheck import config, machines  # noqa: E402
from vmxcheck.errors import Problem  # noqa: E402


def data(**verdicts: str) -> "dict[str, Any]":
    """Results of an image with these verdicts; NAME="skip: reason"."""
    points = [{"id": name, "image": "some", "target": "t", "verdict": text.partition(":")[0], "reason": text.partition(": ")[2],
               "repro": ""} for name, text in verdicts.items()]
    return {"points": points, "target": [{"name": "t", "backend": "b", "cpu": "c"}]}


class Tables(unittest.TestCase):
    def setUp(self) -> None:
        self.axes = machines.read_axes()
        self.sections = config.load(ROOT / "unittests.cfg")
        self.wrong = re.findall(r'TEST\("(self\.wrong\.[^"]+)"', (ROOT / "tests/images/hostile.c").read_text())

    def test_each_axis_has_points_and_sections(self) -> None:
        for axis in self.axes:
            with self.subTest(axis.name):
                self.assertTrue(axis.points)
                for glob in axis.images + axis.short_images:
                    self.assertTrue(any(fnmatchcase(section.name, glob) for section in self.sections), glob)

    def test_each_wrong_test_is_there_and_belongs_to_an_axis(self) -> None:
        for axis in self.axes:
            with self.subTest(axis.name):
                self.assertTrue(not axis.wrong or any(fnmatchcase(name, axis.wrong) for name in self.wrong))
        for name in self.wrong:
            with self.subTest(name):
                self.assertTrue(any(fnmatchcase(name, axis.wrong) for axis in self.axes))

    def test_words_exist(self) -> None:
        words = set(re.findall(r'\{ "(\w+)", &hostile', (ROOT / "lib/hostile/words.c").read_text()))
        for axis in self.axes:
            for point in axis.points + axis.short:
                for word in re.findall(r"hostile\.(\w+)=", point):
                    self.assertIn(word, words, axis.name)

    def test_not_judged_rows_are_needed(self) -> None:
        for axis, _, why in machines.read_not_judged():
            name, _, point = axis.partition(" ")
            self.assertTrue(any(fnmatchcase(one.name, name) and any(fnmatchcase(p, point or "*") for p in one.points) for one in self.axes), axis)
            self.assertTrue(why)


class Judge(unittest.TestCase):
    axis = machines.Axis("a", "", ["p"], [], [], [], [], "needs RAM", "", "")

    def judge(self, before: "dict[str, Any]", after: "dict[str, Any]", rows: "Sequence[tuple[str, str, str]]" = ()) -> machines.Tally:
        matrix = machines.Matrix.__new__(machines.Matrix)
        matrix.not_judged, matrix.used = rows, set()
        tally = machines.Tally()
        matrix._judge(self.axis, "p", before, after, tally)
        return tally

    def test_same(self) -> None:
        tally = self.judge(data(a="pass", b="skip: x"), data(a="pass", b="skip: x"))
        self.assertEqual((tally.same, tally.green), (2, True))

    def test_failure_is_different(self) -> None:
        self.assertFalse(self.judge(data(a="pass"), data(a="fail: x")).green)

    def test_hang_of_a_known_deviation_is_different(self) -> None:
        self.assertFalse(self.judge(data(a="known"), data(a="hang")).green)

    def test_skip_must_name_the_feature(self) -> None:
        self.assertEqual(self.judge(data(a="pass"), data(a="skip: needs RAM at 2^30")).skipped, 1)
        self.assertFalse(self.judge(data(a="pass"), data(a="skip: no reason")).green)

    def test_lost_point_is_different(self) -> None:
        self.assertFalse(self.judge(data(a="pass", b="pass"), data(a="pass")).green)

    def test_not_judged(self) -> None:
        tally = self.judge(data(a="pass"), data(a="fail"), [("a", "a", "why")])
        self.assertEqual((tally.not_judged, tally.green), (1, True))

    def test_not_judged_at_another_point(self) -> None:
        self.assertFalse(self.judge(data(a="pass"), data(a="fail"), [("a q", "a", "why")]).green)
        self.assertTrue(self.judge(data(a="pass"), data(a="fail"), [("a p", "a", "why")]).green)

    def test_a_row_without_use_is_named(self) -> None:
        axis = machines.read_axes()[0]
        matrix = machines.Matrix.__new__(machines.Matrix)
        used, unused = (axis.name, "some.*", "why"), (axis.name + " plain", "other.*", "why")
        matrix.not_judged, matrix.used = [used, unused, ("*", "x", "of all axes")], {used}
        self.assertEqual([line.split(" differs")[0] for line in matrix.unused([axis])], [axis.name + " plain other.*"])

    def test_why_an_image_ended_comes_first_and_once(self) -> None:
        after = data(a="fail: x", b="fail: Bail out! y", c="fail: Bail out! y")
        self.assertEqual(machines.told(self.judge(data(a="pass", b="pass", c="skip: z"), after).different),
                         ["[p] some: -> fail: Bail out! y: b, c", "[p] some a: pass -> fail: x"])

    def test_the_same_at_two_points_is_one_line(self) -> None:
        one = machines.Difference("p", "i", "a", "pass", "fail", "x")
        self.assertEqual(machines.told([one, replace(one, point="q")]), ["[p | q] i a: pass -> fail: x"])


class Points(unittest.TestCase):
    section = config.Section("s", 1, "s", arguments="skip=x")

    def test_words(self) -> None:
        section = machines.apply(self.section, "hostile.ipi=2 smp=4 memory=24 topology=sockets=2,cores=2")
        self.assertEqual((section.arguments, section.smp, section.memory, section.topology),
                         ("skip=x hostile.ipi=2", 4, 24, "sockets=2,cores=2"))

    def test_plain(self) -> None:
        self.assertEqual(machines.apply(self.section, "plain"), self.section)

    def test_a_section_can_be_read_back(self) -> None:
        section = machines.apply(self.section, "smp=3")
        again = config.parse(machines._text(section))[0]
        self.assertEqual((again.arguments, again.smp, again.file), (section.arguments, 3, "s"))

    def test_unknown_key(self) -> None:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "axes.cfg"
            path.write_text("[a]\nwhat = x\npoints = plain\nspeed = 1\n")
            with self.assertRaisesRegex(Problem, "unknown key"):
                machines.read_axes(path)
