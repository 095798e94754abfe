# SPDX-License-Identifier: BSD-2-Clause
"""--coverage: the catalogue of requirements by area, and how far the tests have come."""

from __future__ import annotations

from collections import Counter
from typing import Any, Dict, Iterable, List, Set, Tuple

from .catalogue import Row, row_of
from .verdict import FAIL, KNOWN, PASS, RED, SKIP

COLUMNS = ("rows", "tested", "passing", "failing", "skipped", "known", "not yet")


def last_verdicts(results: Dict[str, Any]) -> Dict[str, str]:
    """One verdict a test: the worst over all images and targets that did not skip it."""
    found: Dict[str, Set[str]] = {}
    for point in results.get("points", []):
        found.setdefault(point["id"], set()).add(point["verdict"])
    return {identity: worst(verdicts) for identity, verdicts in found.items()}


def worst(verdicts: Set[str]) -> str:
    return FAIL if verdicts & RED else KNOWN if KNOWN in verdicts else PASS if PASS in verdicts else SKIP


def table(catalogue: Dict[str, Row], tested: Iterable[str], verdicts: Dict[str, str]) -> List[Tuple[str, List[int]]]:
    """(area, numbers under COLUMNS), and a last line with the sums."""
    have = set(tested)
    names = {PASS: "passing", FAIL: "failing", SKIP: "skipped", KNOWN: "known"}
    areas: Dict[str, "Counter[str]"] = {}
    for identity, row in catalogue.items():
        counter = areas.setdefault(row.area, Counter())
        counter["rows"] += 1
        counter["tested" if identity in have else "not yet"] += 1
        if identity in have and identity in verdicts:
            counter[names[verdicts[identity]]] += 1
    lines = [(area, [counter[column] for column in COLUMNS]) for area, counter in areas.items()]
    return lines + [("all", [sum(numbers) for numbers in zip(*(line[1] for line in lines))] or [0] * len(COLUMNS))]


def text(catalogue: Dict[str, Row], tested: Iterable[str], results: Dict[str, Any], verbose: bool) -> str:
    have = set(tested)
    lines = table(catalogue, have, last_verdicts(results))
    width = max(len(area) for area, _ in lines)
    out = [" " * width + "".join("%9s" % column for column in COLUMNS)]
    out += [area.ljust(width) + "".join("%9d" % number for number in numbers) for area, numbers in lines]
    out.append("last whole run: " + (results["run"] if results else "none; passing, failing, skipped and known are not known yet"))
    strangers = sorted(identity for identity in have if row_of(identity) not in catalogue)
    if strangers:
        out.append("not in the catalogue: %d tests%s" % (len(strangers), "" if verbose else " (-v names them)"))
        out += ["  " + identity for identity in strangers] if verbose else []
    if verbose:
        out.append("not yet tested:")
        out += ["  " + identity for identity in catalogue if identity not in have]
    return "\n".join(out)
