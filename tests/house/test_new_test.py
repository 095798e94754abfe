# SPDX-License-Identifier: BSD-2-Clause
"""scripts/new-test, on a copy: the row beside its neighbours, the skeleton in their file, and what it says of processors."""
from __future__ import annotations

import contextlib
import io
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from vmxcheck import cli  # noqa: E402


class NewTest(unittest.TestCase):
    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory(prefix="vmxcheck-test-")
        self.addCleanup(temporary.cleanup)
        self.top = Path(temporary.name)
        for name in ("scripts", "x86", "spec"):
            shutil.copytree(ROOT / name, self.top / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("unittests.cfg", "VERSION"):
            shutil.copy(ROOT / name, self.top)

    def new_test(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([sys.executable, str(self.top / "scripts" / "new-test"), *words], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)

    def test_row_and_skeleton(self) -> None:
        done = self.new_test("exit.rdtsc.wraps", "TITLE=It wraps", "NEEDS=PROC_USE_TSC_OFFSETTING")
        self.assertEqual(done.returncode, 0, done.stdout)
        rows = (self.top / "spec" / "catalogue.tsv").read_text().splitlines()
        at = [row.split("\t")[0] for row in rows].index("exit.rdtsc.wraps")
        self.assertTrue(rows[at - 1].startswith("exit.rdtsc."))
        self.assertEqual(rows[at].split("\t")[2:6], ["2", "It wraps", "-", "-"])
        text = (self.top / "x86" / "exec" / "tsc.c").read_text()
        self.assertTrue(text.rstrip().endswith("}"))
        self.assertIn('TEST("exit.rdtsc.wraps", "It wraps", NEEDS(PROC_USE_TSC_OFFSETTING))\n{\n', text)
        self.assertIn("./run_tests.sh exit.rdtsc.wraps", done.stdout)
        self.assertEqual(self.new_test("exit.rdtsc.wraps").returncode, 2)

    def test_processors(self) -> None:
        done = self.new_test("exit.rdtsc.other", "CPUS=2", "KIND=exit")
        self.assertRegex(done.stdout, r"unittests.cfg: \[exec\] has 1 processor, .*: abort, .*event, .*vmcs")
        self.assertNotIn("unittests.cfg", self.new_test("vmcs.active.other", "CPUS=2").stdout)

    def test_a_new_file(self) -> None:
        done = self.new_test("entry.new.rule", "KIND=entry", "FILE=x86/entry/new.c")
        self.assertEqual(done.returncode, 0, done.stdout)
        text = (self.top / "x86" / "entry" / "new.c").read_text()
        self.assertIn('#include "vmxtest/entry.h"\n', text)
        self.assertIn('ENTRY_CHECK("entry.new.rule"', text)

    def test_refused(self) -> None:
        for words, part in ((["Exit.x"], "is no id"), (["nosuch.id"], "FILE="), (["exit.rdtsc.offset"], "tested already"),
                            (["exit.a.b", "KIND=x"], "one of test"), (["exit.a.b", "FILE=lib/x.c"], "x86/IMAGE/NAME.c")):
            done = self.new_test(*words)
            self.assertEqual((done.returncode, part in done.stdout), (2, True), done.stdout)


class Warning(unittest.TestCase):
    def said(self, image: str, *ids: str) -> str:
        err = io.StringIO()
        with contextlib.redirect_stderr(err):
            cli._warn_of_ids([SimpleNamespace(section=SimpleNamespace(file=image), wanted=dict.fromkeys(ids, "title"))])  # type: ignore
        return err.getvalue()

    def test_a_run_says_which_test_has_no_row(self) -> None:
        self.assertEqual(self.said("exec", "exit.rdtsc.offset"), "")
        self.assertRegex(self.said("exec", "exit.rdtsc.offset", "exit.no.such"), r"\A[^\n]*no row in spec/catalogue.tsv for exit.no.such: [^\n]*\n\Z")
        self.assertEqual(self.said("fault", "self.first"), "")


if __name__ == "__main__":
    unittest.main()
