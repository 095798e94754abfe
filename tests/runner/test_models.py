# SPDX-License-Identifier: BSD-2-Clause
"""The models of Bochs that a run takes where none is named, and the sections that boot for each test."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent))
from support import TOP, Project  # noqa: E402
from vmxcheck.backends import models  # noqa: E402
from vmxcheck.errors import Problem  # noqa: E402

NOT_REAL = """# a comment
best	-	of the newest
tigerlake	-	of the one before
corei5_lynnfield_750	needs a thing*	has it not
core2_penryn_t9600	needs a*	the same
"""


class Table(Project):
    def read(self, text: str) -> Path:
        path = self.folder / "models.tsv"
        path.write_text(text)
        models.read.cache_clear()
        return path

    def test_the_best_that_there_is(self) -> None:
        with mock.patch.object(models, "TABLE", self.read(NOT_REAL)):
            self.assertEqual(models.best(["tigerlake", "best"]), "best")
            self.assertEqual(models.best(["core2_penryn_t9600", "tigerlake"]), "tigerlake")
            self.assertEqual(models.best(["core2_penryn_t9600"]), "")

    def test_the_first_that_can(self) -> None:
        with mock.patch.object(models, "TABLE", self.read(NOT_REAL)):
            every = ["core2_penryn_t9600", "corei5_lynnfield_750"]
            self.assertEqual(models.for_reason("needs a thing (BIT[1])", every), "corei5_lynnfield_750")
            self.assertEqual(models.for_reason("needs a thing (BIT[1])", every[:1]), "core2_penryn_t9600")
            self.assertIsNone(models.for_reason("needs the thing", every))
            self.assertIsNone(models.for_reason("-", every))

    def test_what_is_no_line(self) -> None:
        for text in ("a\tb\n", "a\tb\tc\td\n", "a\t\tc\n"):
            with self.assertRaisesRegex(Problem, "models.tsv:1: a line is model"):
                models.read(self.read(text))

    def test_the_real_one(self) -> None:
        lines = models.read(TOP / "spec" / "models.tsv")
        self.assertGreaterEqual(len([line for line in lines if line.reason == models.DEFAULT]), 2)
        self.assertEqual(len({(line.model, line.reason) for line in lines}), len(lines))


class Running(Project):
    def test_what_the_default_skips_runs_on_another_model(self) -> None:
        self.configure("old-model")
        run = self.run_tests()
        self.assertEqual(run.status, 0)
        self.assertEqual({p["id"]: (p["verdict"], p["target"]) for p in run.results["points"]}, {
            "t.one": ("pass", "bochs-2.7 tigerlake"), "t.two": ("pass", "bochs-2.7 core2_penryn_t9600"),
            "t.two.b": ("pass", "bochs-2.7 tigerlake"), "u.three": ("pass", "bochs-2.7 tigerlake")})
        self.assertIn("1 test ran on core2_penryn_t9600: tigerlake skips it", run.out)
        self.assertIn("4 passed, 0 failed, 0 skipped", run.out)
        self.assertIn("--cpu core2_penryn_t9600", self.point(run, "t.two")["repro"])
        self.assertEqual([target["cpu"] for target in run.results["target"]], ["tigerlake", "core2_penryn_t9600"])
        logs = sorted(path.name for path in (self.folder / "results" / "latest" / "logs").glob("*.log"))
        self.assertEqual(logs, ["old-model.bochs.core2_penryn_t9600.log", "old-model.bochs.log"])

    def test_but_not_where_a_model_was_named(self) -> None:
        self.configure("old-model")
        run = self.run_tests("--cpu", "tigerlake")
        self.assertEqual(self.verdicts(run)["t.two"], "skip")
        self.assertEqual(len(self.processes()), 1)

    def test_once_and_no_more(self) -> None:
        """Of two sections that skip it only the first goes on; where it ran in one, none does."""
        self.configure("old-model", "no-model")
        run = self.run_tests()
        self.assertEqual((self.point(run, "t.two", "old-model")["verdict"], self.point(run, "t.two", "no-model")["verdict"]),
                         ("pass", "skip"))
        self.assertEqual(len(self.processes()), 3)
        (self.state / "processes").unlink()
        self.configure("old-model", "pass")
        run = self.run_tests()
        self.assertEqual(self.point(run, "t.two", "old-model")["verdict"], "skip")
        self.assertEqual(len(self.processes()), 2)

    def test_a_line_that_promises_too_much_is_told(self) -> None:
        self.configure("no-model")
        run = self.run_tests()
        point = self.point(run, "t.two")
        self.assertEqual((point["verdict"], point["target"]), ("skip", "bochs-2.7 tigerlake"))
        self.assertIn("spec/models.tsv: t.two is skipped on core2_penryn_t9600 too", run.out)
        self.assertEqual(len(run.results["points"]), 4)

    def test_repeated_and_in_tap(self) -> None:
        self.configure("old-model")
        run = self.run_tests("--repeat", "2")
        self.assertIn("the same in all 2 rounds", run.out)
        self.assertEqual(len([p for p in run.results["points"] if p["id"] == "t.two"]), 2)
        self.assertIn("1..4", self.run_tests("--tap").out)

    def test_a_boot_for_each_test(self) -> None:
        self.configure("pass", boots="each")
        run = self.run_tests()
        self.assertEqual((run.status, len(self.processes())), (0, 4))
        self.assertEqual(run.results["images"][0]["boots"], 4)
        (self.state / "processes").unlink()
        run = self.run_tests("t.two.b", "u.three")
        self.assertEqual((len(run.results["points"]), len(self.processes())), (2, 2))
        self.configure("pass", boots="two")
        run = self.run_tests()
        self.assertEqual((run.status, run.err.strip()), (2, "run_tests.sh: unittests.cfg:6: bad value `two` for boots: it is one of: one, each"))


class Real(unittest.TestCase):
    """Each line of the real table is there for tests that run where it says."""

    # What is skipped on every model that is a default one, and where it runs.
    EXPECTED = {"entry.ctl.inject.errcode_required": "core2_penryn_t9600", "entry.ctl.inject.type7_no_mtf": "core2_penryn_t9600",
                "guest.msr.apic_base_x2apic": "core2_penryn_t9600", "insn.invept.ud_unsupported": "core2_penryn_t9600",
                "vmcs.region.shadow_bit_unsupported": "core2_penryn_t9600", "ept.misconfig.large_unsupported": "corei5_arrandale_m520"}

    @unittest.skipUnless(shutil.which("bochs"), "bochs is not installed")
    def test_every_line_runs_something(self) -> None:
        environment = {key: value for key, value in os.environ.items() if key not in ("QEMU", "ACCEL", "TIMEOUT", "BOCHS")}
        with tempfile.TemporaryDirectory(prefix="vmxcheck-test-") as folder:
            done = subprocess.run(["./run_tests.sh", "--backend", "bochs", "--results", folder, *self.EXPECTED], cwd=TOP, env=environment,
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
            points = json.loads((Path(folder) / "latest" / "results.json").read_text(encoding="utf-8"))["points"]
        ran = {point["id"]: point["target"].split()[-1] for point in points if point["verdict"] != "skip"}
        self.assertEqual(ran, self.EXPECTED, done.stdout + done.stderr)
        self.assertEqual(len([line for line in models.read(models.TABLE) if line.reason != models.DEFAULT]), len(ran))


if __name__ == "__main__":
    unittest.main()
