# SPDX-License-Identifier: BSD-2-Clause
"""A machine without a serial port: what runs, what is red, the counts and the checksum stand on its screen, in text mode or in pixels."""
from __future__ import annotations

import re
import subprocess
import sys
import unittest
import zlib
from pathlib import Path
from typing import Callable

sys.path.insert(0, str(Path(__file__).resolve().parent))
from firmware import IMAGES, ISO_TOOLS, ROOT, Machines, Qmp, lacking  # noqa: E402

BARE = ["-accel", "tcg", "-cpu", "max", "-m", "128", "-display", "none", "-nodefaults", "-no-reboot", "-net", "none", "-device", "VGA"]
TEXT_AT, COLUMNS, ROWS = 0xB8000, 80, 25
PASSED = "ok 1 - self.first: a test that passes, before the fault\n"
FAILED = "not ok 2 - self.middle: the test that does what fault= asks for\n"
LAST = "ok 3 - self.last: a test that passes, behind the fault: no interrupt comes\n"


def font() -> dict[tuple[int, ...], str]:
    text = (ROOT / "lib" / "machine" / "font.def").read_text(encoding="utf-8")
    found = re.findall(r"^GLYPH\('(\\?.)', (.*)\)$", text, re.M)
    return {(0,) * 8: " ", **{tuple(int(row, 16) for row in rows.split(", ")): name[-1] for name, rows in found}}


def read_pixels(path: Path) -> list[str]:
    """The characters of a screen dump (PPM), by the suite's own font, at one pixel a column and two a row."""
    header, pixels = re.match(rb"P6\n(\d+) (\d+)\n255\n", path.read_bytes()), path.read_bytes()
    assert header
    width, height, pixels, glyphs = int(header.group(1)), int(header.group(2)), pixels[header.end():], font()

    def is_set(x: int, y: int) -> bool:
        return any(pixels[3 * (y * width + x):3 * (y * width + x) + 3])

    def cell(column: int, row: int) -> str:
        bits = [[is_set(8 * column + x, 16 * row + y) for x in range(8)] for y in range(16)]
        if bits[::2] != bits[1::2] or any(line[0] or line[6] or line[7] for line in bits):
            return "\ufffd"
        return glyphs.get(tuple(sum(16 >> x for x in range(5) if line[1 + x]) for line in bits[::2]), "\ufffd")

    return ["".join(cell(column, row) for column in range(width // 8)).rstrip() for row in range(min(height // 16, ROWS))]


@unittest.skipIf(lacking("qemu-system-x86_64"), lacking("qemu-system-x86_64"))
class Screens(Machines):
    def setUp(self) -> None:
        super().setUp()
        self.log = self.folder / "serial"
        self.to_log = ("-serial", f"file:{self.log}")

    def start(self, *arguments: str) -> Qmp:
        qmp = Qmp([*BARE, *arguments], self.folder)
        self.addCleanup(qmp.end)
        return qmp

    def text_of(self, qmp: Qmp) -> list[str]:
        cells = qmp.memory(TEXT_AT, 2 * COLUMNS * ROWS)[::2].decode("latin-1")
        return [cells[row * COLUMNS:(row + 1) * COLUMNS].rstrip() for row in range(ROWS)]

    def pixels_of(self, qmp: Qmp) -> list[str]:
        dump = self.folder / "dump.ppm"
        qmp.ask("screendump", filename=str(dump))
        return read_pixels(dump)

    def check(self, look: Callable[[], list[str]], state: str, way: str, qmp: Qmp, red: bool = True) -> None:
        if self.log.exists():           # a screen dump costs more than a look into the log
            qmp.until(lambda: self.log.read_bytes().endswith(b"# end\n"), True, 90)
        else:
            qmp.until(lambda: state in look(), True)
        rows = look()
        self.assertTrue(rows[0].startswith(f"vmxcheck 0.1 image=fault boot={way} "), rows)
        self.assertEqual(rows[2], state, rows)
        if red:
            self.assertEqual(rows[3], "3 of 3: 2 passed, 0 skipped, 1 failed")
            self.assertEqual(rows[5], f"crc32: {zlib.crc32((PASSED + FAILED + LAST).encode()):08x} of 3 verdicts")
            self.assertEqual(rows[6], "failed:")
            self.assertRegex(rows[7], r"^2 - self\.middle  tests/images/fault\.c:\d+$")
        self.assertFalse(any("\ufffd" in row for row in rows), rows)
        qmp.end()

    def test_text_mode(self) -> None:
        """With no serial port at all; in the middle of a test that hangs, too."""
        for fault, state in (("fail", "the end"), ("hang", "running self.middle")):
            qmp = self.start("-kernel", str(IMAGES / "fault.elf"), "-append", f"fault={fault} screen=text end=halt")
            self.check(lambda qmp=qmp: self.text_of(qmp), state, "multiboot", qmp, fault == "fail")

    def test_no_screen(self) -> None:
        for words in ("screen=none", ""):
            qmp = self.start("-kernel", str(IMAGES / "fault.elf"), "-append", f"end=halt {words}", *self.to_log)
            self.assertTrue(qmp.until(lambda: self.log.read_text().endswith("# end\n"), True))
            self.assertNotIn("vmxcheck", "".join(self.text_of(qmp)))
            qmp.end()

    def test_frame_buffer_by_uefi(self) -> None:
        qmp = self.start(*self.ovmf(), "-kernel", str(IMAGES / "fault.bzimage"), "-append", "fault=fail end=halt", *self.to_log)
        self.check(lambda: self.pixels_of(qmp), "the end", "efi", qmp)

    @unittest.skipIf(lacking(*ISO_TOOLS), lacking(*ISO_TOOLS))
    def test_by_grub(self) -> None:
        """By multiboot2: what a BIOS has is text mode, what UEFI has a frame buffer."""
        made = self.folder / "fault.iso"
        self.made(made)
        for machine, look in ((["-M", "pc"], self.text_of), (self.ovmf(), self.pixels_of)):
            qmp = self.start(*machine, "-cdrom", str(made), *self.to_log)
            self.check(lambda qmp=qmp, look=look: look(qmp), "the end", "multiboot2", qmp)

    def made(self, iso: Path) -> None:
        done = subprocess.run([str(ROOT / "scripts" / "mkiso"), str(iso), str(IMAGES), "fault"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        marker = b"VMXCHECK-CMDLINE" + bytes(1008)
        iso.write_bytes(iso.read_bytes().replace(marker, b"VMXCHECK-CMDLINEfault=fail end=halt".ljust(len(marker), b"\0")))


if __name__ == "__main__":
    unittest.main()
