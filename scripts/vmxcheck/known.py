# SPDX-License-Identifier: BSD-2-Clause
"""Known deviations of a target: spec/known/TARGET.tsv (the format is in spec/known/README).

A line turns the fail, crash or hang of its test into the verdict `known`, on the targets that its condition
names and on no other. A line whose test passes where it applies is stale.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from .errors import Problem

CONDITION_KEYS = ("cpu", "smp", "image", "kvm")


@dataclass(frozen=True)
class Deviation:
    """One line of a table."""

    id: str
    condition: str
    why: str
    reference: str
    where: str  # FILE:LINE
    parsed: Tuple[Tuple[str, Tuple[str, ...]], ...] = field(default=(), compare=False)

    def applies(self, facts: Dict[str, str]) -> bool:
        return all(any(fnmatchcase(value, glob) for glob in globs for value in _values(key, facts)) for key, globs in self.parsed)


def _values(key: str, facts: Dict[str, str]) -> List[str]:
    """Of the parameters of KVM one has to be as the line says, whatever the others are."""
    value = facts.get(key, "")
    return value.split() or [""] if key == "kvm" else [value]


def _condition(text: str) -> Tuple[Tuple[str, Tuple[str, ...]], ...]:
    if text == "-":
        return ()
    terms = []
    for term in text.split(","):
        key, equals, value = term.partition("=")
        if not equals or key not in CONDITION_KEYS or not all(value.split("|")):
            raise ValueError("bad condition `%s`: it is `-`, or KEY=GLOB[|GLOB...] joined by commas, KEY one of %s"
                             % (text, ", ".join(CONDITION_KEYS)))
        terms.append((key, tuple(value.split("|"))))
    return tuple(terms)


def parse(text: str, name: str) -> List[Deviation]:
    lines: List[Deviation] = []
    for number, raw in enumerate(text.splitlines(), 1):
        if not raw.strip() or raw.startswith("#"):
            continue
        where = "%s:%d" % (name, number)
        columns = raw.split("\t")
        if len(columns) != 4 or not all(column.strip() for column in columns):
            raise Problem("%s: a line is id, condition, why, reference, separated by one TAB each, none of them empty" % where)
        identity, condition, why, reference = (column.strip() for column in columns)
        try:
            lines.append(Deviation(identity, condition, why, reference, where, _condition(condition)))
        except ValueError as error:
            raise Problem("%s: %s" % (where, error)) from None
    return lines


class KnownTable:
    """The lines for one target."""

    def __init__(self, lines: List[Deviation]) -> None:
        self._by_id: Dict[str, List[Deviation]] = {}
        for line in lines:
            self._by_id.setdefault(line.id, []).append(line)

    @classmethod
    def load(cls, folder: Path, target: str) -> "KnownTable":
        path = folder / (target + ".tsv")
        try:
            return cls(parse(path.read_text(encoding="utf-8"), "%s/%s" % ("spec/known", path.name)))
        except FileNotFoundError:
            return cls([])
        except (OSError, UnicodeDecodeError) as error:
            raise Problem("%s: cannot be read: %s" % (path, error)) from None

    def find(self, test: str, facts: Dict[str, str]) -> Optional[Deviation]:
        """The line that excuses this test here; `facts` has the keys of CONDITION_KEYS."""
        for line in self._by_id.get(test, []):
            if line.applies(facts):
                return line
        return None
