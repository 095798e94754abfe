# SPDX-License-Identifier: BSD-2-Clause
"""spec/errata.tsv: each line is whole, names tests that exist, and says of a processor that it is for what a run is to think."""
import re
import sys
import unittest
from pathlib import Path
from typing import Any, Dict

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from vmxcheck import catalogue, errata, judging, known  # noqa: E402
from vmxcheck.errors import Problem  # noqa: E402
from vmxcheck.results import Point  # noqa: E402
from vmxcheck.verdict import Outcome  # noqa: E402

LISTED, OTHER = {"fms": "6-3c-3", "microcode": "0x9"}, {"fms": "6-8c-1", "microcode": "0x9"}


def erratum(identity: str) -> errata.Erratum:
    return next(one for one in errata.read() if identity in one.ids)


def judged(test: str, verdict: str, facts: Dict[str, str]) -> Point:
    outcome = Outcome(test, "", verdict, "it did")
    point = judging.point_of(outcome, "exec", "t", "", "", 1)
    judging.judge(point, outcome, known.KnownTable([]), facts, errata.read())
    return point


class Table(unittest.TestCase):
    def test_tests_exist(self) -> None:
        rows = catalogue.read(ROOT / "spec" / "catalogue.tsv")
        tests = {line.split("\t")[0] for path in (ROOT / "build" / "x86").glob("*.tests") for line in path.read_text().splitlines()}
        for one in errata.read():
            self.assertEqual([test for test in one.tests if test not in rows or test not in tests], [], one.name)

    def test_lines_are_whole(self) -> None:
        ids = [identity for one in errata.read() for identity in one.ids]
        self.assertEqual([identity for identity in ids if ids.count(identity) > 1], [])
        for one in errata.read():
            self.assertIn("fms", dict(one.terms), one.name)
            self.assertFalse(re.search("to be probed|TODO", one.note), one.name)
            for pattern in dict(one.terms)["fms"]:
                self.assertRegex(pattern, r"^[0-9a-f]+-[0-9a-f]+-([0-9a-f]|\*|\[[0-9a-f]+(-[0-9a-f])?\])$", one.name)

    def test_most_are_seen(self) -> None:
        self.assertGreaterEqual(sum(one.seen != errata.NOT for one in errata.read()), 45)

    def test_bad_lines(self) -> None:
        path = ROOT / "build" / "errata.test.tsv"
        good = ["A1", "t", "fms=6-1-*", "result", "test", "a.b", "n", "s"]
        for column, value, part in ((2, "smp=x,smp=y", "each KEY once"), (3, "wrong", "kind is one of"), (4, "often", "seen one of"),
                                    (5, "-", "contradict"), (4, "no", "contradict"), (2, "microcode=9", "a revision of microcode"),
                                    (2, "verdict=fail", "says not where")):
            path.write_text("\t".join(good[:column] + [value] + good[column + 1:]) + "\n")
            with self.assertRaises(Problem) as caught:
                errata.read(path)
            self.assertIn(part, str(caught.exception))
        path.unlink()


class Judging(unittest.TestCase):
    def test_on_a_listed_processor_alone(self) -> None:
        point = judged("exit.invpcid.ud", "fail", LISTED)
        self.assertEqual((point.verdict, point.was, point.erratum), ("known", "fail", "HSD099 HSM106"))
        self.assertIn("erratum HSD099 HSM106 is present", point.known)
        self.assertEqual(judged("exit.invpcid.ud", "fail", OTHER).verdict, "fail")
        self.assertEqual(judged("exit.invpcid.ud", "hang", LISTED).verdict, "hang")
        self.assertEqual(judged("exit.hlt.on", "fail", LISTED).verdict, "fail")
        self.assertEqual(judged("exit.invpcid.ud", "pass", LISTED).verdict, "pass")

    def test_a_hang_where_the_erratum_is_one(self) -> None:
        self.assertEqual(judged("after.activity.wait_sipi", "hang", {"fms": "6-1a-5"}).erratum, "AAJ038")

    def test_conditions(self) -> None:
        for text, microcode, applies in (("<0x10", "0xf", True), ("<0x10", "0x10", False), ("0x10..", "0x10", True), ("0x10..0x20", "0x21", False),
                                         ("0x10..0x20", "0x20", True), ("0x10", "0x10", True), ("0x10", "0x11", False), ("0x0..", "none", False)):
            self.assertEqual(known.holds(known.condition("microcode=" + text), {"microcode": microcode}), applies, (text, microcode))
        self.assertTrue(known.holds(known.condition("fms=6-8f-*|6-cf-*,core=none,hypervisor=KVM*"),
                                    {"fms": "6-cf-2", "core": "none", "hypervisor": "KVMKVMKVM"}))

    def test_states(self) -> None:
        def point(test: str, verdict: str, ids: str = "") -> Dict[str, Any]:
            return {"id": test, "target": "t", "verdict": verdict, "erratum": ids}

        data = {"target": [{"name": "t", "silicon": LISTED}, {"name": "u"}],
                "points": [point("exit.invpcid.ud", "known", "HSD099 HSM106"), point("cap.enum.highest_index", "pass"),
                           point("cap.enum.highest_index", "skip")]}
        found = {one.erratum.ids[0]: one.state for one in errata.states(data, errata.read())}
        for identity, state in (("HSD099", "present"), ("AAT128", "absent"), ("BDD012", "not visible")):
            self.assertEqual(found[identity], state)
        self.assertNotIn("ADL003", found)
        said = errata.summary(data, errata.read(), False)
        self.assertRegex(said[0], r"^errata of 6-3c-3 \(microcode 0x9\) on t: 1 present, 1 absent, \d+ cannot tell, \d+ not visible$")
        self.assertEqual(said[1:], ["  present     HSD099 HSM106: INVPCID May Not Cause #UD in VMX Non-Root Operation  (exit.invpcid.ud)"])


if __name__ == "__main__":
    unittest.main()
