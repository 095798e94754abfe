# SPDX-License-Identifier: BSD-2-Clause
"""What the numbers are called: by the library's own tables (lib/vmx/*.def, lib/x86/*.def), spec/bits.tsv and spec/aliases.tsv."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Dict, List, Tuple

from .. import table
from ..decode import Bits, bits_of_names
from ..errors import Problem
from ..paths import TOP


@dataclass(frozen=True)
class Word:
    """A control word: its capability MSRs, and the bits that have a name."""

    text: str
    msr: int
    true_msr: int  # 0: none
    default1: int
    controls: Tuple[Tuple[int, str, str], ...]  # bit, name as in C, the manual's name
    wide: bool  # its MSR is the mask of the bits that may be 1


@dataclass(frozen=True)
class Feature:
    leaf: int
    subleaf: int
    register: int
    bit: int
    name: str
    text: str

    @property
    def place(self) -> str:
        """As the manual says it: 07H.1:EAX[6]."""
        subleaf = ".%d" % self.subleaf if self.subleaf else ""
        return "CPUID.%02XH%s:%s[%d]" % (self.leaf, subleaf, ("EAX", "EBX", "ECX", "EDX")[self.register], self.bit)


@dataclass(frozen=True)
class Tables:
    msrs: Dict[str, int]
    words: Tuple[Word, ...]
    capabilities: Tuple[Tuple[str, str, int, str], ...]  # name, MSR, bit, text
    fields: Tuple[Tuple[int, str], ...]  # encoding, the manual's name
    features: Tuple[Feature, ...]
    bits: Dict[str, List[Bits]]  # of MSRs and control registers, by name
    aliases: Dict[str, str]  # a name as in C -> what it is called in Linux' /proc/cpuinfo


def _rows(text: str, macro: str) -> List[List[str]]:
    """The arguments of each use of a macro in a .def file; strings are without their quotes."""
    rows = []
    for match in re.finditer(r"^%s\(((?:\"(?:[^\"\\]|\\.)*\"|[^)\"])*)\)" % macro, text, re.MULTILINE):
        arguments = re.findall(r"\s*(\"(?:[^\"\\]|\\.)*\"|[^,]+?)\s*(?:,|$)", match.group(1).replace("\n", " "))
        rows.append([word[1:-1].replace('\\"', '"') if word[:1] == '"' else word for word in arguments])
    return rows


@lru_cache(maxsize=None)
def load(top: Path = TOP) -> Tables:
    def text(name: str) -> str:
        try:
            return re.sub(r"/\*.*?\*/", "", (top / "lib" / name).read_text(encoding="utf-8"), flags=re.DOTALL)
        except OSError as error:
            raise Problem("an inventory is decoded by lib/%s: %s" % (name, error.strerror)) from None

    msrs = {name: int(number, 16) for name, number, _ in _rows(text("x86/msrs.def"), "MSR")}
    controls = text("vmx/controls.def")
    named = [(word, int(bit), name, said) for word, bit, name, said in _rows(controls, "CONTROL")]
    words = tuple(Word(said, msrs[msr], msrs.get(true_msr, 0), int(default1, 16),
                       tuple((bit, name, control) for owner, bit, name, control in named if owner == word), word in ("PROC3", "EXITCTL2"))
                  for word, _, msr, true_msr, default1, said, _ in _rows(controls, "CONTROL_WORD"))
    features = tuple(Feature(int(leaf, 16), int(subleaf), ("EAX", "EBX", "ECX", "EDX").index(register), int(bit), name, said)
                     for name, leaf, subleaf, register, bit, said in _rows(text("x86/features.def"), "FEATURE"))
    return Tables(
        msrs, words, tuple((name, msr, int(bit), said) for name, msr, bit, said in _rows(text("vmx/capabilities.def"), "CAPABILITY")),
        tuple((int(row[1], 16), row[2]) for row in _rows(text("vmx/fields.def"), "FIELD")), features, bits_of_names(top),
        {name: alias for name, alias in table.read(top / "spec" / "aliases.tsv", "name", "alias")})
