# SPDX-License-Identifier: BSD-2-Clause
"""The matrix as a picture: a line an area of the catalogue, a column a target, in each cell the shares of the verdicts."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Counter as CounterType, List, Tuple

from ..errors import Problem
from ..verdict import KNOWN, PASS, RED, SKIP
from .table import Table

CELL, ROW, GAP = 17, 19, 7  # pixels; GAP is between groups
FONT = "system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif"
COLORS = (("failed", "#c9303e"), ("known deviation", "#e0a030"), ("passed", "#3aa876"), ("skipped", "#d3deee"), ("not run", "#f1f3f6"))
_LEFT, _LETTER = 128, 6.1


def text(table: Table) -> str:
    groups, labels = table.groups(), [one.target.label for one in table.seen]
    places, x = [], float(_LEFT)
    spans: List[Tuple[str, float, float]] = []
    for name, number in groups:
        width = max(number * CELL, len(name) * 6.9 + 6)
        spans.append((name, x, width))
        places += [x + (width - number * CELL) / 2 + i * CELL for i in range(number)]
        x += width + GAP
    top = 66 + max(map(len, labels)) * _LETTER * 0.82
    head = [] if not table.unable() else ["%d could not be run" % len(table.unable())]
    height = top + len(table.areas) * ROW + 46
    right = max(x + max(map(len, labels)) * _LETTER * 0.58, 640.0)
    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" '
           'font-family="%s" font-size="11" fill="#1d2430">'
           % (right, height, right, height, FONT), '<rect width="100%" height="100%" fill="#ffffff"/>',
           '<text x="12" y="24" font-size="16" font-weight="600">vmxcheck: %s</text>' % escape(
               ", ".join(["%d targets, %d rows of the catalogue" % (len(table.seen), len(table.lines))] + head))]
    for label, place in zip(labels, places):
        out.append('<text transform="translate(%.1f %.1f) rotate(-55)">%s</text>' % (place + CELL * .75, top - 24, escape(label)))
    for name, start, width in spans:
        out.append('<text x="%.1f" y="%.1f" text-anchor="middle" font-weight="600">%s</text>' % (start + width / 2, top - 6, escape(name)))
    for line, area in enumerate(table.areas):
        y = top + line * ROW
        out.append('<text x="%d" y="%.1f" text-anchor="end">%s</text>' % (_LEFT - 8, y + ROW * .7, escape(area.name)))
        for place, counts in zip(places, area.counts):
            out.append(_cell(place, y, counts))
    y, x = height - 18, float(_LEFT)
    for name, color in COLORS:
        out.append('<rect x="%.1f" y="%.1f" width="11" height="11" rx="2" fill="%s"/><text x="%.1f" y="%.1f">%s</text>' % (
            x, y - 10, color, x + 16, y, name))
        x += 34 + len(name) * _LETTER
    return "\n".join(out + ["</svg>", ""])


def _cell(x: float, y: float, counts: "CounterType[str]") -> str:
    """A stack; what is red or known is at least a line that can be seen."""
    shares = [sum(counts[verdict] for verdict in RED), counts[KNOWN], counts[PASS], counts[SKIP]]
    whole, full = sum(shares), float(ROW - 2)
    if not whole:
        return '<rect x="%.1f" y="%.1f" width="%d" height="%d" fill="%s"/>' % (x, y, CELL - 2, ROW - 2, COLORS[-1][1])
    heights = [max(full * share / whole, 3.0) if share and place < 2 else full * share / whole for place, share in enumerate(shares)]
    scale, out = full / sum(heights), []
    for (_, color), height in zip(COLORS, heights):
        if height:
            out.append('<rect x="%.1f" y="%.2f" width="%d" height="%.2f" fill="%s"/>' % (x, y, CELL - 2, height * scale, color))
            y += height * scale
    return "".join(out)


def write(path: Path, table: Table) -> None:
    try:
        path.write_text(text(table), encoding="utf-8")
    except OSError as error:
        raise Problem("%s: %s" % (path, error.strerror)) from None
