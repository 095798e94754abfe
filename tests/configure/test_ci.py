# SPDX-License-Identifier: BSD-2-Clause
"""What .ci/run promises: the true total on its last line, and an exit status that can be believed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class CiTest(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="vmxcheck-test-")
        self.addCleanup(folder.cleanup)
        self.top = Path(folder.name)
        (self.top / ".ci").mkdir()
        (self.top / "bin").mkdir()
        shutil.copy(ROOT / ".ci" / "run", self.top / ".ci")

    def script(self, name: str, text: str) -> None:
        path = self.top / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def run_ci(self, check: str, configure: str = '[ "$*" = --install-deps ]', minutes: str = "1") -> tuple[int, list[str]]:
        self.script("configure", configure)
        self.script("bin/make", f'[ "$*" = check ] || exit 9\n{check}')
        environment = {**os.environ, "PATH": f"{self.top}/bin:{os.environ['PATH']}", "CI_MINUTES": minutes}
        done = subprocess.run([str(self.top / ".ci" / "run")], cwd="/", env=environment,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
        return done.returncode, done.stdout.splitlines()

    def test_total_is_the_sum_of_the_parts(self) -> None:
        status, lines = self.run_ci(
            r"echo 3 passed, 0 failed, 1 skipped; printf '\033[32m10 passed, 0 failed, 0 skipped\033[0m\n'; "
            "echo about 99 passed, 0 failed, 0 skipped; echo done")
        self.assertEqual((status, lines[-1]), (0, "13 passed, 0 failed, 1 skipped"))

    def test_status_is_makes(self) -> None:
        status, lines = self.run_ci("echo 3 passed, 2 failed, 0 skipped; exit 2")
        self.assertEqual((status, lines[-1]), (2, "3 passed, 2 failed, 0 skipped"))

    def test_green_that_tested_nothing_is_red(self) -> None:
        self.assertEqual(self.run_ci("echo all fine")[0], 1)
        self.assertEqual(self.run_ci("echo 0 passed, 0 failed, 5 skipped")[0], 1)

    def test_green_with_failures_is_red(self) -> None:
        self.assertEqual(self.run_ci("echo 5 passed, 1 failed, 0 skipped")[0], 1)

    def test_failed_configure_runs_no_tests(self) -> None:
        status, lines = self.run_ci("echo 5 passed, 0 failed, 0 skipped", configure="exit 1")
        self.assertEqual((status, lines), (1, ["0 passed, 0 failed, 0 skipped"]))

    def test_hang_ends_red_with_the_total_so_far(self) -> None:
        status, lines = self.run_ci("echo 5 passed, 0 failed, 0 skipped; sleep 30", minutes="0.01")
        self.assertEqual((status, lines[-1]), (124, "5 passed, 0 failed, 0 skipped"))


if __name__ == "__main__":
    unittest.main()
