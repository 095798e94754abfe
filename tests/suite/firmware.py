# SPDX-License-Identifier: BSD-2-Clause
"""What the tests that boot by a firmware share: the machines, and what is the same verdict."""
from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from functools import lru_cache
from pathlib import Path
from typing import Any, Callable

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from vmxcheck.process import dies_with_us, output_of, without_network  # noqa: E402
from vmxcheck.images import load, patched_rom  # noqa: E402

IMAGES = ROOT / "build" / "x86"
OVMF = Path("/usr/share/OVMF")
BOCHS_BIOS = Path("/usr/share/bochs/BIOS-bochs-latest")
VGA_BIOS = Path("/usr/share/seabios/vgabios-isavga.bin")
COMMON = ["-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "128", "-display", "none", "-nodefaults", "-no-reboot",
          "-device", "isa-debug-exit,iobase=0xf4,iosize=4"]

# What an interrupt of the firmware, its RFLAGS or its memory once made red.
PLAIN = "guest.apic.self_ipi,guest.apic.all_vectors,guest.apic.order,guest.int.*,guest.cpuid.*,guest.page.*,guest.smp.*"
VMX = ("guest.apic.self_ipi,guest.apic.all_vectors,exec.extint.on,exit.hlt.on,hostload.rflags,after.sti_blocking,"
       "entry.load.rip_rsp_rflags,after.activity.wait_sipi_blocks,after.tprthr.immediate,apic.vid.self_ipi,"
       "apic.vid.window_blocks,save.cr3_guest_write,feat.vmfunc.eptp")

BOCHSRC = """\
config_interface: textconfig
display_library: rfb, options="timeout=0"
sound: driver=dummy
cpu: model=tigerlake, count=2, ips=50000000, reset_on_triple_fault={reset}, ignore_bad_msrs=0
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


def lacking(*tools: str) -> str:
    missing = [tool for tool in tools if not shutil.which(tool)]
    return f"{missing[0]} is not installed" if missing else ""


ISO_TOOLS = ("grub-mkrescue", "xorriso", "mformat", "objcopy")


@lru_cache(maxsize=None)
def rom_stream(words: str) -> str:
    """What the ROM of the image `all` says on QEMU."""
    with tempfile.TemporaryDirectory() as folder:
        image, log = Path(folder, "image.rom"), Path(folder, "serial")
        image.write_bytes(patched_rom(load(IMAGES, "all"), words))
        subprocess.run([*dies_with_us(), "qemu-system-x86_64", *COMMON, "-net", "none", "-serial", f"file:{log}", "-M", "pc",
                        "-bios", str(image)], capture_output=True, timeout=120, stdin=subprocess.DEVNULL)
        return log.read_text(encoding="latin-1")


class Machines(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def qemu(self, *arguments: str, net: tuple[str, ...] = ("-net", "none"), timeout: int = 120) -> str:
        log = self.folder / "serial"
        subprocess.run([*dies_with_us(), "qemu-system-x86_64", *COMMON, *net, "-serial", f"file:{log}", *arguments],
                       capture_output=True, timeout=timeout, stdin=subprocess.DEVNULL)
        return log.read_text(encoding="latin-1")

    def ovmf(self) -> list[str]:
        """Options for a machine with UEFI, whose variables are new."""
        if not (OVMF / "OVMF_CODE_4M.fd").exists():
            self.skipTest("OVMF is not installed")
        shutil.copy(OVMF / "OVMF_VARS_4M.fd", self.folder / "vars.fd")
        return ["-M", "q35", "-drive", f"if=pflash,format=raw,readonly=on,file={OVMF}/OVMF_CODE_4M.fd",
                "-drive", f"if=pflash,format=raw,file={self.folder}/vars.fd"]

    def bochs(self, iso: Path, resets: int = 0, timeout: int = 180) -> str:
        """By Bochs' own BIOS, from that CD."""
        if lacking("bochs") or not BOCHS_BIOS.exists() or not VGA_BIOS.exists():
            self.skipTest("bochs, its BIOS or a VGA BIOS is not installed")
        (self.folder / "image.iso").unlink(missing_ok=True)
        (self.folder / "image.iso").symlink_to(iso.absolute())
        (self.folder / "bochsrc").write_text(BOCHSRC.format(bios=BOCHS_BIOS, vga=VGA_BIOS, reset=int(bool(resets))), encoding="utf-8")
        (self.folder / "continue").write_text("c\n" * (resets + 1), encoding="utf-8")   # its debugger stops at each reset
        command = [*without_network(), *dies_with_us(), "bochs", "-q", "-f", "bochsrc"]
        if re.search(r"^\s*-rc\b", output_of("bochs", "--help") or "", re.M):
            command += ["-rc", "continue"]
        subprocess.run(command, cwd=self.folder, capture_output=True, timeout=timeout, stdin=subprocess.DEVNULL)
        return (self.folder / "serial").read_text(encoding="latin-1")

    def check(self, stream: str, way: str, reference: str, some: int = 30) -> None:
        self.assertIn(f" boot={way} ", stream, stream[-2000:])
        self.assertIn(f" map={way}\n", stream)
        self.assertEqual(verdicts(stream), verdicts(reference), stream[-2000:])
        self.assertTrue(stream.endswith("# end\n"), stream[-2000:])
        self.assertGreater(len([verdict for verdict in verdicts(stream) if not verdict[2]]), some)


class Qmp:
    """A QEMU that runs until it is told to end, and what can be asked of it meanwhile."""

    def __init__(self, arguments: list[str], folder: Path) -> None:
        path = folder / "qmp"
        path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(path))
        listening.listen(1)
        listening.settimeout(20)
        self._process = subprocess.Popen([*dies_with_us(), "qemu-system-x86_64", *arguments, "-qmp", f"unix:{path}"],
                                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            self._socket = listening.accept()[0]
        finally:
            listening.close()
        self._socket.settimeout(60)
        self._file = self._socket.makefile("rw")
        self._events: list[dict[str, Any]] = []
        self._file.readline()
        self.ask("qmp_capabilities")

    def ask(self, command: str, **arguments: Any) -> Any:
        self._file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._file.flush()
        while True:
            answer = json.loads(self._file.readline())
            if "event" not in answer:
                return answer["return"]
            self._events.append(answer)

    def event(self, name: str) -> dict[str, Any]:
        """Wait for that one; what it says."""
        while not any(event["event"] == name for event in self._events):
            self._events.append(json.loads(self._file.readline()))
        return next(event for event in self._events if event["event"] == name).get("data", {})

    def memory(self, address: int, size: int) -> bytes:
        text = self.ask("human-monitor-command", **{"command-line": f"xp /{size}xb {address:#x}"})
        return bytes(int(byte, 16) for line in text.splitlines() for byte in line.partition(":")[2].split())

    def until(self, look: Callable[[], Any], wanted: Any, seconds: float = 30) -> Any:
        """Look again and again until it is as wanted, or for so long; what was seen last."""
        end = time.monotonic() + seconds
        while (seen := look()) != wanted and time.monotonic() < end:
            time.sleep(0.05)
        return seen

    def end(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._file.close()
        self._socket.close()
