# SPDX-License-Identifier: BSD-2-Clause
"""under=: the words that it takes, and that the guest's checks come out the same in every mode."""
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
MODES = ("vmx", "vmx+ept", "vmx+intercept", "vmx+ept+intercept")
# A few of each kind of exit: the whole image is a run of its own in unittests.cfg.
TESTS = "guest.cr*,guest.pf.*,guest.exc.*,guest.cpl3.*,guest.nmi.*,guest.apic.tpr_cr8"


@unittest.skipUnless(shutil.which("bochs"), "bochs is not installed")
class Under(unittest.TestCase):
    def points(self, mode: str, tests: str = TESTS) -> tuple[str, list[str]]:
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder) / "under.cfg"
            arguments = f"arguments = under={mode}\n" if mode else ""
            config.write_text(f"[guest]\n{arguments}", encoding="utf-8")
            subprocess.run(["./run_tests.sh", "--config", str(config), "--backend", "bochs", "--results", folder,
                            *tests.split(",")], cwd=ROOT, capture_output=True, timeout=120)
            text = "".join(path.read_text(encoding="latin-1") for path in Path(folder).rglob("*.log"))
        return text, re.findall(r"^((?:not )?ok \d+ - \S+)", text, re.M)

    def test_the_same_in_every_mode(self) -> None:
        _, outside = self.points("")
        self.assertGreater(len(outside), 9)
        for mode in MODES:
            with self.subTest(mode):
                self.assertEqual(self.points(mode)[1], outside)

    def test_words_in_any_order(self) -> None:
        text, inside = self.points("intercept+ept+vmx", "guest.cr0.*")
        self.assertIn("under=intercept+ept+vmx", text)
        self.assertTrue(inside)

    def test_other_words_end_the_image(self) -> None:
        for mode in ("ept", "intercept", "vmx+", "vmx+epp", "vmxept", "+vmx"):
            with self.subTest(mode):
                text, inside = self.points(mode, "guest.cr0.*")
                self.assertEqual(inside, [])
                self.assertIn("Bail out! under= takes vmx, with +ept and +intercept", text)
