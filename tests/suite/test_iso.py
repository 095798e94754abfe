# SPDX-License-Identifier: BSD-2-Clause
"""The way of a real machine: GRUB from a CD, under a BIOS and under UEFI. The same verdicts as from the ROM.

Firmwares leave their own state behind: RFLAGS.ID set, 8259s and timers on, memory with holes in it.
"""
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from vmxcheck.process import dies_with_us, output_of, without_network  # noqa: E402
from vmxcheck.images import load, patched_rom  # noqa: E402

IMAGES = ROOT / "build" / "x86"
OVMF = Path("/usr/share/OVMF")
BOCHS_BIOS = Path("/usr/share/bochs/BIOS-bochs-latest")
VGA_BIOS = Path("/usr/share/seabios/vgabios-isavga.bin")
COMMON = ["-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "128", "-display", "none", "-nodefaults", "-no-reboot",
          "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-net", "none"]

# What an interrupt of the firmware, its RFLAGS or its memory once made red.
PLAIN = "guest.apic.self_ipi,guest.apic.all_vectors,guest.apic.order,guest.int.*,guest.cpuid.*,guest.page.*,guest.smp.*"
VMX = ("guest.apic.self_ipi,guest.apic.all_vectors,exec.extint.on,exit.hlt.on,hostload.rflags,after.sti_blocking,"
       "entry.load.rip_rsp_rflags,after.activity.wait_sipi_blocks,after.tprthr.immediate,apic.vid.self_ipi,"
       "apic.vid.window_blocks,save.cr3_guest_write,feat.vmfunc.eptp")

BOCHSRC = """\
config_interface: textconfig
display_library: rfb, options="timeout=0"
sound: driver=dummy
cpu: model=tigerlake, count=2, ips=50000000, reset_on_triple_fault=0, ignore_bad_msrs=0
memory: guest=64, host=64
romimage: file={bios}
vgaromimage: file={vga}
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path=image.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=serial
port_e9_hack: enabled=1
panic: action=fatal
error: action=report
clock: sync=none, time0=utc
"""


def verdicts(stream: str) -> list[tuple[str, str, bool]]:
    found = re.findall(r"^(ok|not ok) \d+ - ([a-z0-9_.]+):.*?(# SKIP.*)?$", stream, re.M)
    return [(verdict, name, bool(skip)) for verdict, name, skip in found]


def lacking() -> str:
    for tool in ("grub-mkrescue", "xorriso", "mformat", "qemu-system-x86_64", "objcopy"):
        if not shutil.which(tool):
            return f"{tool} is not installed"
    return ""


@unittest.skipIf(lacking(), lacking())
class Iso(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.elf = self.folder / "tree" / "boot" / "image.elf"

    def make_iso(self, protocol: str, words: str, platform: str) -> None:
        if not Path("/usr/lib/grub", platform).exists():
            self.skipTest(f"GRUB for {platform} is not installed")
        grub = self.elf.parent / "grub"
        grub.mkdir(parents=True)
        subprocess.run(["objcopy", "--strip-all", str(IMAGES / "all.elf"), str(self.elf)], check=True)
        (grub / "grub.cfg").write_text(f"set timeout=0\n{protocol} /boot/image.elf {words}\nboot\n", encoding="utf-8")
        subprocess.run(["grub-mkrescue", "-o", str(self.folder / "image.iso"), "-d", f"/usr/lib/grub/{platform}",
                        str(self.folder / "tree")], check=True, capture_output=True, timeout=60)

    def qemu(self, *arguments: str) -> str:
        log = self.folder / "serial"
        subprocess.run([*dies_with_us(), "qemu-system-x86_64", *COMMON, "-serial", f"file:{log}", *arguments],
                       capture_output=True, timeout=120, stdin=subprocess.DEVNULL)
        return log.read_text(encoding="latin-1")

    def from_rom(self, words: str) -> str:
        image = self.folder / "image.rom"
        image.write_bytes(patched_rom(load(IMAGES, "all"), words))
        return self.qemu("-M", "pc", "-bios", str(image))

    def check(self, stream: str, way: str, reference: str, some: int) -> None:
        self.assertIn(f" boot={way} ", stream, stream[-2000:])
        self.assertIn(f" map={way}\n", stream)
        self.assertEqual(verdicts(stream), verdicts(reference), stream[-2000:])
        self.assertTrue(stream.endswith("# end\n"), stream[-2000:])
        self.assertGreater(len([verdict for verdict in verdicts(stream) if not verdict[2]]), some)

    def test_bios(self) -> None:
        words = f"brief smp=2 run={PLAIN}"
        self.make_iso("multiboot", words, "i386-pc")
        self.check(self.qemu("-M", "pc", "-cdrom", str(self.folder / "image.iso")), "multiboot", self.from_rom(words), 30)

    def uefi(self, protocol: str) -> None:
        if not (OVMF / "OVMF_CODE_4M.fd").exists():
            self.skipTest("OVMF is not installed")
        words = f"brief smp=2 run={PLAIN}"
        self.make_iso(protocol, words, "x86_64-efi")
        shutil.copy(OVMF / "OVMF_VARS_4M.fd", self.folder / "vars.fd")
        stream = self.qemu("-M", "q35", "-cdrom", str(self.folder / "image.iso"),
                           "-drive", f"if=pflash,format=raw,readonly=on,file={OVMF}/OVMF_CODE_4M.fd",
                           "-drive", f"if=pflash,format=raw,file={self.folder}/vars.fd")
        self.check(stream, protocol, self.from_rom(words), 30)

    def test_uefi(self) -> None:
        self.uefi("multiboot")

    def test_uefi_multiboot2(self) -> None:
        self.uefi("multiboot2")

    @unittest.skipUnless(shutil.which("bochs") and BOCHS_BIOS.exists() and VGA_BIOS.exists(),
                         "bochs, its BIOS or a VGA BIOS is not installed")
    def test_bochs_bios(self) -> None:
        words = f"brief smp=2 run={VMX}"
        self.make_iso("multiboot", words, "i386-pc")
        (self.folder / "bochsrc").write_text(BOCHSRC.format(bios=BOCHS_BIOS, vga=VGA_BIOS), encoding="utf-8")
        (self.folder / "continue").write_text("c\n", encoding="utf-8")
        command = [*without_network(), *dies_with_us(), "bochs", "-q", "-f", "bochsrc"]
        if re.search(r"^\s*-rc\b", output_of("bochs", "--help") or "", re.M):
            command += ["-rc", "continue"]
        subprocess.run(command, cwd=self.folder, capture_output=True, timeout=180, stdin=subprocess.DEVNULL)
        stream = (self.folder / "serial").read_text(encoding="latin-1")
        subprocess.run(["./run_tests.sh", "--image", "all", "--backend", "bochs", "--results", str(self.folder / "rom"),
                        *VMX.split(",")], cwd=ROOT, capture_output=True, timeout=180)
        reference = "".join(path.read_text(encoding="latin-1") for path in (self.folder / "rom").rglob("*.log"))
        self.check(stream, "multiboot", reference, 10)


if __name__ == "__main__":
    unittest.main()
