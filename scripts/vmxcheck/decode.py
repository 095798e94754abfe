# SPDX-License-Identifier: BSD-2-Clause
"""The bits of the VMCS fields that a failure shows, by their names.

An image names a field as the manual does, and with its encoding: `Guest RFLAGS [6820H]`. Behind the lines of a failure's YAML
that have such a field and its value come lines that say what is in it: `bits:` of one value, `differ:` of two that were compared.
The names are in spec/bits.tsv and lib/vmx/controls.def; a field that has none is left as it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

from .paths import TOP

_FIELD = re.compile(r"\[([0-9A-F]{1,4})H\]")
_SET = re.compile(r"\[([0-9A-F]{1,4})H\](?:\"?:| =) (0x[0-9a-f]+|0)")
_VALUE = re.compile(r'"(0x[0-9a-f]+|0)(?: in the bits (0x[0-9a-f]+))?"$')
# Control registers and the like, by what a check calls them, and the field that has the same bits.
_REGISTER = re.compile(r"(?<![a-z0-9])(cr0|cr4|rflags|efer|dr7)(?![a-z0-9])")
_LIKE = {"cr0": 0x6800, "cr4": 0x6804, "rflags": 0x6820, "efer": 0x2806, "dr7": 0x681A}
_ALWAYS = "always 1"
_REASON = re.compile(r'reason: "(\d+) ')


@dataclass(frozen=True)
class Bits:
    low: int
    width: int
    name: str
    values: Dict[int, str] = field(default_factory=dict)

    def of(self, value: int) -> int:
        return value >> self.low & ((1 << self.width) - 1)

    def mask(self) -> int:
        return ((1 << self.width) - 1) << self.low

    def text(self, value: int) -> str:
        number = self.of(value)
        return self.values.get(number, hex(number) if number > 9 else str(number))

    def place(self) -> str:
        return "bit %d" % self.low if self.width == 1 else "bits %d:%d" % (self.low + self.width - 1, self.low)


Table = Dict[Tuple[int, Optional[int]], List[Bits]]


def _rows(text: str) -> Iterator[Tuple[str, Bits]]:
    """Of spec/bits.tsv: the column of names, and the bits."""
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        names, place, name, *rest = line.split("\t")
        high, _, low = place.partition(":")
        values = {int(key): text for key, _, text in (item.partition("=") for item in rest[0].split(","))} if rest else {}
        yield names, Bits(int(low or high), int(high) - int(low or high) + 1, name, values)


def bits_of_names(top: Path = TOP) -> Dict[str, List[Bits]]:
    """The same by the names that the table has: of MSRs too, which are no fields."""
    found: Dict[str, List[Bits]] = {}
    for names, bits in _rows((top / "spec" / "bits.tsv").read_text(encoding="utf-8")):
        for name in names.split(","):
            found.setdefault(name, []).append(bits)
    return found


@lru_cache(maxsize=None)
def table(top: Path = TOP) -> Table:
    """(encoding, exit reason or None) -> bits; {} where the tables are not at hand."""
    found: Table = {}
    try:
        fields = (top / "lib" / "vmx" / "fields.def").read_text(encoding="utf-8")
        controls = (top / "lib" / "vmx" / "controls.def").read_text(encoding="utf-8")
        rows = (top / "spec" / "bits.tsv").read_text(encoding="utf-8")
    except OSError:
        return found
    encodings = {name: int(number, 16) for name, number in re.findall(r"^FIELD\((\w+), (0x[0-9a-f]+),", fields, re.MULTILINE)}
    words = dict(re.findall(r"^CONTROL_WORD\((\w+), (\w+),", controls, re.MULTILINE))
    for word, bit, text in re.findall(r'^CONTROL\((\w+), (\d+), \w+,\s+"([^"]*)"\)', controls, re.MULTILINE):
        found.setdefault((encodings[words[word]], None), []).append(Bits(int(bit), 1, text))
    for names, bits in _rows(rows):
        for wanted in names.split(","):
            wanted, _, reason = wanted.partition("@")
            for encoding in (number for known, number in encodings.items() if fnmatchcase(known, wanted)):
                found.setdefault((encoding, int(reason) if reason else None), []).append(bits)
    return found


def _bits(encoding: int, reason: Optional[int], top: Path) -> List[Bits]:
    return table(top).get((encoding, reason)) or table(top).get((encoding, None)) or []


def described(encoding: int, value: int, reason: Optional[int] = None, top: Path = TOP) -> str:
    """What is 1 in a value; "" where nobody knows the field."""
    known = sorted(_bits(encoding, reason, top), key=lambda bits: bits.low)
    if not known:
        return ""
    said = []
    for bits in known:
        if bits.width > 1 and (bits.of(value) or bits.values):
            said.append("%s: %s" % (bits.name, bits.text(value)))
        elif bits.of(value) and bits.name != _ALWAYS:
            said.append(bits.name)
        value &= ~bits.mask()
    said += ["bit %d" % bit for bit in range(64) if value >> bit & 1]
    return ", ".join(said) or "none"


def differing(encoding: int, expected: int, actual: int, mask: int, reason: Optional[int] = None, top: Path = TOP) -> str:
    """Where the bits of the mask differ; "" where nobody knows the field."""
    known = _bits(encoding, reason, top)
    if not known:
        return ""
    said, left = [], (expected ^ actual) & mask
    for bits in sorted(known, key=lambda one: one.low):
        if left & bits.mask():
            said.append("%s (%s): expected %s, actual %s" % (bits.name, bits.place(), bits.text(expected), bits.text(actual)))
            left &= ~bits.mask()
    said += ["bit %d: expected %d, actual %d" % (bit, expected >> bit & 1, actual >> bit & 1) for bit in range(64) if left >> bit & 1]
    return "; ".join(said)


def explained(yaml: Sequence[str], top: Path = TOP) -> List[str]:
    """The lines of a failure, and behind those that can be said in words the words."""
    reasons = [match for match in map(_REASON.search, yaml) if match]
    reason = int(reasons[0].group(1)) if reasons else None
    found: List[str] = []
    checked: Optional[int] = None
    expected: Optional["re.Match[str]"] = None
    for line in yaml:
        found.append(line)
        indent, key = re.match(r"( *(?:- )?)(\w*)", line).groups()  # type: ignore[union-attr]
        blanks = " " * len(indent)
        value = _VALUE.search(line)
        if key == "at":
            checked = expected = None
        elif key == "check":
            registers = set(_REGISTER.findall(line.lower()))
            checked = _LIKE[registers.pop()] if len(registers) == 1 and "<<" not in line and ">>" not in line else None
        elif key == "field":
            match = _FIELD.search(line)
            checked = int(match.group(1), 16) if match else None
        elif key in ("set", "exit"):
            for match in _SET.finditer(line):
                text = described(int(match.group(1), 16), int(match.group(2), 16), reason if key == "exit" else None, top)
                if text and text != "none":
                    name = line[:match.start()].rsplit('"', 1)[-1].strip() if key == "exit" else ""
                    found.append('%sbits: "%s"' % (blanks, (name + ": " if name else "") + text))
        elif key == "expected":
            expected = value
        elif key == "actual" and checked is not None and expected and value:
            text = differing(checked, int(expected.group(1), 16), int(value.group(1), 16), int(expected.group(2) or hex(2**64 - 1), 16), reason, top)
            found += ['%sdiffer: "%s"' % (blanks, text)] if text else []
    return found
