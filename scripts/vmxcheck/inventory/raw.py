# SPDX-License-Identifier: BSD-2-Clause
"""The raw numbers of one machine, out of the lines that the image `inventory` says (docs/inventory.md has their form)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Dict, List, Optional, Sequence, Tuple

from ..tap import INVENTORY

MARK = INVENTORY

Leaf = Tuple[int, int]
Registers = Tuple[int, int, int, int]


@dataclass
class Processor:
    """What differs from the first one, of all but that one itself."""

    apic: Optional[int] = None
    cpuid: Dict[Leaf, Registers] = field(default_factory=dict)
    msrs: Dict[int, Optional[int]] = field(default_factory=dict)  # None: it is not there
    lacks: List[str] = field(default_factory=list)


@dataclass
class Inventory:
    name: str
    banner: str = ""
    processors: Dict[int, Processor] = field(default_factory=dict)
    fields: Dict[int, str] = field(default_factory=dict)  # encoding -> rw, r or unknown
    tsc: str = ""
    tsc_source: str = ""
    widths: Tuple[int, int] = (0, 0)  # of physical and linear addresses
    locked: str = ""  # who locked IA32_FEATURE_CONTROL
    problems: List[str] = field(default_factory=list)

    @property
    def first(self) -> Processor:
        return self.processors.get(0, Processor())

    @property
    def has_vmx(self) -> bool:
        return bool(self.cpuid(1)[2] >> 5 & 1)

    def cpuid(self, leaf: int, subleaf: int = 0) -> Registers:
        """0 where there is no such leaf."""
        return self.first.cpuid.get((leaf, subleaf), (0, 0, 0, 0))

    def msr(self, number: int) -> Optional[int]:
        return self.first.msrs.get(number)


def parse(name: str, banner: str, lines: Sequence[str]) -> Inventory:
    """The lines with or without their mark; what is torn or missing is a problem of the inventory, not a wrong number."""
    found, part = Inventory(name, banner), 0
    for line in lines:
        words = (line[len(MARK):] if line.startswith(MARK) else line).split()
        if words[:1] == ["end"]:
            if words[2:] != [str(part)]:
                found.problems.append("part %s: %d lines came, %s were said" % (" ".join(words[1:2]), part, " ".join(words[2:])))
            part = 0
            continue
        part += 1
        try:
            _take(found, words)
        except (ValueError, IndexError):
            found.problems.append("a line that is none: %s" % " ".join(words)[:60])
    if part:
        found.problems.append("the end is lost")
    return found


def _take(found: Inventory, words: List[str]) -> None:
    processor = found.processors.setdefault(int(words[0]), Processor())
    kind, rest = words[1], words[2:]
    if kind == "cpuid":
        a, b, c, d = (int(word, 16) for word in rest[2:])
        processor.cpuid[int(rest[0], 16), int(rest[1], 16)] = (a, b, c, d)
    elif kind == "msr":
        processor.msrs[int(rest[0], 16)] = None if rest[1] == "-" else int(rest[1], 16)
    elif kind == "apic":
        processor.apic = int(rest[0], 16)
    elif kind == "lacks":
        processor.lacks.append(" ".join(rest))
    elif kind == "fields":
        found.fields.update((int(word, 16), rest[0]) for word in rest[1:])
    elif kind == "width":
        found.widths = int(rest[0]), int(rest[1])
    elif kind == "tsc":
        found.tsc, found.tsc_source = "%d kHz" % int(rest[0]), " ".join(rest[2:])
    elif kind == "locked":
        found.locked = rest[1]
    else:
        raise ValueError(kind)


def banner_facts(banner: str) -> Dict[str, str]:
    """What conditions of spec/known and spec/errata.tsv are about: fms (in hexadecimal), microcode, hypervisor, core."""
    words = {key: quoted or plain for key, quoted, plain in re.findall(r'(\w+)=(?:"([^"]*)"|(\S+))', banner)}
    facts = {key: words[key] for key in ("microcode", "hypervisor", "core") if key in words}
    if all(words.get(key, "").isdigit() for key in ("family", "model", "stepping")):
        facts["fms"] = "-".join("%x" % int(words[key]) for key in ("family", "model", "stepping"))
    # A signature may have blanks, and a value of a condition is a word.
    facts["hypervisor"] = "".join(facts.get("hypervisor", "none").split()) or "none"
    return facts
