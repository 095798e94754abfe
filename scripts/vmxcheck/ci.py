# SPDX-License-Identifier: BSD-2-Clause
"""What a CI shows: a summary in Markdown, annotations of GitHub, a Code Quality report of GitLab."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from . import catalogue
from .compare import CHECKS, DEVIATES, TITLES, Change
from .errors import Problem
from .paths import CATALOGUE
from .verdict import FLAKY, KNOWN, NOT_RUN, PASS, RED, SKIP, VERDICTS

MOST_ROWS = 50
_WORDS = {0: "All green", 1: "Not green", 2: "The run is not whole", 3: "Nothing was tested", 130: "Interrupted"}


def place_of(diagnostics: str) -> Tuple[str, int]:
    """FILE, LINE of the first `at:` of a failure; "", 0 where it has none."""
    match = re.search(r"(?m)^at: ([A-Za-z0-9_./-]+):([0-9]{1,6})$", diagnostics)
    return (match.group(1), int(match.group(2))) if match else ("", 0)


def failing(data: Dict[str, Any]) -> List[Dict[str, Any]]:
    return [point for point in data["points"] if point["verdict"] in RED and not point.get("old") and not point.get("allowed")]


def _cell(text: str) -> str:
    return " ".join(re.sub(r"([|<>\\`*_])", r"\\\1", text).split())


def _table(head: List[str], rows: List[List[str]]) -> List[str]:
    return ["| %s |" % " | ".join(head), "|%s" % ("---|" * len(head)), *("| %s |" % " | ".join(row) for row in rows), ""]


def _more(number: int) -> List[str]:
    return ["", "and %d more" % (number - MOST_ROWS), ""] if number > MOST_ROWS else []


def markdown(data: Dict[str, Any]) -> str:
    counts = Counter(point["verdict"] for point in data["points"])
    red = failing(data)
    rows = catalogue.read(CATALOGUE) if CATALOGUE.exists() else {}
    out = ["## vmxcheck: %s" % _WORDS.get(data["exit_status"], "Not green"), ""]
    out += ["%s passed, %d failed, %d skipped; %s" % (counts[PASS], len(red), counts[SKIP], ", ".join(
        "%d %s" % (counts[verdict], {KNOWN: "known deviations", NOT_RUN: "not run"}.get(verdict, verdict))
        for verdict in VERDICTS if counts[verdict] and verdict not in (PASS, SKIP)) or "nothing else"), ""]
    out += ["- %s" % _cell(target["name"]) + (" on %s" % _cell(target["host"]) if target.get("host") else "") for target in data["target"]]
    out += ["- %s" % _cell(remark) for remark in data.get("remarks", [])]
    out += ["- %s" % _cell(data["stopped"])] if data.get("stopped") else []
    out.append("")
    if red:
        table = [["`%s`" % point["id"], point["verdict"], _cell(point["image"]), _cell(point["reason"] or point["title"])[:300],
                  _cell(rows[point["id"]].section) if point["id"] in rows else ""] for point in red[:MOST_ROWS]]
        out += _table(["test", "verdict", "image", "reason", "in the manual"], table) + _more(len(red))
        out += ["<details><summary>How to repeat them</summary>", "", "```", *(point["repro"] for point in red[:MOST_ROWS]), "```", "</details>", ""]
    flaky = [point for point in data["points"] if point["verdict"] == FLAKY and point.get("allowed")]
    if flaky:
        out += ["Flaky, and allowed: " + ", ".join("`%s`" % point["id"] for point in flaky[:MOST_ROWS]), ""]
    return "\n".join(out)


def compare_markdown(a: Dict[str, Any], b: Dict[str, Any], found: List[Change]) -> str:
    names = [", ".join(target["name"] for target in data.get("target", [])) or data.get("run", "baseline") for data in (a, b)]
    bad = sum(change.bad for change in found)
    out = ["## vmxcheck: %s → %s" % tuple(map(_cell, names)), "", "%d for the worse, %d changes in all" % (bad, len(found)), ""]
    reasons = {(p["image"], p["id"], p["target"]): p.get("reason", "") for p in b["points"]}
    for kind, title in TITLES.items():
        group = [change for change in found if change.kind == kind]
        if not group:
            continue
        rows = [["`%s`" % change.id, _cell(change.image), change.before or "-", change.after or "-",
                 _cell(reasons.get((change.image, change.id, change.target), ""))[:300] if change.bad or kind in (DEVIATES, CHECKS) else ""]
                for change in group[:MOST_ROWS]]
        out += ["### %s: %d" % (title.capitalize(), len(group)), "", *_table(["test", "image", "A", "B", "reason"], rows), *_more(len(group))]
    return "\n".join(out)


def github(data: Dict[str, Any]) -> List[str]:
    """Workflow commands: lines of a job's log that GitHub shows at the lines of the sources."""
    out = []
    for point in failing(data)[:MOST_ROWS]:
        file, line = place_of(point["diagnostics"])
        where = "file=%s,line=%d," % (_property(file), line) if file else ""
        text = "%s (%s): %s\nrepeat: %s" % (point["verdict"], point["target"] or "not booted", point["reason"] or point["title"], point["repro"])
        out.append("::error %stitle=%s::%s" % (where, _property(point["id"]), _data(text)))
    return out


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def gitlab(data: Dict[str, Any]) -> str:
    """A Code Quality report."""
    issues = []
    for point in failing(data):
        file, line = place_of(point["diagnostics"])
        issues.append({
            "check_name": point["id"], "description": "%s: %s (%s)" % (point["id"], point["reason"] or point["title"], point["target"]),
            "fingerprint": hashlib.sha256("\0".join((point["image"], point["id"], point["target"])).encode()).hexdigest(),
            "severity": "major" if point["verdict"] == "fail" else "critical",
            "location": {"path": file or "unittests.cfg", "lines": {"begin": line or 1}}})
    return json.dumps(issues, indent=1) + "\n"


def write(path: Path, text: str, append: Optional[bool] = None) -> None:
    """GitHub's summary of a step is one file for all that the step does: it is added to."""
    append = str(path) == os.environ.get("GITHUB_STEP_SUMMARY") if append is None else append
    try:
        with open(path, "a" if append else "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise Problem("%s: %s" % (path, error.strerror)) from None
