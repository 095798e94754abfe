# SPDX-License-Identifier: BSD-2-Clause
"""The way of a real machine: a CD or a stick, under a BIOS and under UEFI. The same verdicts as from the ROM.

Firmwares leave their own state behind: RFLAGS.ID set, 8259s and timers on, memory with holes in it.
The whole suite by Bochs' BIOS, from `make iso`: make check-iso (WHOLE=1); here some of it.
"""
import os
import re
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from firmware import IMAGES, ISO_TOOLS, PLAIN, ROOT, VMX, Machines, lacking, rom_stream  # noqa: E402

PLAIN_WORDS = f"brief smp=2 run={PLAIN}"


@unittest.skipIf(lacking(*ISO_TOOLS, "qemu-system-x86_64"), lacking(*ISO_TOOLS, "qemu-system-x86_64"))
class ByGrub(Machines):
    """GRUB of our own making, for one platform and one of its commands."""

    def make_iso(self, command: str, words: str, platform: str, image: str = "image.elf") -> str:
        if not Path("/usr/lib/grub", platform).exists():
            self.skipTest(f"GRUB for {platform} is not installed")
        boot = self.folder / "tree" / "boot"
        (boot / "grub").mkdir(parents=True)
        subprocess.run(["objcopy", "--strip-all", str(IMAGES / "all.elf"), str(boot / "image.elf")], check=True)
        subprocess.run(["objcopy", "--strip-all", str(IMAGES / "all.elf64"), str(boot / "image.elf64")], check=True)
        (boot / "image.bzimage").write_bytes((IMAGES / "all.bzimage").read_bytes())
        (boot / "grub" / "grub.cfg").write_text(f"set timeout=0\n{command} /boot/{image} {words}\nboot\n", encoding="utf-8")
        iso = self.folder / "own.iso"
        subprocess.run(["grub-mkrescue", "-o", str(iso), "-d", f"/usr/lib/grub/{platform}", str(self.folder / "tree")],
                       check=True, capture_output=True, timeout=60)
        return str(iso)

    def bios(self, command: str, way: str, image: str) -> None:
        iso = self.make_iso(command, PLAIN_WORDS, "i386-pc", image)
        self.check(self.qemu("-M", "pc", "-cdrom", iso), way, rom_stream(PLAIN_WORDS))

    def uefi(self, command: str, way: str, image: str) -> None:
        machine = self.ovmf()
        iso = self.make_iso(command, PLAIN_WORDS, "x86_64-efi", image)
        self.check(self.qemu(*machine, "-cdrom", iso), way, rom_stream(PLAIN_WORDS))

    def test_bios(self) -> None:
        self.bios("multiboot", "multiboot", "image.elf")

    def test_bios_elf64(self) -> None:
        self.bios("multiboot2", "multiboot2", "image.elf64")

    def test_bios_linux(self) -> None:
        self.bios("linux", "linux", "image.bzimage")

    def test_uefi(self) -> None:
        self.uefi("multiboot", "multiboot", "image.elf")

    def test_uefi_multiboot2(self) -> None:
        self.uefi("multiboot2", "multiboot2", "image.elf")

    def test_uefi_linux(self) -> None:
        self.uefi("linux", "linux", "image.bzimage")


@unittest.skipIf(lacking(*ISO_TOOLS), lacking(*ISO_TOOLS))
class MadeIso(Machines):
    """What `make iso` makes."""

    def iso(self, words: str, *arguments: str) -> Path:
        """With words that all its entries get, and that does not wait in its menu."""
        plain, iso = self.folder / "plain.iso", self.folder / "patched.iso"
        made = subprocess.run([str(ROOT / "scripts" / "mkiso"), str(plain), str(IMAGES), *arguments], capture_output=True, text=True)
        self.assertEqual(made.returncode, 0, made.stderr)
        if "GRUB for" in made.stderr:
            self.skipTest(made.stderr)
        content, marker = plain.read_bytes(), b"VMXCHECK-CMDLINE" + bytes(1008)
        self.assertEqual(content.count(b"set timeout=10\n"), 0 if arguments else 1)
        content = content.replace(b"set timeout=10\n", b"set timeout=0 \n")
        self.assertGreaterEqual(content.count(marker), 1)
        iso.write_bytes(content.replace(marker, (b"VMXCHECK-CMDLINE" + words.encode()).ljust(len(marker), b"\0")))
        return iso

    @unittest.skipIf(lacking("qemu-system-x86_64"), lacking("qemu-system-x86_64"))
    def test_cd_and_stick(self) -> None:
        iso = self.iso(PLAIN_WORDS)
        for medium in (("-cdrom", str(iso)), ("-drive", f"format=raw,file={iso}")):
            for machine in (["-M", "pc"], self.ovmf()):
                with self.subTest(medium=medium[0], machine=machine[1]):
                    self.check(self.qemu(*machine, *medium), "multiboot2", rom_stream(PLAIN_WORDS))

    def test_bochs_bios(self) -> None:
        whole = os.environ.get("WHOLE") == "1"
        chosen = [] if whole else VMX.split(",")
        words = "smp=2 machine=emulated" + ("" if whole else f" brief run={VMX}")
        stream = self.bochs(self.iso(words, "all"), timeout=1200)
        subprocess.run(["./run_tests.sh", "--image", "all", "--backend", "bochs", "--results", str(self.folder / "rom"), *chosen],
                       cwd=ROOT, capture_output=True, timeout=1200)
        reference = "".join(path.read_text(encoding="latin-1") for path in (self.folder / "rom").rglob("*.log"))
        self.check(stream, "multiboot2", reference, 1300 if whole else 10)

    def test_without_its_tools(self) -> None:
        made = subprocess.run([sys.executable, str(ROOT / "scripts" / "mkiso"), str(self.folder / "x.iso"), str(IMAGES)],
                              capture_output=True, text=True, env={"PATH": str(self.folder)})
        self.assertEqual(made.returncode, 1)
        self.assertRegex(made.stderr, r"\Amkiso: an ISO needs grub-mkrescue, .*: \./configure --install-deps\n\Z")

    def test_menu(self) -> None:
        listed = (IMAGES / "all.tests").read_text(encoding="utf-8").splitlines()
        plain = self.iso("").read_bytes()
        menu = plain[plain.index(b"menuentry 'All tests"):].split(b"\0", 1)[0].decode()
        areas = re.findall(r"menuentry '(\w+) \((\d+) tests\)' {\n\tmultiboot2 /boot/all.elf run=(\w+)\.\* journal\n", menu)
        self.assertEqual(sum(int(count) for _, count, _ in areas), len(listed))
        for words in ("list", "journal", "dangerous journal"):
            self.assertIn(f"/boot/all.elf {words}\n", menu)
        self.assertEqual(menu.count("{"), menu.count("}"))


if __name__ == "__main__":
    unittest.main()
