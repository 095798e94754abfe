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
        for name in ("run", "second-bochs"):
            shutil.copy(ROOT / ".ci" / name, self.top / ".ci")

    def script(self, name: str, text: str) -> None:
        path = self.top / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def run_ci(self, check: str, configure: str = '[ "$*" = --install-deps ]', minutes: str = "1",
               second: str = "echo run_tests.sh: no network >&2; exit 2", bochs: str = "2.7") -> tuple[int, list[str]]:
        """second: what run_tests.sh does; bochs: the machine's own version."""
        self.script("configure", configure)
        self.script("run_tests.sh", second)
        self.script("bin/bochs", f"echo Bochs x86 Emulator {bochs}")
        (self.top / "config.mk").write_text(f"BOCHS={self.top}/bin/bochs\n")
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

    def test_a_second_bochs(self) -> None:
        second = 'echo "$@" >>calls; [ "$3" = --list ] || echo 40 passed, 0 failed, 2 skipped'
        status, lines = self.run_ci("echo 3 passed, 0 failed, 1 skipped", second=second)
        self.assertEqual((status, lines[-1]), (0, "43 passed, 0 failed, 3 skipped"))
        calls = (self.top / "calls").read_text().splitlines()
        self.assertEqual(calls[0], "--bochs 3.1 --list")
        self.assertTrue(calls[1].startswith("--bochs 3.1 --backend bochs --fail-stale -q "), calls)
        status, _ = self.run_ci("echo 3 passed, 0 failed, 1 skipped", second=second, bochs="3.1")
        self.assertEqual((status, (self.top / "calls").read_text().splitlines()[2]), (0, "--bochs 3.0 --list"))

    def test_a_second_bochs_that_fails(self) -> None:
        status, lines = self.run_ci("echo 3 passed, 0 failed, 1 skipped",
                                    second='[ "$3" = --list ] || { echo 40 passed, 1 failed, 2 skipped; exit 1; }')
        self.assertEqual((status, lines[-1]), (1, "43 passed, 1 failed, 3 skipped"))

    def test_no_second_bochs_is_one_line(self) -> None:
        status, lines = self.run_ci("echo 3 passed, 0 failed, 1 skipped")
        self.assertEqual((status, lines[-2:]), (0, ["ci: Bochs 3.1 cannot be had, and is not tested: run_tests.sh: no network",
                                                    "3 passed, 0 failed, 1 skipped"]))

    def test_hang_ends_red_with_the_total_so_far(self) -> None:
        status, lines = self.run_ci("echo 5 passed, 0 failed, 0 skipped; sleep 30", minutes="0.01")
        self.assertEqual((status, lines[-1]), (124, "5 passed, 0 failed, 0 skipped"))


if __name__ == "__main__":
    unittest.main()
