# SPDX-License-Identifier: BSD-2-Clause
"""From an outcome to a point: what is known of the target decides. The one judge, of a run and of a log."""

from __future__ import annotations

from typing import Dict, List, Optional, Sequence, Tuple

from .config import Section
from .errata import Erratum, find
from .images import Image
from .known import Deviation, KnownTable
from .results import Point
from .verdict import CRASH, FAIL, HANG, KNOWN, PASS, Outcome


def judge(point: Point, outcome: Outcome, table: KnownTable, facts: Dict[str, str], errata: Sequence[Erratum] = ()) -> Optional[Deviation]:
    """Make the point known where a line excuses its outcome, or an erratum of its processor; the line that is stale, if there is one."""
    line = table.find(outcome.id, facts, outcome)
    if outcome.verdict in (FAIL, CRASH, HANG):
        point.facts = facts
        why_not = line.not_excused(outcome) if line else ""
        if line and not why_not:
            point.was, point.verdict = point.verdict, KNOWN
            point.known = "%s (%s)" % (line.why, line.reference) if line.reference != "-" else line.why
        elif line:
            point.reason += "; %s %s" % (line.where, why_not)
            point.diagnostics = (point.diagnostics + "\n# not excused: %s %s" % (line.where, why_not)).lstrip("\n")
        erratum = find(errata, outcome, facts) if point.verdict != KNOWN else None
        if erratum:
            point.was, point.verdict, point.erratum = point.verdict, KNOWN, " ".join(erratum.ids)
            point.known = "erratum %s is present: %s" % (erratum.name, erratum.title)
    elif line and outcome.verdict == PASS and PASS not in line.verdicts and not table.remark:
        return line
    return None


def point_of(outcome: Outcome, image: str, target: str, repro: str, log: str, number: int) -> Point:
    return Point(outcome.id, image, outcome.verdict, outcome.reason, outcome.checks, round(outcome.seconds, 4), repro, outcome.title, target, log,
                 outcome.diagnostics, notes=list(outcome.notes), failed=outcome.failed, failing=list(outcome.failing),
                 complaints=list(outcome.complaints), round=number)


def facts_of(section: Section, image: Image, cpu: str, identity: str, conditions: Dict[str, str]) -> Dict[str, str]:
    """What the conditions of spec/known are about, for a test of a section."""
    return {"cpu": " ".join(_cpu_facts(cpu)), "smp": str(section.smp),
            "image": " ".join([section.name, image.origin(identity)]), **conditions}


def _cpu_facts(cpu: str) -> List[str]:
    """A model and what is switched off in it, in one form: of "max,la57=off,-smep" these are max, -la57 and -smep."""
    model, *features = cpu.split(",")
    off = [feature[:-4] if feature.endswith("=off") else feature.lstrip("-") for feature in features
           if feature.startswith("-") or feature.endswith("=off")]
    return [model, *("-" + feature for feature in off)]


def split_name(name: str) -> Tuple[str, str]:
    """A target's name and its version: of "bochs-2.7" these are "bochs" and "2.7"."""
    front, dash, version = name.rpartition("-")
    return (front, version) if dash and version[:1].isdigit() else (name, "")
