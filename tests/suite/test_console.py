# SPDX-License-Identifier: BSD-2-Clause
"""Where an image speaks: each kind of serial port, and the words that name one. What ends the machine by a word."""
from __future__ import annotations

import re
import struct
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from firmware import IMAGES, Machines, Qmp, dies_with_us, lacking  # noqa: E402

BARE = ["-accel", "tcg", "-cpu", "max", "-m", "64", "-display", "none", "-nodefaults", "-no-reboot", "-net", "none"]
EXIT = ["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
KERNEL = ["-kernel", str(IMAGES / "fault.elf")]
LSR_READY = 0x60


@unittest.skipIf(lacking("qemu-system-x86_64"), lacking("qemu-system-x86_64"))
class Serial(Machines):
    def said(self, words: str, *arguments: str) -> str:
        """What came to the character device `c`."""
        log = self.folder / "serial"
        subprocess.run([*dies_with_us(), "qemu-system-x86_64", *BARE, *EXIT, *KERNEL, "-append", words, "-chardev", f"file,id=c,path={log}",
                        *arguments], capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
        return log.read_text(encoding="latin-1")

    def check_said(self, remark: str, words: str, *arguments: str) -> None:
        with self.subTest(words=words, arguments=arguments):
            text = self.said(words, *arguments)
            self.assertEqual(re.findall(r"(?m)^# serial: (.*)$", text), [remark] if remark else [], text)
            self.assertEqual(len(re.findall(r"(?m)^ok ", text)), 3, text)
            self.assertTrue(text.endswith("# end\n"), text)

    def spcr(self, space: int, bits: int, access: int, address: int, interface: int = 0) -> list[str]:
        """A table that names a serial port; QEMU puts the head in front of it."""
        path = self.folder / "spcr"
        path.write_bytes(struct.pack("<B3xBBBBQ", interface, space, bits, 0, access, address) + bytes(28))
        return ["-acpitable", f"sig=SPCR,rev=2,data={path}"]

    def test_by_itself(self) -> None:
        com2 = ("-device", "isa-serial,chardev=c,iobase=0x2f8,irq=3")
        self.check_said("", "", "-serial", "chardev:c")
        self.check_said("", "", "-device", "isa-debugcon,chardev=c")
        self.check_said("spcr: port 0x2f8", "", *com2, *self.spcr(1, 8, 1, 0x2f8))
        for machine in ("pc", "q35"):
            text = self.said("", "-M", machine, "-device", "pci-serial,chardev=c")
            self.assertRegex(text, r"\n# serial: pci: port 0x[0-9a-f]+\n")
            self.assertTrue(text.endswith("# end\n"), text)
        # Each is taken only where what comes before it in the table is not there.
        self.check_said("", "", "-serial", "chardev:c", "-device", "pci-serial", *self.spcr(1, 8, 1, 0x2f8))
        self.check_said("spcr: port 0x2f8", "", *com2, *self.spcr(1, 8, 1, 0x2f8), "-device", "pci-serial")
        # Of another kind, or where nothing answers.
        for table in (self.spcr(1, 8, 1, 0x2f8, interface=3), self.spcr(1, 8, 1, 0x3e8), self.spcr(2, 8, 1, 0x2f8)):
            self.assertRegex(self.said("", "-device", "pci-serial,chardev=c", *com2[:1], "isa-serial,iobase=0x2f8,irq=3", *table),
                             r"\n# serial: pci: ")

    def test_by_word(self) -> None:
        for word, base in (("com2", 0x2f8), ("com3", 0x3e8), ("com4", 0x2e8), ("2f8", 0x2f8), ("0x3000", 0x3000)):
            device = ("-device", f"isa-serial,chardev=c,iobase={base:#x},irq=3")
            self.check_said(f"{word}: port {base:#x}", "serial=" + word, "-serial", "null", *device)
        self.check_said("2f8: port 0x2f8", "console=2f8", "-serial", "null", "-device", "isa-serial,chardev=c,iobase=0x2f8,irq=3")
        self.assertRegex(self.said("serial=pci", "-serial", "null", "-device", "pci-serial,chardev=c"), r"\n# serial: pci: port 0x")
        self.check_said("pci is not there: port 0x3f8", "serial=pci", "-serial", "chardev:c")
        self.check_said("com3 is not there: port 0x3f8", "serial=com3", "-serial", "chardev:c")
        self.check_said("e9: port 0xe9", "serial=e9", "-serial", "null", "-device", "isa-debugcon,chardev=c")
        self.assertEqual(self.said("serial=none", "-serial", "chardev:c"), "")
        for word in ("com5", "com", "mmio:", "mmio:x", "0", "10000", "mmio32:0"):
            self.assertIn(f'\nBail out! unknown word "serial={word}" on the command line\n', self.said("serial=" + word, "-serial", "chardev:c"))

    def test_in_memory(self) -> None:
        """Memory in a serial port's place: what is written to it stays, and its line status says that it is ready."""
        for kind, step, address, table in (("mmio", 1, 0x3000000, False), ("mmio32", 4, 0x3000000, False), ("mmio", 1, 0x128000000, False),
                                           ("mmio32", 4, 0x137FFFFE0, False), ("mmio", 1, 0x128000000, True)):
            with self.subTest(kind=kind, address=hex(address), table=table):
                words = ("" if table else f"serial={kind}:{address:x} ") + "end=halt"
                named = self.spcr(0, 8, 1, address) if table else []
                qmp = Qmp([*BARE, "-m", "5G", *KERNEL, "-append", words, *named,
                           "-device", f"loader,addr={address + 5 * step:#x},data={LSR_READY},data-len=1"], self.folder)
                self.addCleanup(qmp.end)
                # The last character, the control registers, what was left in the scratch register; nothing else.
                expected = bytearray(8 * step)
                for register, value in ((0, 10), (2, 7), (3, 3), (4, 3), (5, LSR_READY), (7, 0x5A)):
                    expected[register * step] = value
                self.assertEqual(qmp.until(lambda: qmp.memory(address, len(expected)), bytes(expected)), bytes(expected))
                qmp.end()


@unittest.skipIf(lacking("qemu-system-x86_64"), lacking("qemu-system-x86_64"))
class Ends(Machines):
    def test_words(self) -> None:
        """The machine is one that no image would end by itself: QEMU without its exit device says that it is reset, or off."""
        for machine in (["-M", "pc"], ["-M", "q35"], ["-M", "microvm"]):
            for word, event in (("poweroff", "guest-shutdown"), ("reset", "guest-reset")):
                with self.subTest(machine=machine, word=word):
                    qmp = Qmp([*BARE, *machine, *KERNEL, "-serial", "null", "-append", f"end={word}"], self.folder)
                    self.addCleanup(qmp.end)
                    self.assertEqual(qmp.event("SHUTDOWN")["reason"], event)
                    qmp.end()


if __name__ == "__main__":
    unittest.main()
