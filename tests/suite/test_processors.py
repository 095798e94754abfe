# SPDX-License-Identifier: BSD-2-Clause
"""What the library does with processors (tests/images/processors.c): how many, which IDs, and what becomes of the rest."""
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
IMAGES = ROOT / "build" / "x86"
CMDLINE_MARKER = b"VMXCHECK-CMDLINE"
QEMU = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "64", "-display", "none", "-nodefaults", "-no-reboot",
        "-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=4"]


def with_words(words: str, to: Path) -> str:
    rom = (IMAGES / "processors.rom").read_bytes()
    at = rom.index(CMDLINE_MARKER) + len(CMDLINE_MARKER)
    to.write_bytes(rom[:at] + words.encode().ljust(1008, b"\0") + rom[at + 1008:])
    return str(to)


@unittest.skipUnless(shutil.which("qemu-system-x86_64"), "qemu-system-x86_64 is not installed")
class OnQemu(unittest.TestCase):
    def boot(self, *arguments: str) -> str:
        ran = subprocess.run([*QEMU, *arguments], capture_output=True, timeout=120, stdin=subprocess.DEVNULL)
        return ran.stdout.decode("latin-1")

    def check(self, stream: str, passed: int) -> None:
        verdicts = re.findall(r"^(ok|not ok) \d+ - \S+ .*?(# SKIP.*)?$", stream, re.M)
        self.assertEqual(len([v for v in verdicts if v == ("ok", "")]), passed, stream)
        self.assertFalse([v for v in verdicts if v[0] == "not ok"], stream)
        self.assertTrue(stream.endswith("# end\n"), stream)

    def with_firmware(self, smp: str, words: str, passed: int, *more: str) -> None:
        self.check(self.boot("-smp", smp, "-kernel", str(IMAGES / "processors.elf"), "-append", words, *more), passed)

    def test_as_many_as_the_firmware_lists(self) -> None:
        self.with_firmware("1", "online=1", 1)
        self.with_firmware("3", "online=3", 7)
        self.with_firmware("16", "online=16", 7)

    def test_ids_with_gaps(self) -> None:
        # Three cores need two bits of the ID: 0, 1, 2, 4, 5.
        self.with_firmware("5,sockets=2,cores=3,threads=1,maxcpus=6", "online=5", 7)

    def test_an_id_above_255(self) -> None:
        # 129 cores need eight bits of the ID: the first processor of the second socket has 100H, which x2APIC alone can address.
        machine = ["-machine", "q35", "-smp", "1,sockets=2,cores=129,threads=1,maxcpus=258",
                   "-device", "max-x86_64-cpu,socket-id=1,core-id=0,thread-id=0"]
        ran = subprocess.run([*QEMU, *machine, "-kernel", str(IMAGES / "processors.elf"), "-append", "online=2"],
                             capture_output=True, timeout=120, stdin=subprocess.DEVNULL)
        if b"requires kernel irqchip" in ran.stderr or b"x2apic" in ran.stderr.lower():
            self.skipTest("this QEMU has no x2APIC without KVM (QEMU 9 has): " + ran.stderr.decode().strip())
        self.check(ran.stdout.decode("latin-1"), 6)

    def test_disabled_ones_are_not_woken(self) -> None:
        self.with_firmware("2,maxcpus=8", "online=2", 6)

    def test_more_than_are_used(self) -> None:
        self.with_firmware("5", "online=2 parked=3 smp=2", 6)
        self.with_firmware("20", "online=16 parked=4 smp=20 run=self.cpus.online,self.cpus.parked", 2)

    def test_no_table_of_the_firmware(self) -> None:
        self.with_firmware("3", "online=3", 7, "-machine", "pc,acpi=off")

    def test_no_firmware(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for words, passed in (("online=4", 7), ("online=2 parked=2 smp=2", 6)):
                rom = with_words(words, Path(folder) / "image.rom")
                self.check(self.boot("-smp", "4", "-bios", rom), passed)

    def test_the_clock_is_named(self) -> None:
        for source, machine in (("the HPET", ["-machine", "pc"]), ("the ACPI PM timer", ["-machine", "pc,hpet=off"]),
                                ("the PIT", ["-machine", "pc,acpi=off"]),
                                ("no clock: taken for .*", ["-machine", "microvm,acpi=off"])):
            stream = self.boot("-kernel", str(IMAGES / "processors.elf"), "-append", "online=1", *machine)
            self.assertRegex(stream, rf"(?m)^# tsc: \d+ kHz from {source}$")


@unittest.skipUnless(shutil.which("bochs"), "bochs is not installed")
class OnBochs(unittest.TestCase):
    def test_one_that_cannot_be_started_again(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            ran = subprocess.run(["./run_tests.sh", "--config", "tests/suite/processors.cfg", "--backend", "bochs",
                                  "--results", folder, "-v"], cwd=ROOT, capture_output=True, text=True, timeout=120)
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)
        self.assertIn("pass  self.cpus.left_out", ran.stdout)
        self.assertIn("(needs 3 processors, 2 online, 1 lost)", ran.stdout)
