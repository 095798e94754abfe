# SPDX-License-Identifier: BSD-2-Clause
"""A machine that is reset in the middle of a test goes on behind it by itself, and one log of all that is judged as a run."""
import re
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from firmware import COMMON, IMAGES, ISO_TOOLS, ROOT, Machines, dies_with_us, lacking  # noqa: E402

WORDS = "fault=triple-fault journal"
GOES_ON = "# journal: self.middle was running when the machine was reset; going on behind it"


@unittest.skipIf(lacking(*ISO_TOOLS, "qemu-system-x86_64"), lacking(*ISO_TOOLS, "qemu-system-x86_64"))
class Journal(Machines):
    def iso(self, words: str) -> Path:
        iso = self.folder / "fault.iso"
        done = subprocess.run([str(ROOT / "scripts" / "mkiso"), str(iso), str(IMAGES), "fault"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        marker = b"VMXCHECK-CMDLINE" + bytes(1008)
        iso.write_bytes(iso.read_bytes().replace(marker, (b"VMXCHECK-CMDLINE" + words.encode()).ljust(len(marker), b"\0")))
        return iso

    def resetting(self, *arguments: str, timeout: int = 60) -> str:
        """QEMU that starts again after a reset."""
        log = self.folder / "serial"
        options = [option for option in COMMON if option != "-no-reboot"]
        try:
            subprocess.run([*dies_with_us(), "qemu-system-x86_64", *options, "-net", "none", "-serial", f"file:{log}", *arguments],
                           capture_output=True, timeout=timeout, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            pass
        return log.read_text(encoding="latin-1")

    def check_goes_on(self, log: str) -> None:
        self.assertEqual(log.count("TAP version 13\n"), 2, log)
        self.assertEqual(log.count(GOES_ON), 1, log)
        self.assertEqual(re.findall(r"(?m)^ok \d+ - ([a-z.]+):", log), ["self.first", "self.last"])
        self.assertTrue(log.endswith("# end\n"), log)
        (self.folder / "log").write_text(log, encoding="latin-1")
        judged = subprocess.run(["./run_tests.sh", "import", str(self.folder / "log"), "--config", "tests/suite/fault.cfg", "--results",
                                 str(self.folder / "results")], cwd=ROOT, capture_output=True, text=True, timeout=60)
        self.assertEqual(judged.returncode, 1, judged.stdout + judged.stderr)
        self.assertIn("2 passed", judged.stdout)
        self.assertRegex(judged.stdout, r"(?s)self\.middle.*crash|crash.*self\.middle")

    def test_without_firmware_between(self) -> None:
        self.check_goes_on(self.resetting("-kernel", str(IMAGES / "fault.elf"), "-append", WORDS))

    def test_bios(self) -> None:
        self.check_goes_on(self.resetting("-M", "q35", "-cdrom", str(self.iso(WORDS))))

    def test_uefi(self) -> None:
        self.check_goes_on(self.resetting(*self.ovmf(), "-cdrom", str(self.iso(WORDS)), timeout=90))

    def test_bochs_bios(self) -> None:
        self.check_goes_on(self.bochs(self.iso(WORDS + " machine=emulated"), resets=2))

    def test_only_by_its_word(self) -> None:
        log = self.resetting("-kernel", str(IMAGES / "fault.elf"), "-append", "fault=triple-fault", timeout=4)
        self.assertNotIn("# journal", log)
        self.assertGreater(log.count("TAP version 13\n"), 2)

    def test_other_words_and_an_end_begin_afresh(self) -> None:
        """The end of a run takes its journal away: this machine is reset at the end, and runs all of it again."""
        log = self.resetting("-kernel", str(IMAGES / "fault.elf"), "-append", "journal end=reset", timeout=4)
        self.assertNotIn("# journal", log)
        self.assertGreater(log.count("1..3\n"), 1)


if __name__ == "__main__":
    unittest.main()
