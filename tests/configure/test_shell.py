# SPDX-License-Identifier: BSD-2-Clause
"""The shell scripts are clean for shellcheck."""

import shutil
import subprocess
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = [ROOT / name for name in ("configure", "scripts/find-tools.sh", "scripts/standalone.sh", "run_tests.sh", ".ci/run", ".ci/second-bochs",
                                  "docs/ci/fleet.sh")]


class ShellTest(unittest.TestCase):
    def test_shellcheck(self) -> None:
        if not shutil.which("shellcheck"):
            self.skipTest("shellcheck is not installed")
        for script in SCRIPTS:
            with self.subTest(script.name):
                done = subprocess.run(["shellcheck", str(script)], capture_output=True, text=True, check=False)
                self.assertEqual(done.returncode, 0, done.stdout)


if __name__ == "__main__":
    unittest.main()
