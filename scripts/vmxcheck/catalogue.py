# SPDX-License-Identifier: BSD-2-Clause
"""spec/catalogue.tsv: the requirements."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Set

from .errors import NothingToTest, Problem

EXPLORED = "explore."  # in front of a row's id: the explorer's point about it


@dataclass(frozen=True)
class Row:
    """One requirement."""

    id: str
    area: str
    priority: str = ""
    requirement: str = ""
    fields: str = "-"
    capability: str = "-"
    section: str = ""


def row_of(identity: str) -> str:
    """The row that a test is for: that of a point of the explorer is the one that its id ends in (docs/explorer.md)."""
    return identity[len(EXPLORED):] if identity.startswith(EXPLORED + "entry.") else identity


def read(path: Path) -> Dict[str, Row]:
    """id -> row, in the catalogue's order."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise Problem("%s: %s" % (path, error.strerror)) from None
    rows: Dict[str, Row] = {}
    for number, line in enumerate(lines[1:], 2):
        if not line or line.startswith("#"):
            continue
        columns = line.split("\t")
        if len(columns) < 2 or columns[0] in rows:
            raise Problem("%s:%d: a row is id, area, ... and every id stands there once" % (path.name, number))
        rows[columns[0]] = Row(*columns[:7])
    return rows


def select(path: Path, areas: List[str], priorities: List[str]) -> Set[str]:
    """The ids in these areas (`entry` is also entry.ctl, ...) and of these priorities; empty lists: any."""
    rows = read(path)
    wanted_areas = [area for word in areas for area in word.split(",")]
    wanted_priorities = {priority for word in priorities for priority in word.split(",")}
    for area in wanted_areas:
        if not any(row.area == area or row.area.startswith(area + ".") for row in rows.values()):
            raise NothingToTest("the catalogue has no area `%s`; there are: %s"
                                % (area, ", ".join(sorted({row.area for row in rows.values()}))))
    for priority in wanted_priorities - {row.priority for row in rows.values()}:
        raise NothingToTest("the catalogue has no priority `%s`: it is 1, 2 or 3" % priority)
    return {
        row.id for row in rows.values()
        if (not wanted_areas or any(row.area == area or row.area.startswith(area + ".") for area in wanted_areas))
        and (not wanted_priorities or row.priority in wanted_priorities)
    }
