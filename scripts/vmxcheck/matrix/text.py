# SPDX-License-Identifier: BSD-2-Clause
"""The matrix for a terminal: a line a target, and where they differ."""

from __future__ import annotations

from typing import List

from ..style import Style
from ..verdict import KNOWN, PASS, RED, SKIP
from .table import DIFFERS, SAME, SOME, Seen, Table

MOST_RED = 20


def text(table: Table, where: str, style: Style) -> str:
    """Several lines; the last one is the one that a CI reads."""
    width = max(len(one.target.name) for one in table.seen)
    out = ["", "%-*s %7s %7s %7s %7s %8s %8s" % (width, "target", "passed", "failed", "known", "skipped", "CPU s", "seconds")]
    out += [_line(one, width, style) for one in table.seen]
    out += _red(table, style)
    kinds = [line.kind for line in table.lines]
    out.append("%d rows: %d differ between targets or are red, %d run on some targets only, %d are the same on all" % (
        len(kinds), kinds.count(DIFFERS), kinds.count(SOME), kinds.count(SAME)))
    for name, number, models in table.cover():
        out.append("%s: %d rows run; these targets run all of them: %s" % (
            name, number, ", ".join("%s %s%d" % (model, "+" if place else "", rows) for place, (model, rows) in enumerate(models))))
    out += ["%s could not be run: %s" % (one.target.name, one.column.reason) for one in table.unable()]
    out.append("report: " + where)
    out.append(style.paint(table.last_line(), "bold", "red" if table.status() else "green"))
    return "\n".join(out)


def _line(one: Seen, width: int, style: Style) -> str:
    name = style.paint(one.target.name.ljust(width), "red" if one.failed or not one.column.complete else "green")
    cost = "%8.1f %8.1f%s" % (one.column.cpu_seconds, one.column.seconds, "" if one.column.fresh else "  as it was")
    if not one.column.complete:
        return "%s %-31s %s" % (name, "not run", cost)
    return "%s %7d %7d %7d %7d %s" % (name, one.points[PASS], one.failed, one.points[KNOWN], one.points[SKIP], cost)


def _red(table: Table, style: Style) -> List[str]:
    red = [(line, [one for one, cell in zip(table.seen, line.cells) if cell in RED]) for line in table.lines]
    red = [(line, where) for line, where in red if where]
    out = ["not green:"] if red else []
    for line, where in red[:MOST_RED]:
        names = ", ".join(one.target.name for one in where[:4]) + (" and %d more" % (len(where) - 4) if len(where) > 4 else "")
        out.append("  %s  (%s)" % (style.paint(line.row.id, "red"), names))
    return out + (["  and %d more" % (len(red) - MOST_RED)] if len(red) > MOST_RED else [])
