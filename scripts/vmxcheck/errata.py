# SPDX-License-Identifier: BSD-2-Clause
"""spec/errata.tsv: published errors of processors, on which of them, and what of the suite shows them.

On a processor that a line names, a failure of one of the line's tests is that erratum: known, and not red. Anywhere else it is
a failure like any other. What is listed and does not show is said too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from . import known, table
from .errors import Problem
from .paths import TOP
from .verdict import CRASH, FAIL, HANG, PASS, Outcome

COLUMNS = ("ids", "title", "where", "kind", "seen", "tests", "note", "source")
KINDS = ("result", "event", "hang", "reset", "other")  # a wrong result; an event that is wrong, late, or lost; all that no test can be hurt by
TEST, PROBE, ASKED, NOT = "test", "probe", "asked", "no"
SEEN = (TEST, PROBE, ASKED, NOT)
PRESENT, ABSENT, UNKNOWN, UNSEEN = "present", "absent", "cannot tell", "not visible"


@dataclass(frozen=True)
class Erratum:
    ids: Tuple[str, ...]
    title: str
    where: str
    kind: Tuple[str, ...]
    seen: str
    tests: Tuple[str, ...]
    note: str
    source: str
    terms: known.Terms

    @property
    def name(self) -> str:
        """Short: the first of its ids, and how many there are."""
        return " ".join(self.ids[:2]) + (" and %d more" % (len(self.ids) - 2) if len(self.ids) > 2 else "")

    def applies(self, facts: Dict[str, str]) -> bool:
        return known.holds(self.terms, facts)

    def explains(self, outcome: Outcome) -> bool:
        """Could the outcome of one of its tests come from it?"""
        ended = {FAIL} | ({CRASH, HANG} if {"hang", "reset"} & set(self.kind) else set())
        return outcome.id in self.tests and outcome.verdict in ended and not outcome.complaints


def read(path: Path = TOP / "spec" / "errata.tsv") -> List[Erratum]:
    found = []
    for ids, title, where, kind, seen, tests, note, source in table.read(path, *COLUMNS):
        try:
            terms, kinds = known.condition(where), tuple(kind.split(","))
            if not set(kinds) <= set(KINDS) or seen not in SEEN:
                raise ValueError("kind is one of %s, seen one of %s" % (", ".join(KINDS), ", ".join(SEEN)))
            if (tests == "-") != (seen == NOT):
                raise ValueError("seen=%s and tests=%s contradict each other" % (seen, tests))
        except ValueError as error:
            raise Problem("%s: %s: %s" % (path.name, ids, error)) from None
        found.append(Erratum(tuple(ids.split()), title, where, kinds, seen, tuple(tests.split(",")) if tests != "-" else (), note, source, terms))
    return found


def find(table_: Sequence[Erratum], outcome: Outcome, facts: Dict[str, str]) -> Optional[Erratum]:
    """The one that the outcome is, on this processor."""
    return next((one for one in table_ if one.explains(outcome) and one.applies(facts)), None)


@dataclass(frozen=True)
class State:
    erratum: Erratum
    target: str
    state: str
    tests: Tuple[str, ...]  # those that say so


def states(data: Mapping[str, Any], table_: Sequence[Erratum]) -> List[State]:
    """Of each target of a run, the errata that its processor is listed with, and what was seen of them."""
    found = []
    for target in data["target"]:
        facts = target.get("silicon", {})
        verdicts: Dict[str, Dict[str, Any]] = {}
        for point in data["points"]:
            if point["target"] == target["name"] and _rank(point) >= _rank(verdicts.get(point["id"], {})):
                verdicts[point["id"]] = point
        for one in table_ if "fms" in facts else []:
            if one.applies(facts):
                found.append(_state(one, target["name"], verdicts))
    return found


def _rank(point: Mapping[str, Any]) -> int:
    """Of several runs of a test the one that says most."""
    return 2 if point.get("erratum") else 1 if point.get("verdict") == PASS else 0


def _state(one: Erratum, target: str, points: Dict[str, Dict[str, Any]]) -> State:
    if one.seen == NOT:
        return State(one, target, UNSEEN, ())
    mine = [points[test] for test in one.tests if test in points]
    shown = tuple(point["id"] for point in mine if point.get("erratum") == " ".join(one.ids))
    passed = tuple(point["id"] for point in mine if point["verdict"] == PASS)
    return State(one, target, PRESENT if shown else ABSENT if passed else UNKNOWN, shown or passed)


def summary(data: Mapping[str, Any], table_: Sequence[Erratum], all_: bool, notes: bool = False) -> List[str]:
    """A line for each target whose processor is listed, and one for each erratum that showed, or for all."""
    out = []
    found = states(data, table_)
    for target in data["target"]:
        mine = [one for one in found if one.target == target["name"]]
        if not mine or not any(one.tests for one in mine):
            continue
        silicon = target["silicon"]
        out.append("errata of %s (microcode %s) on %s: %s" % (silicon["fms"], silicon.get("microcode", "none"), target["name"], ", ".join(
            "%d %s" % (sum(one.state == state for one in mine), state) for state in (PRESENT, ABSENT, UNKNOWN, UNSEEN))))
        for one in mine:
            if one.state == PRESENT or all_:
                tests = "  (%s)" % ", ".join(one.tests) if one.tests else ""
                out.append("  %-11s %s: %s%s" % (one.state, one.erratum.name, one.erratum.title, tests))
                out += ["              %s: %s" % (one.erratum.seen, one.erratum.note)] if notes else []
    return out
