# SPDX-License-Identifier: BSD-2-Clause
"""The matrix as one HTML file that needs no other, and no script: what is the same everywhere is folded."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List

from .. import html as report, optional
from ..errors import Problem
from ..verdict import CRASH, FAIL, FLAKY, HANG, KNOWN, MISSING, NOT_RUN, PASS, SKIP
from . import svg
from .table import DIFFERS, SAME, SOME, Table

# A verdict as a class of the style sheet, and as one letter: columns are narrow, and colours are not for everybody.
CELLS = {PASS: ("p", "✓"), KNOWN: ("k", "K"), SKIP: ("s", "–"), FAIL: ("f", "F"), CRASH: ("f", "C"), HANG: ("f", "H"), MISSING: ("f", "M"),
         FLAKY: ("f", "Y"), NOT_RUN: ("s", "·"),
         "": ("n", "")}


def write(path: Path, table: Table) -> None:
    jinja2: Any = optional.need("jinja2", "python3-jinja2", "--matrix")
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(str(report.TEMPLATES)), autoescape=True, trim_blocks=True,
                                     lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    text = environment.get_template("matrix.html").render(view(table))
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Problem("%s: %s" % (path, error.strerror)) from None


def view(table: Table) -> Dict[str, Any]:
    """All that the template shows."""
    return {"table": table, "areas": [_area(table, area) for area in table.areas], "groups": table.groups(), "cells": CELLS,
            "picture": svg.text(table), "kinds": {kind: sum(line.kind == kind for line in table.lines) for kind in (DIFFERS, SOME, SAME)},
            "status": table.status()}


def _area(table: Table, area: Any) -> Dict[str, Any]:
    same: Dict[str, List[str]] = {}
    for line in area.of(SAME):
        same.setdefault(next(cell for cell in line.cells if cell), []).append(line.row.id)
    return {"name": area.name, "number": len(area.lines), "differs": [_row(table, line) for line in area.of(DIFFERS)],
            "some": [_row(table, line) for line in area.of(SOME)], "same": same}


def _row(table: Table, line: Any) -> Dict[str, Any]:
    cells = []
    for one, verdict in zip(table.seen, line.cells):
        shape, letter = CELLS[verdict]
        why = one.reasons.get(line.row.id, "")
        cells.append((shape, letter, "%s: %s%s" % (one.target.name, verdict, ": " + why if why else "") if shape in "kf" else ""))
    return {"id": line.row.id, "what": line.row.requirement, "section": line.row.section, "cells": cells}
