# SPDX-License-Identifier: BSD-2-Clause
"""Each file that an image is handed out as, by those who take such files: the same verdicts as from the ROM."""
import re
import shutil
import struct
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from firmware import IMAGES, PLAIN, ROOT, Machines, lacking, rom_stream  # noqa: E402

WORDS = f"brief smp=2 run={PLAIN}"
KERNEL = str(IMAGES / "all.bzimage")
MULTIBOOT_MAGIC = b"\x02\xb0\xad\x1b"


@unittest.skipIf(lacking("qemu-system-x86_64"), lacking("qemu-system-x86_64"))
class Kernel(Machines):
    """The bzImage."""

    def test_by_qemu(self) -> None:
        for machine in ("pc", "q35", "microvm"):
            # Other clocks and interrupt controllers than the ROM's machine: only what does not need them is the same.
            words = WORDS if machine != "microvm" else "brief run=guest.cpuid.*,guest.page.*,guest.int.*"
            with self.subTest(machine):
                self.check(self.qemu("-M", machine, "-kernel", KERNEL, "-append", words), "linux", rom_stream(words), 15)

    def test_by_ovmf(self) -> None:
        self.check(self.qemu(*self.ovmf(), "-kernel", KERNEL, "-append", WORDS), "efi", rom_stream(WORDS))

    def test_by_ipxe_over_tftp(self) -> None:
        shutil.copy(KERNEL, self.folder / "all.bzimage")
        (self.folder / "boot.ipxe").write_text(f"#!ipxe\nkernel all.bzimage {WORDS}\nboot\n", encoding="utf-8")
        net = ("-netdev", f"user,id=n,tftp={self.folder},bootfile=boot.ipxe", "-device", "e1000,netdev=n", "-boot", "n")
        self.check(self.qemu("-M", "pc", net=net), "linux", rom_stream(WORDS))

    def test_where_its_memory_is_not_free(self) -> None:
        """A loader puts it where it finds room: some code does that here, to which its real-mode part goes."""
        kernel, code_at = bytearray(Path(KERNEL).read_bytes()), 0x1FF0000
        struct.pack_into("<I", kernel, 0x214, code_at)          # code32_start
        kernel_path, code = self.folder / "kernel", self.folder / "code"
        kernel_path.write_bytes(kernel)
        for place in (0x400000, 0x3001000):
            with self.subTest(hex(place)):
                code.write_bytes(mover(0x100000, place, len(kernel) - 0x1000))
                stream = self.qemu("-M", "pc", "-kernel", str(kernel_path), "-append", WORDS, "-device",
                                   f"loader,file={code},addr={code_at:#x},force-raw=on")
                self.check(stream, "linux", rom_stream(WORDS))

    def test_a_place_that_is_not_moved(self) -> None:
        """The table of places is what makes it run: with another one it does not."""
        kernel = bytearray(Path(KERNEL).read_bytes())
        table, image = struct.unpack_from("<II", kernel, 0x1000 + 0x1E0)
        count = (image - table) // 4 - 1
        self.assertGreater(count, 10000)
        for entry in range(count):
            struct.pack_into("<I", kernel, 0x1000 + table + 4 * entry, 0)
        path = self.folder / "broken"
        path.write_bytes(kernel)
        try:
            stream = self.qemu("-M", "pc", "-kernel", str(path), "-append", WORDS, timeout=5)
        except subprocess.TimeoutExpired:
            return
        self.assertNotIn("# end\n", stream)


def mover(source: int, target: int, size: int) -> bytes:
    """32-bit code: copy upwards, from the end, and go there; ESI, the zero page, stays."""
    return struct.pack("<2sB BI BI BI 2sB2s BI 2s", b"\x89\xf5", 0xFD,         # mov %esi, %ebp; std
                       0xBE, source + size - 1, 0xBF, target + size - 1, 0xB9, size,
                       b"\xf3\xa4", 0xFC, b"\x89\xee",                        # rep movsb; cld; mov %ebp, %esi
                       0xB8, target, b"\xff\xe0")                             # jmp *%eax


