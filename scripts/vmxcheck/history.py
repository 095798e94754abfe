# SPDX-License-Identifier: BSD-2-Clause
"""What earlier runs left: durations, failures."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Set, Tuple

from .errors import NothingToTest, Problem
from .results import read, read_latest
from .verdict import RED

Durations = Dict[Tuple[str, str], float]  # (image, id) -> seconds


def durations(data: Dict[str, Any]) -> Durations:
    """The longest over targets and rounds."""
    found: Durations = {}
    try:
        for point in data.get("points", []):
            key = (point["image"], point["id"])
            found[key] = max(found.get(key, 0.0), point["seconds"])
    except (KeyError, TypeError):
        raise Problem("durations: a run without them: it is no results.json, or a baseline") from None
    return found


def last_durations(base: Path, named: str = "") -> Durations:
    """Of the run that was named, else of the last one that nothing narrowed: what every shard of a fleet sees alike."""
    return durations(read(Path(named)) if named else read_latest(base, "latest-whole"))


def durations_if_any(base: Path) -> Durations:
    """For the order and the display, which must not fail because an old file is broken."""
    try:
        return last_durations(base)
    except Problem:
        return {}


def failed(base: Path) -> Set[Tuple[str, str]]:
    """(image, id) of all that was red in the last run; NothingToTest if nothing was."""
    data = read_latest(base)
    if not data:
        raise NothingToTest("--failed: there is no last run in %s" % base)
    found = {(point["image"], point["id"]) for point in data["points"] if point["verdict"] in RED}
    if not found:
        raise NothingToTest("--failed: nothing failed in the last run (%s)" % data["run"])
    for image, identity in list(found):
        if identity == "image." + image:  # its TAP contradicted itself: any of its tests may have done that
            found |= {(image, point["id"]) for point in data["points"] if point["image"] == image}
    return found
