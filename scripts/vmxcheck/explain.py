# SPDX-License-Identifier: BSD-2-Clause
"""explain ID: the requirement, its section, where it is tested, what targets are known for, its last results."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, Dict, List

from . import catalogue, elf, images, known
from .config import load as load_config
from .errors import NothingToTest, Problem
from .results import read
from .style import Style

MOST_RUNS = 30  # that are looked into, from the newest


def text(identity: str, top: Path, base: Path, style: Style) -> str:
    rows = catalogue.read(top / "spec" / "catalogue.tsv")
    tested = _tested(identity, top)
    row = rows.get(identity)
    if not row and not tested:
        near = difflib.get_close_matches(identity, rows, 3) or [i for i in rows if identity in i][:5]
        raise NothingToTest("`%s` is no test and no requirement%s" % (identity, "; near: " + ", ".join(near) if near else ""))
    out = [style.paint(identity, "bold")]
    if row:
        out += ["  " + row.requirement, ""]
        lines = [("section", row.section), ("area", "%s, priority %s" % (row.area, row.priority))]
        lines += [(key, value) for key, value in (("fields", row.fields), ("needs", row.capability)) if value not in ("-", "")]
        out += ["%-10s%s" % line for line in lines]
    else:
        out.append("  (a test of the suite itself: the catalogue has no such row)")
    out += ["%-10s%s" % ("tested" if number == 0 else "", line) for number, line in enumerate(tested or ["not yet"])]
    for path in sorted((top / "spec" / "known").glob("*.tsv")):
        for line in known.parse(path.read_text(encoding="utf-8"), "spec/known/" + path.name):
            if line.id == identity:
                where = "" if line.condition == "-" else " (%s)" % line.condition
                out.append("%-10s%s%s: %s; %s" % ("known", path.stem, where, line.why, line.reference))
    results = _last(identity, base)
    out += ["%-10s%s" % ("results" if number == 0 else "", line) for number, line in enumerate(results or ["none in %s" % base])]
    return "\n".join(out)


def _tested(identity: str, top: Path) -> List[str]:
    build, found = top / "build" / "x86", []
    for section in load_config(top / "unittests.cfg"):
        if section.file == images.EVERYTHING:  # has them all once more
            continue
        try:
            titles = images.load(build, section.file).tests
        except Problem:
            continue
        if identity in titles:
            place = elf.places(build / (section.file + ".elf64")).get(identity)
            found.append("%s in image %s: %s" % ("%s:%d" % (place.file, place.line) if place else "compiled", section.name,
                                                 titles[identity]))
    return found


def _last(identity: str, base: Path) -> List[str]:
    """The newest result for each image and target."""
    newest: Dict[str, str] = {}
    for folder in sorted(base.glob("[0-9]*"), reverse=True)[:MOST_RUNS]:
        try:
            data: Dict[str, Any] = read(folder)
        except Problem:
            continue
        for point in data["points"]:
            key = "%s, %s" % (point["image"], point["target"] or "not booted")
            if point["id"] == identity and key not in newest:
                reason = point["known"] or point["reason"]
                newest[key] = "%-7s %s  (%s, run %s)%s" % (point["verdict"], key, "%.3f s" % point["seconds"], data["run"],
                                                         "\n%12s%s" % ("", reason) if reason else "")
    return list(newest.values())
