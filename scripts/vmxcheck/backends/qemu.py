# SPDX-License-Identifier: BSD-2-Clause
"""QEMU: what qemu-tcg and qemu-kvm have in common."""

from __future__ import annotations

import re
from typing import List, Optional

from ..launch import Boot, Launch
from ..process import dies_with_us, output_of
from .base import Backend


class Qemu(Backend):
    accelerator = ""

    @property
    def shutdown_ends(self) -> bool:
        return True

    @property
    def _tool(self) -> str:
        return self.settings.tool("QEMU", "qemu-system-x86_64").path or "qemu-system-x86_64"

    def available(self) -> Optional[str]:
        problem = self.settings.tool("QEMU", "qemu-system-x86_64").problem("qemu-system-x86_64", "qemu-system-x86")
        if problem:
            return problem
        if "QEMU" not in (output_of(self._tool, "--version") or ""):
            return "%s: it does not say that it is QEMU when started with --version" % self.settings.tool("QEMU", "qemu-system-x86_64").source
        return None

    def version(self) -> str:
        match = re.search(r"version (\S+)", output_of(self._tool, "--version") or "")
        return match.group(1) if match else "unknown"

    def cpu_models(self) -> List[str]:
        text = output_of(self._tool, "-cpu", "help") or ""
        models = re.findall(r"^(?:x86 )?\s*([A-Za-z0-9][A-Za-z0-9_.-]*)(?:\s|$)", text.split("Recognized CPUID")[0], re.MULTILINE)
        return [model for model in models if model != "Available"]

    def command(self, boot: Boot) -> Launch:
        # Its path is in front of the words, and what reads them takes it off up to the first blank: so it has none.
        (boot.folder / "image.elf").symlink_to(boot.image.elf.resolve())
        argv = [
            *dies_with_us(), self._tool,
            "-machine", "pc,accel=" + self.accelerator, "-cpu", self.cpu, "-smp", ",".join([str(boot.smp), *boot.topology.split(",")]).rstrip(","),
            "-m", str(boot.memory),
            "-display", "none", "-nodefaults", "-no-reboot", "-serial", "stdio",
            "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
            "-kernel", "image.elf", *self.settings.qemu_args,
        ]
        if boot.command_line:
            # A comma in -append is doubled only in option lists; this is a plain argument.
            argv += ["-append", boot.command_line]
        return Launch(argv)
