# SPDX-License-Identifier: BSD-2-Clause
"""The disk that L0 boots from: our loader (l0/loader.S), a vmlinux, an initramfs. No boot menu, nothing to decompress."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Dict, List, Tuple

from ..errors import Problem

SECTOR = 512
CYLINDER = 16 * 63 * SECTOR  # Bochs wants whole ones
START_INFO = 0x9000
PAGE = 4096


def write(path: Path, loader: bytes, vmlinux: bytes, initramfs: bytes, command_line: str, memory: int) -> None:
    """`memory`: bytes of RAM that L0 will have."""
    segments, entry, top = _segments(vmlinux)
    place = (memory - (1 << 20) - len(initramfs)) & -PAGE
    if place < top:
        raise Problem("L0's kernel and initramfs do not fit into %d MiB" % (memory >> 20))
    parts = [(START_INFO, _start_info(command_line, memory, place, len(initramfs)))] + segments + [(place, initramfs)]
    table, sector, body = b"", 2, b""
    for address, data in parts:
        count = -(-len(data) // SECTOR)
        table += struct.pack("<III", sector, count, address)
        body += data.ljust(count * SECTOR, b"\0")
        sector += count
    table += struct.pack("<III", 0, entry, START_INFO)
    if len(table) > SECTOR or len(loader) != SECTOR:
        raise Problem("L0's loader cannot load this kernel: %d segments" % len(segments))
    disk = loader + table.ljust(SECTOR, b"\0") + body
    path.write_bytes(disk.ljust(-(-len(disk) // CYLINDER) * CYLINDER, b"\0"))


def _segments(vmlinux: bytes) -> Tuple[List[Tuple[int, bytes]], int, int]:
    """(address, bytes) of what is to be loaded, by address; the PVH entry; the end of it all in memory."""
    table, = struct.unpack_from("<Q", vmlinux, 0x20)
    size, count = struct.unpack_from("<HH", vmlinux, 0x36)
    segments, entry, top = [], 0, 0
    for i in range(count):
        kind, _, offset, _, address, in_file, in_memory, _ = struct.unpack_from("<IIQQQQQQ", vmlinux, table + i * size)
        data = vmlinux[offset:offset + in_file]
        if kind == 1 and in_file:
            segments.append((address, data))
            top = max(top, address + in_memory)
        elif kind == 4:
            entry = entry or _pvh_entry(data)
    if not entry:
        raise Problem("L0's kernel has no PVH entry: it was built without CONFIG_PVH")
    return sorted(segments), entry, top


def _pvh_entry(notes: bytes) -> int:
    at = 0
    while at + 12 <= len(notes):
        name_size, size, kind = struct.unpack_from("<III", notes, at)
        value = at + 12 + (name_size + 3 & ~3)
        if kind == 18 and notes[at + 12:at + 15] == b"Xen":
            return int.from_bytes(notes[value:value + size], "little")
        at = value + (size + 3 & ~3)
    return 0


def _start_info(command_line: str, memory: int, initramfs: int, size: int) -> bytes:
    """struct hvm_start_info (Xen's public/arch-x86/hvm/start_info.h) with all that it points to."""
    ram, reserved, acpi = 1, 2, 3
    memory_map = [(0, 0x9f000, ram), (0x9f000, 0x61000, reserved), (0x100000, memory - 0x110000, ram),
                  (memory - 0x10000, 0x10000, acpi), (0xfffc0000, 0x40000, reserved)]
    modules, entries, text = START_INFO + 0x100, START_INFO + 0x200, START_INFO + 0x400
    info = struct.pack("<IIIIQQQQII", 0x336ec578, 1, 0, 1, modules, text, 0, entries, len(memory_map), 0).ljust(0x100, b"\0")
    info += struct.pack("<QQQQ", initramfs, size, 0, 0).ljust(0x100, b"\0")
    info += b"".join(struct.pack("<QQII", *entry, 0) for entry in memory_map).ljust(0x200, b"\0")
    return info + command_line.encode() + b"\0"


def initramfs(files: Dict[str, bytes]) -> bytes:
    """A cpio archive ("newc"); all of it can be executed."""
    archive = b""
    folders = sorted({name[:i] for name in files for i, c in enumerate(name) if c == "/"})
    members = [(name, 0o040755, b"") for name in folders]
    members += [(name, 0o100755, data) for name, data in files.items()]
    for number, (name, mode, data) in enumerate([*members, ("TRAILER!!!", 0, b"")], 1):
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        archive += head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)
    return archive
