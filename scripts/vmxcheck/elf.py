# SPDX-License-Identifier: BSD-2-Clause
"""The table of tests inside an image's ELF file: where each is in the sources and in memory."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Tuple

_TEST = struct.Struct("<7QI4x")  # struct test in lib/tap/tap.h: id, title, run, data, needs, fixture, file, line


@dataclass(frozen=True)
class Place:
    """Where a test is."""

    file: str
    line: int
    address: int  # of the function that is its body
    symbol: str


class _Elf:
    """The loadable bytes and the symbols of an ELF64 file."""

    def __init__(self, data: bytes) -> None:
        if data[:6] != b"\x7fELF\x02\x01":
            raise ValueError("not a 64-bit ELF file")
        self.data = data
        self.segments: List[Tuple[int, int, int]] = []  # address, offset, size
        phoff, shoff = struct.unpack_from("<QQ", data, 0x20)
        phentsize, phnum, shentsize, shnum = struct.unpack_from("<4H", data, 0x36)
        for n in range(phnum):
            kind, _, offset, address, _, size = struct.unpack_from("<IIQQQQ", data, phoff + n * phentsize)
            if kind == 1:
                self.segments.append((address, offset, size))
        self.symbols: Dict[str, int] = {}
        sections = [struct.unpack_from("<IIQQQQII", data, shoff + n * shentsize) for n in range(shnum)]
        for section in sections:
            if section[1] == 2:  # SHT_SYMTAB; sh_link names its strings
                names = sections[section[6]][4]
                for at in range(section[4], section[4] + section[5], 24):
                    name, info, _, index, value, _ = struct.unpack_from("<IBBHQQ", data, at)
                    if index and info & 15 < 3:  # defined, and no section or file
                        self.symbols[self.string(names + name)] = value

    def string(self, offset: int) -> str:
        return self.data[offset:self.data.index(b"\0", offset)].decode("utf-8", "replace")

    def offset(self, address: int) -> int:
        for start, offset, size in self.segments:
            if start <= address < start + size:
                return offset + address - start
        raise ValueError("no byte at %#x" % address)


def places(path: Path) -> Dict[str, Place]:
    """id -> place; {} where there is no such file (an installed suite has none) or it is something else."""
    try:
        elf = _Elf(path.read_bytes())
        start, end = elf.offset(elf.symbols["tests_start"]), elf.symbols["tests_end"] - elf.symbols["tests_start"]
        names = {value: name for name, value in elf.symbols.items()}
        found = {}
        for at in range(start, start + end, _TEST.size):
            identity, _, run, _, _, _, file, line = _TEST.unpack_from(elf.data, at)
            found[elf.string(elf.offset(identity))] = Place(elf.string(elf.offset(file)), line, run, names.get(run, ""))
        return found
    except (OSError, ValueError, KeyError, struct.error, IndexError):
        return {}


def symbols(path: Path) -> Dict[str, int]:
    try:
        return _Elf(path.read_bytes()).symbols
    except (OSError, ValueError, struct.error, IndexError):
        return {}
