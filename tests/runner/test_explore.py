# SPDX-License-Identifier: BSD-2-Clause
"""run_tests.sh explore: what a slice that ends the target leads to, and a case as a test."""
import argparse
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import support  # noqa: E402,F401  (it knows where scripts/ is)
from vmxcheck.explore import STEP, Done, Explorer, Slice, as_test  # noqa: E402
from vmxcheck.known import KnownTable, parse  # noqa: E402
from vmxcheck.results import Point, Results  # noqa: E402
from vmxcheck.verdict import CRASH, FAIL, PASS, Outcome  # noqa: E402

OPTIONS = argparse.Namespace(seed=3, case=5)


def done(verdict: str, log: str) -> Done:
    points = [Point("explore.run", "explore", verdict, "", 1, 0.0, "")]
    return Done(Results("", [], points=points), log, 1.0)


class Slices(unittest.TestCase):
    def setUp(self) -> None:
        self.explorer = Explorer(OPTIONS, Path("."))

    def test_one_that_ends_well_leads_to_nothing(self) -> None:
        self.assertEqual(self.explorer.take(Slice(0, 100), done(PASS, "")), [])
        self.assertEqual(self.explorer.cases, 100)

    def test_a_crash_is_looked_for_and_the_rest_is_done(self) -> None:
        log = "# explore: at 0\n# explore: at 4096\n# explore: at 8192\n"
        self.assertEqual(self.explorer.take(Slice(0, 20000), done(CRASH, log)),
                         [Slice(8192, STEP, True), Slice(0, 8192), Slice(8192 + STEP, 20000 - 8192 - STEP)])
        self.assertEqual(self.explorer.ends, [])

    def test_its_case_is_a_finding_and_those_around_it_are_done(self) -> None:
        log = "# explore: at 8192\n# explore: at 8193\n"
        self.assertEqual(self.explorer.take(Slice(8192, STEP, True), done(CRASH, log)),
                         [Slice(8192, 1), Slice(8194, STEP - 2)])
        self.assertEqual([index for index, _ in self.explorer.ends], [8193])


class AsTest(unittest.TestCase):
    def test_the_state_and_the_outcome_are_in_it(self) -> None:
        text = as_test(OPTIONS, ["   state: GUEST_CR0 = 0x80000031", "   state: HOST_CR0 = 0x1", "   expected reason 33, qualification 4"])
        self.assertIn("{ GUEST_CR0, 0x80000031 },", text)
        self.assertIn("ENTRY_FAILS(33, 4)", text)
        self.assertNotIn("HOST_CR0", text)


class Known(unittest.TestCase):
    TABLE = KnownTable(parse("entry.a\tfailed=1\twhy\t-\nentry.b\tcpu=x,failed=1\twhy\t-\n", "t.tsv"))

    def find(self, *failing: str) -> bool:
        outcome = Outcome("explore.entry.a", "", FAIL, failed=len(failing), failing=list(failing))
        line = self.TABLE.find(outcome.id, {"cpu": "y"}, outcome)
        return bool(line and line.excuses(outcome))

    def test_a_difference_counts_against_the_rows_that_it_names(self) -> None:
        self.assertTrue(self.find("entry.a | VM entry is as the model says"))
        self.assertTrue(self.find("entry.c or entry.a | VM entry is as the model says"))

    def test_no_line_no_excuse(self) -> None:
        self.assertFalse(self.find("entry.b | VM entry is as the model says"))  # of another model
        self.assertFalse(self.find("entry.a | VM entry is as the model says", "entry.c | VM entry is as the model says"))


if __name__ == "__main__":
    unittest.main()
