# SPDX-License-Identifier: BSD-2-Clause
"""This machine's QEMU with all that it needs, to be run unmodified inside L0 (l0/qemu.c)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict

from ..errors import Problem
from ..process import output_of

_FIRMWARE = ("bios-256k.bin", "linuxboot_dma.bin", "linuxboot.bin", "multiboot_dma.bin", "multiboot.bin", "pvh.bin", "kvmvapic.bin")
_FOLDERS = ("share/qemu", "share/seabios")


def files(program: str) -> Dict[str, bytes]:
    """Path in the initramfs -> bytes."""
    path = Path(program).resolve()
    found = {"qemu/" + "qemu-system-x86_64": path.read_bytes()}
    for name, library in re.findall(r"^\s*(?:(\S+) => )?(/\S+) \(0x", output_of("ldd", str(path)) or "", re.MULTILINE):
        data = Path(library).read_bytes()
        found["qemu/lib/" + name if name else "qemu/ld.so"] = data
    if "qemu/ld.so" not in found:
        raise Problem("%s: ldd does not say which libraries it needs" % path)
    prefix = path.parent.parent
    for name in _FIRMWARE:
        for folder in _FOLDERS:
            firmware = prefix / folder / name
            if firmware.exists():
                found.setdefault("qemu/share/" + name, firmware.read_bytes())
    return found
