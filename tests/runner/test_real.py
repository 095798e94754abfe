# SPDX-License-Identifier: BSD-2-Clause
"""The fault image on the real emulators: the runner's verdict on each fault, on each backend that is here."""
import os
import sys
import unittest
from pathlib import Path
from typing import Dict

sys.path.insert(0, str(Path(__file__).resolve().parent))
from support import TOP, Project  # noqa: E402
from vmxcheck.backends import CLASSES  # noqa: E402
from vmxcheck.settings import Settings  # noqa: E402

BUILD = TOP / "build"
GOOD = {"self.first": "pass", "self.middle": "pass", "self.last": "pass"}
LIE = {"image.%s": "fail"}

# fault=NAME -> the verdicts that are not "pass", and what a reason must say.
FAULTS = {
    "pass": ({}, ""),
    "fail": ({"self.middle": "fail"}, "expected"),
    "skip": ({"self.middle": "skip"}, "asked to skip"),
    "empty": ({"self.middle": "fail"}, "the test checks something"),
    "hang": ({"self.middle": "hang"}, "no progress for 3 s"),
    "triple-fault": ({"self.middle": "crash"}, "ended too early"),
    "end": ({"self.middle": "crash"}, "ended too early"),
    "reset": ({"self.middle": "crash"}, ""),
    "exception": ({"self.middle": "fail"}, "#UD"),
    "leak": ({"self.middle": "fail"}, "leaves"),
    "leak-and-skip": ({"self.middle": "skip"}, "in its middle"),
    "request": ({"self.middle": "fail"}, "leaves the APIC's IRR"),
    "in-service": ({"self.middle": "fail"}, "leaves the APIC's ISR"),
    "timer": ({"self.middle": "fail"}, "leaves the APIC's LVT timer"),
    "garbage": (LIE, "not TAP"),
    "midline": ({"self.middle": "crash"}, "in the middle of the line"),
    "silence": (dict.fromkeys(GOOD, "missing"), "no TAP came"),
    "plan-large": (LIE, "the plan has 9 tests where 3 were asked for"),
    "plan-small": (LIE, "beyond the plan of 1 tests"),
    "numbers": (LIE, "self.middle is numbered 7 where 2 is next"),
    "twice": ({"self.middle": "missing", **LIE}, "self.first is reported twice"),
    "stranger": ({"self.middle": "missing", **LIE}, "self.stranger is reported and was not asked for"),
    "bail-out": ({"self.middle": "missing", "self.last": "missing"}, "Bail out! enough of it"),
    "no-plan": ({"self.middle": "missing", "self.last": "missing", **LIE}, "no plan"),
    "skip-all": (dict.fromkeys(GOOD, "missing"), "the image ran nothing"),
}


# Each of the others has an end, and may take its time on a machine that is busy.
LIMITS = {"hang": "3", "silence": "1"}


class Real(Project):
    backend = ""

    def setUp(self) -> None:
        super().setUp()
        self.environment = dict(os.environ)
        for name in ("QEMU", "ACCEL", "TIMEOUT", "BOCHS"):
            self.environment.pop(name, None)
        if not (BUILD / "x86" / "fault.tests").exists():
            self.skipTest("build/x86/fault is not built: run make")
        problem = CLASSES[self.backend](Settings.load(TOP, self.environment)).available()
        if problem:
            self.skipTest("%s: %s" % (self.backend, problem))

    def arguments(self, *words: str):  # type: ignore[no-untyped-def]
        given = super().arguments(*words)
        given[given.index("--build") + 1] = str(BUILD)
        return given

    def check_all(self) -> None:
        self.configure(*FAULTS, file="fault", timeout="30", timeouts=LIMITS, backends=self.backend)
        run = self.run_tests()
        self.assertEqual(run.status, 1)
        for fault, (verdicts, reason) in FAULTS.items():
            with self.subTest(fault=fault):
                expected: Dict[str, str] = {**GOOD, **{key.replace("%s", fault): value for key, value in verdicts.items()}}
                self.assertEqual(self.verdicts(run, fault), expected)
                reasons = [p["reason"] for p in run.results["points"] if p["image"] == fault and p["verdict"] != "pass"]
                self.assertIn(reason, " / ".join(reasons))
        self.names_of_failed_checks()
        self.one_by_one()

    def names_of_failed_checks(self) -> None:
        self.configure("fail-often", "fail-and-hang", file="fault", timeout="5", backends=self.backend)
        points = {point["image"]: point for point in self.run_tests("self.middle").results["points"]}
        often, hang = points["fail-often"], points["fail-and-hang"]
        self.assertEqual((often["verdict"], often["failed"], often["failing"]), ("fail", 4200, ["turn %d | i" % i for i in range(4096)]))
        self.assertIn("# failed too: 104 more", often["diagnostics"])
        self.assertEqual((hang["verdict"], hang["failed"], hang["failing"]), ("hang", 2, ["turn 1 | false", "turn 23 | false"]))

    def one_by_one(self) -> None:
        """A selection, an order and a restart with both: the words on the command line reach the image."""
        self.configure("end", file="fault", timeout="5", backends=self.backend)
        run = self.run_tests("self.last", "self.first", "--order", "random", "--seed", "3")
        self.assertEqual((run.status, self.verdicts(run)), (0, {"self.first": "pass", "self.last": "pass"}))
        for seed in ("1", "2", "3"):
            run = self.run_tests("--order", "random", "--seed", seed)
            self.assertEqual(self.verdicts(run), {**GOOD, "self.middle": "crash"}, run.out)


class OnBochs(Real):
    backend = "bochs"

    def test_all_faults(self) -> None:
        self.check_all()


class OnQemuTcg(Real):
    backend = "qemu-tcg"

    def test_all_faults(self) -> None:
        self.check_all()


if __name__ == "__main__":
    unittest.main()
