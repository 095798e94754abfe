# SPDX-License-Identifier: BSD-2-Clause
"""The HTML report: one file that needs no other. What it shows is put together here, how is in templates/."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, Dict, List, Set, Tuple

from . import advisories, catalogue as catalogue_module, compare, coverage, errata, optional
from .errors import Problem
from .inventory import of_results as inventory_of, view as view_module
from .verdict import CRASH, FAIL, FLAKY, HANG, KNOWN, MISSING, NOT_RUN, PASS, RED, SKIP

TEMPLATES = Path(__file__).resolve().parent / "templates"
NOT_YET = "none"  # of a requirement that no test has, or that did not run
STATES = (PASS, FAIL, KNOWN, SKIP, NOT_YET)
LABELS = {PASS: "pass", FAIL: "fail", KNOWN: "known deviation", SKIP: "skipped"}
COUNTED = {PASS: "passed", FAIL: "failed", CRASH: "crashed", HANG: "hung", MISSING: "missing", FLAKY: "flaky",
           NOT_RUN: "not run", KNOWN: "known deviations",
           SKIP: "skipped"}
OUTSIDE = "not in the catalogue"
SLOWEST = 20


def write(path: Path, data: Dict[str, Any], top: Path) -> None:
    jinja2: Any = optional.need("jinja2", "python3-jinja2", "--html")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(str(TEMPLATES)), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined)
    text = environment.get_template("report.html").render(view(data, catalogue_module.read(top / "spec" / "catalogue.tsv")))
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Problem("%s: %s" % (path, error.strerror)) from None


def view(data: Dict[str, Any], rows: Dict[str, catalogue_module.Row]) -> Dict[str, Any]:
    """All that the template shows."""
    points: List[Dict[str, Any]] = data["points"]
    by_id: Dict[str, List[Dict[str, Any]]] = {}
    for point in points:
        by_id.setdefault(point["id"], []).append(point)
    targets = [target["name"] for target in data["target"]]
    if any(not point["target"] for point in points):
        targets.append("")
    every = list(rows.values()) + [catalogue_module.Row(i, OUTSIDE, requirement=by_id[i][0]["title"])
                                   for i in by_id if i not in rows]
    areas = _areas(every, by_id, targets)
    tested = sum(row["state"] != NOT_YET for area in areas for row in area["rows"] if area["name"] != OUTSIDE)
    failures: Dict[str, List[Dict[str, Any]]] = {}
    for point in points:
        if point["verdict"] in RED:
            failures.setdefault(point["id"], []).append(point)
    counts = Counter(point["verdict"] for point in points)
    return {
        "data": data, "targets": targets, "areas": areas, "failures": list(failures.values()), "states": STATES,
        # What a run that was narrowed did not run may well have a test.
        "labels": {**LABELS, NOT_YET: "not yet tested" if data.get("whole") else "not run"}, "verdict": _verdict(data),
        "counts": [(verdict, word, counts[verdict]) for verdict, word in COUNTED.items() if counts[verdict]],
        "rows": len(rows), "tested": tested, "skips": _skips(points), "known": [p for p in points if p["verdict"] == KNOWN],
        # Said once, however many images say it. A results file of an older version has none.
        "notes": sorted({(p["id"], p["target"], note) for p in points for note in p.get("notes", ())}),
        "images": _bars([(image["image"], image["target"], image["seconds"]) for image in data["images"]], 1000),
        "slowest": _bars([(p["id"], p["target"], p["seconds"]) for p in points], SLOWEST),
        "banners": {image["target"]: image["banner"] for image in reversed(data["images"]) if image["banner"]},
        "state_counts": Counter(row["state"] for area in areas for row in area["rows"]),
        # In a script element only "<" can do harm.
        "details": json.dumps(_details(by_id, rows)).replace("<", "\\u003c"),
        "red": RED, "inventory": _inventory(data), "errata": errata.states(data, errata.read()),
        "advisories": _advisories(points),
    }


def _advisories(points: List[Dict[str, Any]]) -> List[Tuple[str, advisories.Advisory]]:
    """Each with its state; none where no test of any ran."""
    found = advisories.states(points, advisories.read())
    return found if any(state not in (advisories.NOT_RUN, advisories.NOT_COVERED) for state, _ in found) else []


def _inventory(data: Dict[str, Any]) -> Dict[str, Any]:
    """What the processors said of themselves: a column for each target that has an inventory."""
    machines = inventory_of(data)
    groups: Dict[str, List[Dict[str, Any]]] = {}
    for row, values in view_module.side_by_side(machines, lambda row: row.key):
        groups.setdefault(row.group, []).append({"row": row, "values": values, "differs": len(set(values)) > 1})
    said = [(machine.name, line) for machine in machines for line in [*view_module.differences(machine), *machine.problems]]
    return {"machines": [machine.name for machine in machines], "groups": groups, "said": said}


def _verdict(data: Dict[str, Any]) -> Dict[str, str]:
    words = {0: ("green", "All green"), 1: ("red", "Not green"), 2: ("red", "The run is not whole"),
             3: ("grey", "Nothing was tested"), 130: ("grey", "Interrupted")}
    color, text = words.get(data["exit_status"], ("red", "Not green"))
    return {"color": color, "text": text}


def _state(verdicts: Set[str]) -> str:
    verdicts = verdicts - {NOT_RUN}
    return coverage.worst(verdicts) if verdicts else NOT_YET


def _areas(every: List[catalogue_module.Row], by_id: Dict[str, List[Dict[str, Any]]], targets: List[str]) -> List[Dict[str, Any]]:
    areas: Dict[str, List[Dict[str, Any]]] = {}
    for row in every:
        points = by_id.get(row.id, [])
        cells = []
        for target in targets:
            verdicts = {point["verdict"] for point in points if point["target"] == target}
            cells.append({"state": _state(verdicts), "word": _word(verdicts)})
        areas.setdefault(row.area, []).append({"row": row, "cells": cells, "state": _state({p["verdict"] for p in points})})
    found = []
    for name, rows in areas.items():
        counter = Counter(row["state"] for row in rows)
        found.append({"name": name, "rows": rows, "parts": [(state, counter[state]) for state in STATES if counter[state]]})
    return found


def _word(verdicts: Set[str]) -> str:
    """What a cell says: the worst, by its own name."""
    for verdict in (CRASH, HANG, FAIL, FLAKY, MISSING, KNOWN, PASS, SKIP):
        if verdict in verdicts:
            return verdict
    return ""


def _details(by_id: Dict[str, List[Dict[str, Any]]], rows: Dict[str, catalogue_module.Row]) -> Dict[str, Any]:
    """For the rows that are opened; the failures' diagnostics are in the page once, and are shown from there."""
    found: Dict[str, Any] = {}
    for identity, row in rows.items():
        found[identity] = {"q": row.requirement, "f": row.fields, "c": row.capability, "p": []}
    for identity, points in by_id.items():
        entry = found.setdefault(identity, {"q": "", "f": "-", "c": "-", "p": []})
        for point in points:
            entry["p"].append([point["target"] or "not booted", point["image"], point["verdict"], point["title"],
                               point["known"] or point["reason"], point["checks"], point["seconds"], point["repro"]])
    return found


