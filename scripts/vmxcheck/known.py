# SPDX-License-Identifier: BSD-2-Clause
"""Known deviations of a target: spec/known/BACKEND.tsv and spec/known/BACKEND-VERSION.tsv (the format is in spec/known/README).

A line turns the fail of its test (or its crash or hang, where the line says so) into the verdict `known`, on the
targets that its condition names and on no other. It may say how many of the checks may fail: one more is another
deviation. A line whose test passes where it applies is stale.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from .errors import Problem
from .verdict import CRASH, FAIL, HANG, Outcome

CONDITION_KEYS = ("cpu", "smp", "image", "kvm")  # where
EXTENT_KEYS = ("verdict", "failed")  # how far the line goes there


@dataclass(frozen=True)
class Deviation:
    """One line of a table."""

    id: str
    condition: str
    why: str
    reference: str
    where: str  # FILE:LINE
    parsed: Tuple[Tuple[str, Tuple[str, ...]], ...] = field(default=(), compare=False)
    verdicts: Tuple[str, ...] = (FAIL,)
    most_failed: Optional[int] = None

    def excuses(self, outcome: Outcome) -> bool:
        return outcome.verdict in self.verdicts and (self.most_failed is None or outcome.failed <= self.most_failed)

    def extent(self) -> str:
        """What it excuses, for the report of something that it does not."""
        text = " or ".join(self.verdicts)
        return text if self.most_failed is None else "%s of at most %d check%s" % (text, self.most_failed, "s"[self.most_failed == 1:])

    def applies(self, facts: Dict[str, str]) -> bool:
        return all(any(fnmatchcase(value, glob) for glob in globs for value in _values(key, facts)) for key, globs in self.parsed)


def _values(key: str, facts: Dict[str, str]) -> List[str]:
    """Of the parameters of KVM one has to be as the line says, whatever the others are."""
    value = facts.get(key, "")
    return value.split() or [""] if key == "kvm" else [value]


def _terms(text: str) -> Dict[str, Tuple[str, ...]]:
    terms: Dict[str, Tuple[str, ...]] = {}
    for term in text.split(",") if text != "-" else ():
        key, equals, value = term.partition("=")
        if not equals or key not in CONDITION_KEYS + EXTENT_KEYS or key in terms or not all(value.split("|")):
            raise ValueError("bad condition `%s`: it is `-`, or KEY=GLOB[|GLOB...] joined by commas, each KEY once and one of %s"
                             % (text, ", ".join(CONDITION_KEYS + EXTENT_KEYS)))
        terms[key] = tuple(value.split("|"))
    return terms


def _deviation(identity: str, condition: str, why: str, reference: str, where: str) -> Deviation:
    terms = _terms(condition)
    verdicts = terms.pop("verdict", (FAIL,))
    failed = terms.pop("failed", ())
    if not set(verdicts) <= {FAIL, CRASH, HANG}:
        raise ValueError("bad condition `%s`: verdict is fail, crash or hang" % condition)
    if failed and not (len(failed) == 1 and failed[0].isascii() and failed[0].isdigit() and int(failed[0])):
        raise ValueError("bad condition `%s`: failed is a number of checks" % condition)
    return Deviation(identity, condition, why, reference, where, tuple(terms.items()), verdicts, int(failed[0]) if failed else None)


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
            lines.append(_deviation(identity, condition, why, reference, where))
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
        """What is known of that version, BACKEND-VERSION, and of all versions, BACKEND."""
        lines: List[Deviation] = []
        for name in (target, target.rpartition("-")[0]):
            path = folder / (name + ".tsv")
            try:
                lines += parse(path.read_text(encoding="utf-8"), "spec/known/" + path.name)
            except FileNotFoundError:
                pass
            except (OSError, UnicodeDecodeError) as error:
                raise Problem("%s: cannot be read: %s" % (path, error)) from None
        return cls(lines)

    def find(self, test: str, facts: Dict[str, str], outcome: Optional[Outcome] = None) -> Optional[Deviation]:
        """The line for this test here, one that excuses the outcome if there is one; `facts` has the keys of CONDITION_KEYS."""
        lines = [line for line in self._by_id.get(test, []) if line.applies(facts)]
        return next((line for line in lines if outcome and line.excuses(outcome)), lines[0] if lines else None)
