# SPDX-License-Identifier: BSD-2-Clause
"""The tables of VM entry against the model of it (lib/vmxtest/modelled.h): what tests call good violates no rule, what they refuse some."""
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
IDS = ("entry.ctl", "entry.host", "entry.guest")


@unittest.skipUnless(shutil.which("bochs") or shutil.which("bochs-bin"), "bochs is not installed")
class Modelled(unittest.TestCase):
    def test_model_and_tests_agree(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([str(ROOT / "run_tests.sh"), "--backend", "bochs", "--walks", "brief", "--words", "modelled",
                                   "--image", "controls", "--image", "entry", "--results", folder, "-q", *IDS],
                                  cwd=ROOT, capture_output=True, text=True, timeout=600)
            self.assertEqual(done.returncode, 0, done.stdout)
            text = "".join(path.read_text(encoding="utf-8", errors="replace") for path in Path(folder).glob("*/logs/*.log"))
        said = re.findall(r"^# model: (\S+): (good|refused), and violates (.*)$", text, re.MULTILINE)
        self.assertTrue(said, "the tests were not given to the model")
        self.assertEqual([line for line in said if line[1] == "good"], [], "good, and violates a rule")
        self.assertEqual([line for line in said if line[2].endswith("nothing") and "?" not in line[2]], [], "refused by no rule")


if __name__ == "__main__":
    unittest.main()
