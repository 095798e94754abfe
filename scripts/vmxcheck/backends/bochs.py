# SPDX-License-Identifier: BSD-2-Clause
"""Bochs: VMX in software, on any machine.

The image is the ROM at the top of the first 4 GiB, so its first instruction is the first after reset.
All paths in the bochsrc are relative to the boot's own folder, so none of them needs quoting.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Dict, FrozenSet, List, Optional

from ..images import Image, patched_rom
from ..launch import Boot, Launch
from ..process import dies_with_us, output_of, without_network
from ..settings import Settings
from . import models
from .base import Backend

# Bochs wants a VGA BIOS even when nobody runs it; this is the smallest that it takes, so no package is needed.
NO_VGA_BIOS = b"\x55\xaa\x01\xcb" + bytes(507) + b"\x35"

# Up to 3.0 a panic that ends it; from 3.1 on a warning, behind which it runs on with the processor shut down.
TRIPLE_FAULT = b"exception with no resolution"

_BOCHSRC = """\
config_interface: textconfig
display_library: rfb, options="timeout=0"
sound: driver=dummy
cpu: model={cpu}, count={smp}, ips=4000000, reset_on_triple_fault=0, ignore_bad_msrs=0{without}
memory: guest={memory}, host={memory}
romimage: file=image.rom
vgaromimage: file=vga.rom
pci: enabled=0
ata0: enabled=0
com1: enabled=1, mode=file, dev=serial
port_e9_hack: enabled=1
panic: action=fatal
error: action=report
clock: sync=none, time0=utc
"""

# The one model that is not a processor's: it has the VMX that this says (2: with EPT and the like).
_GENERIC_MODEL, _GENERIC_CPUID = "bx_generic", "cpuid: vmx=2\n"


class Bochs(Backend):
    name = "bochs"

    def __init__(self, settings: Settings, cpu: Optional[str] = None, root: Path = Path("/")) -> None:
        super().__init__(settings, cpu, root)
        self._others: Dict[str, Bochs] = {}

    @property
    def default_cpu(self) -> str:
        return models.best(self.cpu_models())

    def other_model(self, reason: str) -> Optional[Backend]:
        model = models.for_reason(reason, self.cpu_models()) if self.named_cpu is None else None
        if model is None or model == self.cpu:
            return None
        return self._others.setdefault(model, Bochs(self.settings, model, self.root))

    @property
    def _tool(self) -> str:
        return self.settings.tool("BOCHS", "bochs").path or "bochs"

    def _help(self) -> str:
        return output_of(self._tool, "--help") or ""

    def available(self) -> Optional[str]:
        problem = self.settings.tool("BOCHS", "bochs").problem("bochs", "bochs")
        if problem:
            return problem
        if "Bochs" not in self._help():
            return "%s: it does not say that it is Bochs when started with --help" % self.settings.tool("BOCHS", "bochs").source
        return None

    def features(self) -> FrozenSet[str]:
        return frozenset(("vmx", "smp"))

    def file(self, image: Image) -> Path:
        return image.rom

    def version(self) -> str:
        match = re.search(r"Bochs x86 Emulator (\S+)", self._help())
        return match.group(1) if match else "unknown"

    def cpu_models(self) -> List[str]:
        lines = (output_of(self._tool, "--help", "cpu") or "").splitlines()
        return [line for line in lines if re.fullmatch(r"[a-z0-9_]+", line)]

    def command(self, boot: Boot) -> Launch:
        folder = boot.folder
        model, *changes = self.cpu.split(",")   # MODEL,-FEATURE,...: as with QEMU; from 3.0 on, and by Bochs' names
        without = ', exclude_features="%s"' % " ".join(change.lstrip("-") for change in changes) if changes else ""
        bochsrc = _BOCHSRC.format(cpu=model, smp=boot.smp, memory=boot.memory, without=without)
        (folder / "bochsrc").write_text(bochsrc + (_GENERIC_CPUID if model == _GENERIC_MODEL else ""))
        (folder / "image.rom").write_bytes(patched_rom(boot.image, boot.command_line))
        (folder / "vga.rom").write_bytes(NO_VGA_BIOS)
        os.mkfifo(folder / "serial")
        return Launch(self.arguments(folder), "serial", TRIPLE_FAULT)

    def arguments(self, folder: Path) -> List[str]:
        """Bochs with the bochsrc of that folder, which will be its working folder."""
        # The display listens on a TCP port; in a network namespace of its own nobody sees it and two never clash.
        argv = [*without_network(), *dies_with_us(), self._tool, "-q", "-f", "bochsrc"]
        if self.has_debugger() and not self._debugger_on_request():  # it waits for a command
            argv += self.debugger(folder)
        return argv

    def has_debugger(self) -> bool:
        return bool(re.search(r"^\s*-rc\b", self._help(), re.MULTILINE))

    def _debugger_on_request(self) -> bool:
        """From 3.0 on the debugger of a build that has it is off until it is asked for, and Bochs twice as fast without."""
        return bool(re.search(r"^\s*-debugger\b", self._help(), re.MULTILINE))

    def debugger(self, folder: Path) -> List[str]:
        """The words that start it with its debugger, which runs the commands in the folder's file `continue`."""
        (folder / "continue").write_text("c\n")
        return (["-debugger"] if self._debugger_on_request() else []) + ["-rc", "continue"]

    def start_failed(self, output: str) -> bool:
        return bool(re.search(r"(?i)\[RFB\s*\].*(PANIC|could not (bind|listen))", output))

    def last_words(self, output: str) -> str:
        """The panic, if it was one; asking for the shutdown port is how an image ends."""
        panics: List[str] = re.findall(r">>PANIC<< (.*)", output)
        fault = re.search(r"(exception\(\): .*%s)" % TRIPLE_FAULT.decode(), output)
        if fault:
            return "triple fault; Bochs: " + fault.group(1)[:200]
        for panic in panics:
            if "shutdown requested" not in panic:
                return "Bochs: " + panic.strip()[:200]
        if panics:
            return "by its own request"
        return super().last_words(output) if "SIM   ] quit_sim" not in output else ""