def _skips(points: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
    groups: Dict[str, List[str]] = {}
    for point in points:
        if point["verdict"] == SKIP:
            ids = groups.setdefault(point["reason"] or "no reason given", [])
            if point["id"] not in ids:
                ids.append(point["id"])
    return [{"reason": reason, "ids": ids} for reason, ids in sorted(groups.items(), key=lambda item: -len(item[1]))]


def _bars(values: List[Tuple[str, str, float]], most: int) -> List[Dict[str, Any]]:
    """A bar for each name, with a part for each target; the longest first."""
    groups: Dict[str, List[Tuple[str, float]]] = {}
    for name, target, seconds in values:
        groups.setdefault(name, []).append((target, seconds))
    sums = {name: sum(seconds for _, seconds in parts) for name, parts in groups.items()}
    longest = max(sums.values(), default=0) or 1
    return [{"name": name, "seconds": sums[name],
             "parts": [{"target": target, "seconds": seconds, "percent": round(100 * seconds / longest, 2)}
                       for target, seconds in groups[name]]}
            for name in sorted(groups, key=lambda name: -sums[name])[:most]]


def write_changes(path: Path, a: Dict[str, Any], b: Dict[str, Any], found: List[compare.Change]) -> None:
    """Of compare: a table for each kind of change."""
    jinja2: Any = optional.need("jinja2", "python3-jinja2", "--html")
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(str(TEMPLATES)), autoescape=True, trim_blocks=True, lstrip_blocks=True,
                                     undefined=jinja2.StrictUndefined)
    reasons = {(p["image"], p["id"], p["target"]): p.get("known") or p.get("reason", "") for p in b["points"]}
    groups = [(title, [(change, reasons.get((change.image, change.id, change.target), "")) for change in found if change.kind == kind])
              for kind, title in compare.TITLES.items()]
    names = [", ".join(target["name"] for target in data.get("target", [])) + " (%s)" % data.get("run", "baseline") for data in (a, b)]
    text = environment.get_template("compare.html").render(names=names, groups=[group for group in groups if group[1]],
                                                           bad=sum(change.bad for change in found))
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Problem("%s: %s" % (path, error.strerror)) from None
