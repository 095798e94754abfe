# SPDX-License-Identifier: BSD-2-Clause
"""What a real machine may not survive is done only where the machine says that it is emulated, or when it is asked for."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
IMAGES = ROOT / "build" / "x86"
sys.path.insert(0, str(ROOT / "scripts"))

from vmxcheck import images  # noqa: E402
from vmxcheck.backends import CLASSES  # noqa: E402
from vmxcheck.launch import Boot  # noqa: E402
from vmxcheck.settings import Settings  # noqa: E402

# Before it: `NEEDS(` of the same test.
GUARDED = re.compile(r'^TEST\("([a-z0-9_.]+)"(?:(?!^\{).)*?NEEDS\([^)]*(?:\([^)]*\)[^)]*)*\bMAY_', re.M | re.S)
REFUSED = re.compile(r"^ok \d+ - (\S+): .* # SKIP .*: not without the word dangerous=[a-z]+$", re.M)
POINT = re.compile(r"^(?:not )?ok \d+ - (\S+): ", re.M)


def guarded(folder: str = "") -> set[str]:
    sources = [*(ROOT / "x86" / folder).glob("**/*.c")]
    return {identity for path in sources for identity in GUARDED.findall(path.read_text(encoding="utf-8"))}


class Safe(unittest.TestCase):
    def check(self, stream: str, tests: set[str]) -> None:
        """It ran to its end, once, and refused all these."""
        self.assertEqual((stream.count("TAP version 13"), stream.count("\n# end\n")), (1, 1), stream[-2000:])
        self.assertEqual(tests - set(POINT.findall(stream)), set())
        self.assertEqual(tests - set(REFUSED.findall(stream)), set())


@unittest.skipUnless(shutil.which("bochs"), "bochs is not installed")
class OnBochs(Safe):
    def boot(self, words: str) -> str:
        backend = CLASSES["bochs"](Settings.load(ROOT, os.environ))
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            launch = backend.command(Boot(images.load(IMAGES, "all"), words, 3, 64, folder))
            (folder / "serial").unlink()        # a file instead of the FIFO
            subprocess.run(launch.argv, cwd=folder, capture_output=True, timeout=120, stdin=subprocess.DEVNULL)
            return (folder / "serial").read_text(encoding="latin-1")

    def test_without_a_word(self) -> None:
        tests = guarded()
        self.assertGreater(len(tests), 8)
        self.assertIn("abort.shutdown", tests)
        self.check(self.boot("smp=3 run=" + ",".join(sorted(tests))), tests)

    def test_with_one(self) -> None:
        run = "smp=3 run=abort.indicator"
        for words, refused in ((run, True), (run + " machine=real", True), (run + " dangerous", False),
                               (run + " machine=emulated", False), (run + " machine=emulated machine=real", True)):
            with self.subTest(words):
                stream = self.boot(words)
                self.assertEqual(POINT.findall(stream), ["abort.indicator"], stream)
                self.assertEqual(REFUSED.findall(stream), ["abort.indicator"] * refused)

    def test_one_kind(self) -> None:
        stream = self.boot("smp=3 run=abort.indicator,abort.shutdown dangerous=msrs,caches")
        self.check(stream, {"abort.indicator", "abort.shutdown"})
        stream = self.boot("smp=3 run=abort.indicator dangerous=msrs,shutdown")
        self.assertIn("\nok 1 - abort.indicator", stream)
        self.assertEqual(REFUSED.findall(stream), [])
        self.assertIn('Bail out! unknown word "dangerous=all"', self.boot("dangerous=all"))

    def test_a_machine_that_ends(self) -> None:
        stream = self.boot("smp=3 run=abort.indicator machine=emulated shutdown=ends")
        self.assertRegex(stream, r"ok 1 - abort.indicator: .* # SKIP .*which ends this machine")


@unittest.skipUnless(shutil.which("qemu-system-x86_64"), "qemu-system-x86_64 is not installed")
class OnQemu(Safe):
    def boot(self, cpu: str, words: str = "") -> str:
        command = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", cpu, "-smp", "2", "-m", "64", "-display", "none", "-nodefaults",
                   "-no-reboot", "-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
                   "-kernel", str(IMAGES / "all.elf"), "-append", words]
        lines: list[str] = []
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, encoding="latin-1") as qemu:
            assert qemu.stdout
            timer = threading.Timer(60, qemu.kill)
            timer.start()
            for line in qemu.stdout:  # up to the end of the image: it does not power off a machine that it does not know
                lines.append(line)
                if line.startswith(("# end", "Bail out!")):
                    break
            timer.cancel()
            qemu.kill()
        return "".join(lines)

    def test_without_its_signature(self) -> None:
        tests = guarded("guest")
        self.assertTrue(tests)
        self.check(self.boot("max,-hypervisor", "run=guest.cr0.*," + ",".join(sorted(tests))), tests)

    def test_with_its_signature(self) -> None:
        stream = self.boot("max", "run=" + ",".join(sorted(guarded("guest"))))
        self.assertEqual(REFUSED.findall(stream), [])


if __name__ == "__main__":
    unittest.main()