@unittest.skipIf(lacking("qemu-system-x86_64", "mformat"), lacking("qemu-system-x86_64", "mformat"))
class EfiApplication(Machines):
    def disk(self, **files: bytes) -> list[str]:
        """A FAT disk with these files: names have _ for a dot, __ for a backslash."""
        image = self.folder / "disk"
        image.write_bytes(bytes(32 << 20))
        subprocess.run(["mformat", "-i", str(image), "::"], check=True)
        subprocess.run(["mmd", "-i", str(image), "::EFI", "::EFI/BOOT"], check=True)
        for name, content in files.items():
            source = self.folder / name
            source.write_bytes(content)
            subprocess.run(["mcopy", "-i", str(image), str(source), "::" + name.replace("__", "/").replace("_", ".")], check=True)
        return ["-drive", f"format=raw,file={image}"]

    def test_as_the_default_of_a_disk(self) -> None:
        application = (IMAGES / "all.efi").read_bytes()
        marker = b"VMXCHECK-CMDLINE"
        self.assertEqual(application.count(marker), 1)
        application = application.replace(marker + bytes(len(WORDS)), marker + WORDS.encode())
        self.check(self.qemu(*self.ovmf(), *self.disk(EFI__BOOT__BOOTX64_EFI=application)), "efi", rom_stream(WORDS))

    def test_in_the_shell(self) -> None:
        script = f"fs0:\r\nvmxcheck.efi {WORDS}\r\n".encode()
        disk = self.disk(vmxcheck_efi=(IMAGES / "all.efi").read_bytes(), startup_nsh=script)
        stream = self.qemu(*self.ovmf(), *disk)
        self.assertIn(f"\n# command line: {WORDS}\n", stream)
        self.check(stream, "efi", rom_stream(WORDS))

    def test_memory_map(self) -> None:
        """What the firmware keeps is not in it."""
        stream = self.qemu(*self.ovmf(), "-kernel", KERNEL, "-append", "run=guest.cpuid.*")
        match = re.search(r" memory=(\d+)M map=efi\n", stream)
        assert match, stream[-2000:]
        self.assertTrue(96 <= int(match.group(1)) <= 127, match.group(0))


@unittest.skipIf(lacking("qemu-system-x86_64"), lacking("qemu-system-x86_64"))
class Elf64(Machines):
    def test_by_pvh(self) -> None:
        """As cloud-hypervisor and Firecracker take it."""
        image = (IMAGES / "all.elf64").read_bytes()
        path = self.folder / "pvh.elf64"
        path.write_bytes(image.replace(MULTIBOOT_MAGIC, bytes(4), 1))   # QEMU takes Multiboot where it finds the header
        words = "brief run=guest.cpuid.*,guest.page.*,guest.int.*"
        for machine in ("pc", "microvm"):
            with self.subTest(machine):
                self.check(self.qemu("-M", machine, "-kernel", str(path), "-append", words), "pvh", rom_stream(words), 15)


class Files(unittest.TestCase):
    def test_each_image_has_each_file(self) -> None:
        for listed in sorted(IMAGES.glob("*.tests")):
            for kind in ("elf", "elf64", "rom", "bzimage", "efi"):
                self.assertTrue(listed.with_suffix("." + kind).exists(), f"{listed.stem}.{kind}")

    def test_a_wrapper_needs_the_relocations(self) -> None:
        names = [str(IMAGES / "fault.elf"), str(IMAGES / "fault.bin"), str(ROOT / "build" / "wrap.bin"), "/dev/null"]
        made = subprocess.run([str(ROOT / "scripts" / "mkbzimage"), *names], capture_output=True, text=True)
        self.assertNotEqual(made.returncode, 0)


if __name__ == "__main__":
    unittest.main()
