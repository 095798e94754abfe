# SPDX-License-Identifier: BSD-2-Clause
"""Needs are enforced: the check build fails a test that uses what it did not ask for, and takes controls away."""
import json
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
UNASKED = ["self.unasked.needs_another", "self.unasked.prepared", "self.unasked.set", "self.unasked.written"]
# What every processor of Intel's has always had, and a young hypervisor has not.
ORDINARY = ("PROC_USE_MSR_BITMAPS", "PROC_PAUSE_EXITING", "PROC_RDTSC_EXITING", "PROC_INTERRUPT_WINDOW_EXITING",
            "PROC_USE_TSC_OFFSETTING")


@unittest.skipUnless(shutil.which("bochs"), "bochs is not installed")
class Needs(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        subprocess.run(["make", "-s", "CHECK=1"], cwd=ROOT, check=True)

    def verdicts(self, build: str, words: str, *options: str, image: str = "unasked") -> dict[str, str]:
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder) / "needs.cfg"
            config.write_text(f"[lacks-{image}]\nfile = {image}\narguments = {words}\nsmp = 2\nneeds = vmx\n", encoding="utf-8")
            subprocess.run(["./run_tests.sh", "--config", str(config), "--build", build, "--backend", "bochs",
                            "--results", folder, *options], cwd=ROOT, capture_output=True, timeout=240, check=False)
            points = json.loads((Path(folder) / "latest" / "results.json").read_text(encoding="utf-8"))["points"]
        return {point["id"]: point["verdict"] for point in points}

    def red(self, verdicts: dict[str, str]) -> list[str]:
        self.assertTrue(verdicts)
        return sorted(name for name, verdict in verdicts.items() if verdict not in ("pass", "skip", "known"))

    def test_what_is_not_asked_for_fails(self) -> None:
        self.assertEqual(self.red(self.verdicts("build/check", "")), UNASKED)

    def test_the_images_that_people_run_do_not_watch(self) -> None:
        self.assertEqual(self.red(self.verdicts("build", "")), [])

    def test_without_the_control_those_who_asked_are_right(self) -> None:
        verdicts = self.verdicts("build/check", "lacks=PROC_PAUSE_EXITING")
        self.assertEqual(self.red(verdicts), UNASKED)
        self.assertEqual(verdicts["self.asked.needs"], "skip")
        self.assertEqual(verdicts["self.asked.has"], "pass")

    def test_five_ordinary_controls_less(self) -> None:
        words = "lacks=" + ",".join(ORDINARY)
        self.assertEqual(self.red(self.verdicts("build/check", words, image="exit")), [])
        self.assertEqual(self.red(self.verdicts("build/check", words, image="capability")), [])

    def test_only_what_may_be_lacked(self) -> None:
        for words in ("lacks=PROC_CR3_LOAD_EXITING", "lacks=EXITCTL_HOST_ADDRESS_SPACE_SIZE", "lacks=NOTHING", "lacks="):
            with self.subTest(words):
                self.assertEqual(set(self.verdicts("build/check", words).values()) - {"missing", "crash"}, set())
        self.assertEqual(set(self.verdicts("build", "lacks=PROC_PAUSE_EXITING").values()) - {"missing", "crash"}, set())
