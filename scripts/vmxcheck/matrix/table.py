# SPDX-License-Identifier: BSD-2-Clause
"""The results of many targets side by side: what each says of a row, and which rows are not the same everywhere."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Sequence, Set, Tuple

from .. import catalogue
from ..errors import Problem
from ..verdict import KNOWN, MISSING, NOT_RUN, PASS, RED, SKIP, WORST_FIRST
from .run import Column
from .spec import Target

# The kinds of rows: verdicts differ, or one is red; a verdict here, a SKIP there; the same everywhere.
DIFFERS, SOME, SAME = "differs", "some", "same"
OUTSIDE = "not in the catalogue"


@dataclass
class Seen:
    """What a target said."""

    target: Target
    column: Column
    verdicts: Dict[str, str] = field(default_factory=dict)  # id -> the worst over its sections
    reasons: Dict[str, str] = field(default_factory=dict)  # id -> of what is neither passed nor skipped
    points: "Counter[str]" = field(default_factory=Counter)  # verdict -> number
    failed: int = 0
    data: Dict[str, Any] = field(default_factory=dict)

    @property
    def models(self) -> List[str]:
        return [target["name"] for target in self.data.get("target", [])]


def look(target: Target, column: Column, data: "Dict[str, Any] | None") -> Seen:
    seen = Seen(target, column)
    if data is None:
        return seen
    seen.data = data
    verdicts: Dict[str, Set[str]] = {}
    for point in data["points"]:
        if point["target"]:  # what no backend of the target can boot says nothing of it
            verdicts.setdefault(point["id"], set()).add(point["verdict"])
        seen.points[point["verdict"]] += 1
        seen.failed += point["verdict"] in RED
        if point["verdict"] in RED or point["verdict"] == KNOWN and point["id"] not in seen.reasons:
            seen.reasons[point["id"]] = point["known"] or point["reason"]
    seen.verdicts = {identity: next(verdict for verdict in WORST_FIRST if verdict in found) for identity, found in verdicts.items()}
    return seen


@dataclass
class Line:
    """A row of the catalogue, or a test that has none."""

    row: catalogue.Row
    cells: List[str]  # a verdict for each column; "" where it was not run
    kind: str


@dataclass
class Area:
    name: str
    lines: List[Line]
    counts: List["Counter[str]"]  # of each column: verdict -> rows

    def of(self, kind: str) -> List[Line]:
        return [line for line in self.lines if line.kind == kind]


class Table:
    def __init__(self, seen: Sequence[Seen], rows: Dict[str, catalogue.Row]) -> None:
        self.seen = list(seen)
        ids = dict.fromkeys(identity for one in seen for identity in one.verdicts)
        every = [row for row in rows.values() if row.id in ids]
        every += [catalogue.Row(identity, OUTSIDE) for identity in ids if identity not in rows]
        areas: Dict[str, List[Line]] = {}
        for row in every:
            cells = [one.verdicts.get(row.id, "") for one in seen]
            areas.setdefault(row.area, []).append(Line(row, cells, _kind(cells)))
        self.areas = [Area(name, lines, [Counter(line.cells[place] for line in lines if line.cells[place]) for place in range(len(seen))])
                      for name, lines in areas.items()]

    @property
    def lines(self) -> List[Line]:
        return [line for area in self.areas for line in area.lines]

    def groups(self) -> List[Tuple[str, int]]:
        """Neighbouring columns of one backend and version: name, how many."""
        found: List[Tuple[str, int]] = []
        for one in self.seen:
            if found and found[-1][0] == one.target.group:
                found[-1] = (one.target.group, found[-1][1] + 1)
            else:
                found.append((one.target.group, 1))
        return found

    def cover(self) -> List[Tuple[str, int, List[Tuple[str, int]]]]:
        """Of each group with several columns: the fewest that run every row which any of them runs, and what each adds."""
        found = []
        for name in dict.fromkeys(one.target.group for one in self.seen):
            ran = {one.target.label or one.target.name: {i for i, verdict in one.verdicts.items() if verdict not in (SKIP, MISSING, NOT_RUN)}
                   for one in self.seen if one.target.group == name and one.verdicts}
            if len(ran) > 1:
                found.append((name, len(set().union(*ran.values())), _cover(ran)))
        return found

    # ---- the verdict on all

    def unable(self) -> List[Seen]:
        return [one for one in self.seen if not one.column.complete]

    def status(self) -> int:
        if any(one.column.status == 1 for one in self.seen):
            return 1
        if self.unable():
            return 2
        return 0 if any(one.points[PASS] + one.points[KNOWN] for one in self.seen) else 3

    def last_line(self) -> str:
        return "%d passed, %d failed, %d skipped" % (sum(one.points[PASS] for one in self.seen), sum(one.failed for one in self.seen),
                                                     sum(one.points[SKIP] for one in self.seen))

    def keep(self, path: Path) -> None:
        """matrix.json: what each target is, how it went, what it cost."""
        targets = [{"name": one.target.name, "group": one.target.group, "label": one.target.label, "options": one.column.words,
                    "run": "%s/%s" % (one.column.folder, one.column.run) if one.column.complete else "", "status": one.column.status,
                    "reason": one.column.reason, "head": one.column.head, "targets": one.models, "counts": dict(one.points),
                    "seconds": one.column.seconds, "cpu_seconds": one.column.cpu_seconds} for one in self.seen]
        try:
            path.write_text(json.dumps({"format": 1, "targets": targets}, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise Problem("%s: %s" % (path, error.strerror)) from None


def _kind(cells: Sequence[str]) -> str:
    said = {cell for cell in cells if cell}
    if len(said - {SKIP}) > 1 or said & RED:
        return DIFFERS
    return SOME if len(said) > 1 else SAME


def _cover(ran: Dict[str, Set[str]]) -> List[Tuple[str, int]]:
    """Always the one that adds most."""
    left, found = set().union(*ran.values()), []
    while left:
        best = max(ran, key=lambda name: len(ran[name] & left))
        found.append((best, len(ran[best] & left)))
        left -= ran[best]
    return found
