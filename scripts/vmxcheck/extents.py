# SPDX-License-Identifier: BSD-2-Clause
"""known RESULTS...: how far the lines of spec/known go, from what failed in these runs.

Each point that is not green belongs to the line that applies to it there. Its failing checks that this line does not name yet
are added to the names below the line. No line is ever added, and no pattern with * or {#} is touched, which may be written by
hand; but afresh a lone * gives way to what it stands for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, Iterable, List, Optional, Set, Tuple

from . import names
from .catalogue import EXPLORED
from .errors import Problem
from .known import Deviation, KnownTable
from .results import Point, Results
from .verdict import CRASH, FAIL, HANG, KNOWN, Outcome


@dataclass
class _Seen:
    """What failed in the points of one line."""

    line: Deviation
    failing: Set[str] = field(default_factory=set)
    failed: int = 0
    counted: bool = False  # names do not tell all: some failed twice, or without a name
    complaints: Set[str] = field(default_factory=set)
    verdicts: Set[str] = field(default_factory=set)


@dataclass
class Findings:
    changed: Dict[Path, str]  # the new text of tables
    said: List[str]  # a line for each change
    unexplained: List[str]


def find(runs: List[Results], folder: Path, afresh: bool) -> Findings:
    """`afresh`: what is in the tables of names that these runs do not show is forgotten, in lines that they have to do with."""
    tables: Dict[Tuple[str, str], KnownTable] = {}
    seen: Dict[Tuple[str, str], _Seen] = {}  # by the table and the line in it
    unexplained: Dict[str, None] = {}
    for run in runs:
        for point in run.points:
            if point.verdict == KNOWN and point.id.startswith(EXPLORED):
                continue  # by the line of a row
            if point.verdict not in (FAIL, KNOWN, CRASH, HANG) or point.id.startswith("image.") or point.reason.startswith("not run: "):
                continue
            name, version = _table_of(run, point)
            table = tables.get((name, version)) or KnownTable.load(folder, name, version, whole=False)
            tables[name, version] = table
            outcome = _outcome(point)
            line = _line(table, outcome, point)
            if line is None:
                first = point.complaints or point.failing or [point.reason]
                unexplained["unexplained: %s: %s on %s: %s" % (point.id, outcome.verdict, point.target, first[0])] = None
                continue
            _note(seen.setdefault((name, line.where), _Seen(line)), outcome)
    found = Findings({}, [], list(unexplained))
    for name in sorted({name for name, _ in seen}):
        _rewrite(folder / (name + ".tsv"), [one for (table_name, _), one in seen.items() if table_name == name], afresh, found)
    return found


def _table_of(run: Results, point: Point) -> Tuple[str, str]:
    target = run.targets.get(point.target, {})
    if "table" not in target or not point.facts:
        raise Problem("%s: it has no names of failing checks: run the tests again" % (run.run or "these results"))
    return target["table"][0], target["table"][1]


def _outcome(point: Point) -> Outcome:
    """As it was before a line excused it."""
    verdict = point.was or (point.verdict if point.verdict != KNOWN else FAIL if point.failed or point.complaints else CRASH)
    return Outcome(point.id, point.title, verdict, failed=point.failed, failing=point.failing, complaints=point.complaints)


def _line(table: KnownTable, outcome: Outcome, point: Point) -> Optional[Deviation]:
    lines = [line for line in table.applying(outcome.id, point.facts) if outcome.verdict in line.verdicts]
    return next((line for line in lines if line.excuses(outcome)), lines[0] if lines else None)


def _note(seen: _Seen, outcome: Outcome) -> None:
    seen.failing |= set(outcome.failing)
    seen.failed = max(seen.failed, outcome.failed)
    seen.counted |= outcome.failed > len(set(outcome.failing))
    seen.complaints |= set(outcome.complaints)
    seen.verdicts.add(outcome.verdict)


def _rewrite(path: Path, seen: Iterable[_Seen], afresh: bool, found: Findings) -> None:
    text = path.read_text(encoding="utf-8").splitlines()
    for one in sorted(seen, key=lambda one: -_number(one.line)):  # from the end: the numbers of lines before stay
        said, number = [], _number(one.line)
        end = number
        while end < len(text) and text[end].startswith("\t"):
            end += 1
        checks = _checks(one, afresh)
        if checks != list(one.line.checks):
            text[number:end] = ["\t" + check for check in checks]
            said.append("%d names in %d patterns, before in %d" % (len(one.failing), len(checks), len(one.line.checks)))
        most = _most(one, afresh)
        if most != one.line.most_failed:
            text[number - 1] = _with_count(text[number - 1], most)
            said.append("failed=%s" % most)
        for complaint in sorted(one.complaints):
            if not any(part for part in one.line.complaints):
                said.append("and write by hand complaint=GLOB for `%s`" % complaint)
        if said:
            found.said.insert(0, "%s: %s: %s" % (one.line.where, one.line.id, "; ".join(said)))
    new = "\n".join(text) + "\n"
    if new != path.read_text(encoding="utf-8"):
        found.changed[path] = new


def _number(line: Deviation) -> int:
    return int(line.where.rpartition(":")[2])


def _checks(one: _Seen, afresh: bool) -> List[str]:
    by_hand = [text for text in one.line.checks if names.pattern(text).expand() is None and not (afresh and text == "*" and one.failing)]
    listed = [text for text in one.line.checks if text not in by_hand]
    left = [name for name in one.failing if not any(names.pattern(text).matches(name) for text in by_hand)]
    if not afresh and not one.line.unnamed(left):
        return list(one.line.checks)
    if not afresh:
        left += [name for text in listed for name in names.pattern(text).expand() or []]
    return by_hand + names.compact(left)


def _most(one: _Seen, afresh: bool) -> Optional[int]:
    if one.line.most_failed is None:
        return one.failed if one.counted else None
    return one.failed if afresh and one.failed else max(one.line.most_failed, one.failed)


def _with_count(raw: str, most: Optional[int]) -> str:
    columns = raw.split("\t")
    terms = [] if columns[1] == "-" else columns[1].split(",")
    place = next((i for i, term in enumerate(terms) if term.startswith("failed=")), len(terms))
    terms[place:place + 1] = ["failed=%d" % most] if most else []
    return "\t".join([columns[0], ",".join(terms) or "-", *columns[2:]])
