# SPDX-License-Identifier: BSD-2-Clause
"""spec/advisories.tsv: each line names tests that exist, an advisory selects them, and the report says how they went."""
import subprocess
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from vmxcheck import advisories, catalogue  # noqa: E402
from vmxcheck.errors import NothingToTest, Problem  # noqa: E402

A, B, C = (advisories.Advisory((name,), "p", "w", covered, tests, "h", "s")
           for name, covered, tests in (("CVE-1", "rule", ("a.b", "a.c")), ("CVE-2", "test", ("a.d",)), ("CVE-3", "none", ())))


class Table(unittest.TestCase):
    def test_tests_exist(self) -> None:
        rows = catalogue.read(ROOT / "spec" / "catalogue.tsv")
        tests = {line.split("\t")[0] for path in (ROOT / "build" / "x86").glob("*.tests") for line in path.read_text().splitlines()}
        for one in advisories.read():
            self.assertEqual([test for test in one.tests if test not in rows or test not in tests], [], one.ids)

    def test_ids(self) -> None:
        ids = [identity for one in advisories.read() for identity in one.ids]
        self.assertEqual([identity for identity in ids if ids.count(identity) > 1], [])
        for identity in ids:
            self.assertRegex(identity, r"^(CVE-\d{4}-\d{4,}|XSA-\d+)$")

    def test_bad_line(self) -> None:
        path = ROOT / "build" / "advisories.test.tsv"
        path.write_text("CVE-1-1\tp\tw\trule\t-\th\ts\n")
        with self.assertRaises(Problem):
            advisories.read(path)
        path.unlink()


class Report(unittest.TestCase):
    def test_select(self) -> None:
        self.assertEqual(advisories.select(["cve-1,CVE-2"], [A, B, C]), {"a.b", "a.c", "a.d"})
        for wanted, part in (("CVE-4", "has no `CVE-4`"), ("CVE-3", "CVE-3 has no test: h")):
            with self.assertRaises(NothingToTest) as caught:
                advisories.select([wanted], [A, B, C])
            self.assertIn(part, str(caught.exception))

    def test_states(self) -> None:
        for verdicts, state in (({"a.b": {"pass"}, "a.c": {"skip"}}, "passing"), ({"a.b": {"pass"}}, "not run"), ({}, "not run"),
                                ({"a.b": {"pass"}, "a.c": {"fail"}}, "failing"), ({"a.b": {"hang"}}, "failing"),
                                ({"a.b": {"known"}, "a.c": {"pass"}}, "known deviation"), ({"a.b": {"skip"}, "a.c": {"skip"}}, "skipped")):
            self.assertEqual(advisories.state(A, verdicts), state, verdicts)
        self.assertEqual(advisories.state(C, {}), "not covered")
        said = advisories.text({"run": "r", "points": [{"id": "a.d", "verdict": "pass"}]}, [A, B, C], True)
        self.assertIn("passing          CVE-2: w (p)\n                 tests: a.d\n                 how: h", said)
        self.assertIn("3 advisories: 2 covered; 1 passing, 0 failing, 0 known deviation, 0 skipped, 1 not run, 1 not covered", said)

    def test_command_line(self) -> None:
        done = subprocess.run([str(ROOT / "run_tests.sh"), "--list", "--advisory", "XSA-462"], stdout=subprocess.PIPE, text=True, check=True)
        self.assertEqual(done.stdout.splitlines()[0], "guest.apic.error_recursion\tguest")


if __name__ == "__main__":
    unittest.main()
