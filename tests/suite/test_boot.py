# SPDX-License-Identifier: BSD-2-Clause
"""One image, every way in: the same TAP, and the command line arrives."""
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from random import Random

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from vmxcheck import selection  # noqa: E402

IMAGES = ROOT / "build" / "x86"
MULTIBOOT_MAGIC = b"\x02\xb0\xad\x1b"
CMDLINE_MARKER = b"VMXCHECK-CMDLINE"
COMMON = ["-accel", "tcg", "-cpu", "max", "-m", "64", "-display", "none", "-nodefaults", "-no-reboot",
          "-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=4"]


def points(stream: str) -> list[str]:
    return re.findall(r"^(?:1\.\.\d+|(?:not )?ok \d+ .*|# begin .*|# end)$", stream, re.M)


@unittest.skipUnless(shutil.which("qemu-system-x86_64"), "qemu-system-x86_64 is not installed")
class WaysIn(unittest.TestCase):
    words = "run=self.* order=random seed=5"

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def qemu(self, *arguments: str) -> str:
        command = ["qemu-system-x86_64", *COMMON, *arguments]
        return subprocess.run(command, capture_output=True, timeout=60, stdin=subprocess.DEVNULL).stdout.decode("latin-1")

    def patched_rom(self, words: str) -> str:
        image = (IMAGES / "fault.rom").read_bytes()
        at = image.index(CMDLINE_MARKER) + len(CMDLINE_MARKER)
        text = words.encode()
        path = self.folder / "fault.rom"
        path.write_bytes(image[:at] + text + bytes(1008 - len(text)) + image[at + 1008:])
        return str(path)

    def check(self, stream: str, way: str) -> None:
        self.assertIn(f" boot={way} ", stream)
        self.assertIn(f"# command line: {self.words}\n", stream)
        # Seed 5's order, which is the same everywhere; the verdicts, the plan and the end.
        self.assertEqual(points(stream)[0], "1..3", stream)
        self.assertEqual(points(stream)[-1], "# end", stream)
        self.assertEqual(len([line for line in points(stream) if line.startswith("ok ")]), 3, stream)
        self.assertEqual(points(stream), self.reference())

    def reference(self) -> list[str]:
        return points(self.qemu("-M", "pc", "-kernel", str(IMAGES / "fault.elf"), "-append", self.words))

    def test_multiboot(self) -> None:
        for machine in ("pc", "q35", "microvm"):
            self.check(self.qemu("-M", machine, "-kernel", str(IMAGES / "fault.elf"), "-append", self.words), "multiboot")

    def test_pvh(self) -> None:
        # QEMU takes Multiboot where it finds the header: without it, the PVH note leads in.
        image = (IMAGES / "fault.elf").read_bytes()
        self.assertEqual(image[:8192].count(MULTIBOOT_MAGIC), 1)
        path = self.folder / "pvh.elf"
        path.write_bytes(image.replace(MULTIBOOT_MAGIC, bytes(4), 1))
        for machine in ("pc", "microvm"):
            self.check(self.qemu("-M", machine, "-kernel", str(path), "-append", self.words), "pvh")

    def test_rom(self) -> None:
        for machine in ("pc", "q35"):
            self.check(self.qemu("-M", machine, "-bios", self.patched_rom(self.words)), "rom")

    @unittest.skipUnless(shutil.which("bochs"), "bochs is not installed")
    def test_rom_on_bochs(self) -> None:
        ran = subprocess.run(["./run_tests.sh", "--config", "tests/suite/fault.cfg", "--backend", "bochs", "--order",
                              "random", "--seed", "5", "--results", str(self.folder), "-v", "self.*"],
                             cwd=ROOT, capture_output=True, text=True, timeout=60)
        logs = [path.read_text(encoding="latin-1") for path in self.folder.rglob("*.log")]
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)
        self.assertEqual([points(log) for log in logs if points(log)], [self.reference()])

    def test_other_processors(self) -> None:
        for arguments in (("-kernel", str(IMAGES / "guest.elf"), "-append", "run=guest.smp.call smp=3"),
                          ("-kernel", str(IMAGES / "guest.elf"), "-append", "run=guest.smp.call smp=3 apic=x2apic"),
                          ("-kernel", str(IMAGES / "guest.elf"), "-append", "run=guest.smp.call")):
            stream = self.qemu("-smp", "3", "-cpu", "max,+x2apic", *arguments)
            if "# SKIP needs CPUID.01H:ECX[21] (x2APIC" in stream:
                continue        # TCG of this QEMU has none
            self.assertIn("\nok 1 - guest.smp.call", stream)

    def test_bad_words(self) -> None:
        for word in ("runn=self.*", "run=", "order=sorted", "seed=x", "smp=0", "from=no.such.test", "fault=no-such"):
            stream = self.qemu("-kernel", str(IMAGES / "fault.elf"), "-append", word)
            self.assertIn(f'Bail out! unknown word "{word}" on the command line', stream)

    def test_selection(self) -> None:
        def ids(words: str) -> list[str]:
            stream = self.qemu("-kernel", str(IMAGES / "fault.elf"), "-append", words)
            return re.findall(r"^ok \d+ - ([a-z.]+):", stream, re.M)

        self.assertEqual(ids("run=self.f*,self.last"), ["self.first", "self.last"])
        self.assertEqual(ids("run=self.*"), ["self.first", "self.middle", "self.last"])
        self.assertEqual(ids("skip=self.m*"), ["self.first", "self.last"])
        self.assertEqual(ids("run=self.fir"), [])
        for numbers in ("0,2", "x5", "0-0,2-2"):
            self.assertEqual(ids("tests=" + numbers), ["self.first", "self.last"])
        self.assertEqual(ids("tests=0-2 skip=self.first"), ["self.middle", "self.last"])
        self.assertEqual(ids("from=self.middle"), ["self.middle", "self.last"])
        self.assertEqual(ids("after=self.middle"), ["self.last"])
        self.assertEqual(ids("after=self.last"), [])
        orders = {tuple(ids(f"order=random seed={seed}")) for seed in range(12)}
        self.assertGreater(len(orders), 2)
        self.assertTrue(all(sorted(order) == sorted(ids("")) for order in orders))

    def test_numbers_that_are_none(self) -> None:
        for numbers in ("3", "0-3", "2-1", "x8", "x5g", "0,,1", "-1", "1-", "self.first"):
            stream = self.qemu("-kernel", str(IMAGES / "fault.elf"), "-append", "tests=" + numbers)
            self.assertIn("Bail out! tests= has what is no number of a test of this image", stream, numbers)

    def test_hundreds_of_tests_in_one_boot(self) -> None:
        listed = (IMAGES / "all.tests").read_text(encoding="utf-8").splitlines()
        everything = dict(line.split("\t") for line in listed)
        random = Random(400)
        for _ in range(3):
            chosen = set(random.sample(sorted(everything), 400))
            wanted = {identity: everything[identity] for identity in everything if identity in chosen}
            (words, *ids), = selection.command_lines("", everything, wanted, "list")
            stream = self.qemu("-kernel", str(IMAGES / "all.elf"), "-append", words)
            self.assertEqual([line[2:] for line in stream.splitlines() if line[2:] in listed],
                             [line for line in listed if line.split("\t")[0] in chosen])
            self.assertEqual(len(ids), 400)

    def test_list(self) -> None:
        stream = self.qemu("-kernel", str(IMAGES / "fault.elf"), "-append", "list")
        listed = re.findall(r"^# (self\..*)$", stream, re.M)
        self.assertEqual(listed, (IMAGES / "fault.tests").read_text(encoding="utf-8").splitlines())


@unittest.skipUnless(shutil.which("prove") and shutil.which("qemu-system-x86_64"), "prove or qemu is not installed")
class Prove(unittest.TestCase):
    def prove(self, fault: str) -> int:
        with tempfile.TemporaryDirectory() as folder:
            script = Path(folder) / "image.t"
            words = " ".join(f"'{word}'" for word in ["qemu-system-x86_64", *COMMON, "-kernel",
                                                      str(IMAGES / "fault.elf"), "-append", f"fault={fault}"])
            script.write_text(f"#!/bin/sh\n{words} </dev/null\nexit 0\n", encoding="utf-8")
            command = ["prove", "--exec", "/bin/sh", str(script)]
            return subprocess.run(command, capture_output=True, timeout=60).returncode

    def test_accepts_what_is_green(self) -> None:
        for fault in ("pass", "skip"):
            self.assertEqual(self.prove(fault), 0, fault)

    def test_refuses_what_is_not(self) -> None:
        for fault in ("fail", "end", "plan-large", "bail-out"):
            self.assertNotEqual(self.prove(fault), 0, fault)
