# SPDX-License-Identifier: BSD-2-Clause
"""Two runs against each other: what broke, was fixed, appeared, went, down to the checks. And the baseline, an earlier run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from .errors import Problem
from .results import FORMAT, read
from .style import Style
from .verdict import CRASH, FAIL, FLAKY, HANG, KNOWN, MISSING, NOT_RUN, PASS, RED, SKIP

_RANK = {verdict: rank for rank, verdict in enumerate((NOT_RUN, SKIP, PASS, KNOWN, MISSING, FLAKY, FAIL, HANG, CRASH))}
_GREEN = (PASS, KNOWN)
BROKE, FIXED, APPEARED, GONE, LOST, GAINED, OTHER = "broke", "fixed", "appeared", "gone", "lost", "gained", "other"
DEVIATES, CHECKS = "deviating", "checks"
MOST_CHECKS = 3  # that are named of each change, and each way; -v names all
TITLES = {
    BROKE: "broke: was not red and is", FIXED: "fixed: failed, known or not, and passes", DEVIATES: "deviating: passed, and is a known deviation",
    CHECKS: "checks: the same verdict, and other checks fail", APPEARED: "appeared: was not in A",
    GONE: "gone: is not in B", LOST: "lost: passed and is skipped", GAINED: "gained: was skipped and passes",
    OTHER: "other changes",
}


@dataclass(frozen=True)
class Change:
    kind: str
    id: str
    image: str
    before: str  # verdicts; "" if it is not there
    after: str
    target: str  # of B, or of A for what is gone
    failed: Tuple[int, int] = (0, 0)  # checks, in A and in B
    went: Tuple[str, ...] = ()  # names of checks that failed in A and do not in B
    came: Tuple[str, ...] = ()  # and that fail in B and did not in A

    @property
    def bad(self) -> bool:
        return self.kind == BROKE or self.kind == APPEARED and self.after in RED or self.kind == GONE and self.before in _GREEN


class Verdicts:
    """The verdicts of a results.json or a baseline: the worst over rounds for each image, id and target."""

    def __init__(self, data: Dict[str, Any]) -> None:
        self.found: Dict[Tuple[str, str], Dict[str, str]] = {}
        self.points: Dict[Tuple[str, str, str], Dict[str, Any]] = {}
        for point in data["points"]:
            by_target = self.found.setdefault((point["image"], point["id"]), {})
            before = by_target.get(point["target"])
            if before is None or _RANK[point["verdict"]] > _RANK[before]:
                by_target[point["target"]] = point["verdict"]
                self.points[point["image"], point["id"], point["target"]] = point
        self._kinds = {target["name"]: (target["backend"], target["cpu"]) for target in data.get("target", [])}

    def kind(self, target: str) -> Tuple[str, str]:
        """Backend and processor model: what stays the same when the version of the backend changes."""
        return self._kinds.get(target, (target, ""))

    def match(self, key: Tuple[str, str], targets: List[str], kinds: Dict[str, Tuple[str, str]]) -> Dict[str, str]:
        """Which target here stands for each of theirs: the same; else the same backend and model; else the only one left."""
        mine = list(self.found.get(key, {}))
        pairs = {target: target for target in targets if target in mine}
        for target in targets:
            left = [m for m in mine if m not in pairs.values() and self.kind(m) == kinds[target]]
            if target not in pairs and left:
                pairs[target] = left[0]
        rest = [target for target in targets if target not in pairs]
        left = [m for m in mine if m not in pairs.values()]
        if len(rest) == len(left) == 1:
            pairs[rest[0]] = left[0]
        return pairs


def changes(a: Dict[str, Any], b: Dict[str, Any]) -> List[Change]:
    old, new = Verdicts(a), Verdicts(b)
    found = []
    for key in dict.fromkeys([*old.found, *new.found]):
        image, identity = key
        now = new.found.get(key, {})
        pairs = old.match(key, list(now), {target: new.kind(target) for target in now})
        for target, after in now.items():
            before = old.found[key][pairs[target]] if target in pairs else ""
            point = new.points[image, identity, target]
            checks = _checks(old.points[image, identity, pairs[target]], point) if before else ((0, point.get("failed", 0)), (), ())
            if before != after or checks[1] or checks[2]:
                kind = _kind(before, after) if before != after else CHECKS
                found.append(Change(kind, identity, image, before, after, target, *checks))
        for target, before in old.found.get(key, {}).items():
            if target not in pairs.values():
                found.append(Change(GONE, identity, image, before, "", target))
    return found


def _checks(before: Dict[str, Any], after: Dict[str, Any]) -> Tuple[Tuple[int, int], Tuple[str, ...], Tuple[str, ...]]:
    """How many failed in both, which do not any more, and which do now; a baseline and the results of older versions do not know."""
    if "failing" not in before or "failing" not in after or after["verdict"] == SKIP:
        return (0, 0), (), ()
    names = [dict.fromkeys(point["failing"]) for point in (before, after)]
    return ((before["failed"], after["failed"]), tuple(name for name in names[0] if name not in names[1]),
            tuple(name for name in names[1] if name not in names[0]))


def _kind(before: str, after: str) -> str:
    if not before:
        return APPEARED
    if after in RED:
        return OTHER if before in RED else BROKE
    if before in RED and after in _GREEN or before == KNOWN and after == PASS:
        return FIXED
    if before == PASS and after == KNOWN:
        return DEVIATES
    if before in _GREEN and after in (SKIP, NOT_RUN):
        return LOST
    if before in (SKIP, NOT_RUN) and after in _GREEN:
        return GAINED
    return OTHER


def text(a: Dict[str, Any], b: Dict[str, Any], found: List[Change], verbose: bool, style: Style) -> str:
    numbers = ", ".join("%d %s" % (sum(c.kind == kind for c in found), kind) for kind in TITLES)
    out = ["A  %s" % _name(a), "B  %s" % _name(b), numbers]
    reasons = {(p["image"], p["id"], p["target"]): p for p in b["points"]}
    for kind, title in TITLES.items():
        group = [change for change in found if change.kind == kind]
        if not group:
            continue
        out.append("%s: %d" % (style.paint(title, "bold"), len(group)))
        for change in group if verbose or kind in (BROKE, FIXED, DEVIATES, CHECKS) else [c for c in group if c.bad]:
            out.append("  %s%s  (%s, %s)" % (_arrow(change, style), change.id, change.image, change.target or "not booted"))
            point = reasons.get((change.image, change.id, change.target), {})
            if (change.bad or kind == DEVIATES) and (point.get("known") or point.get("reason")):
                out.append("      " + (point.get("known") or point["reason"]))
            out += _named_checks(change, verbose)
            if change.bad and point.get("repro"):
                out.append("      repeat: " + point["repro"])
    return "\n".join(out + ([numbers] if found else []))


def _named_checks(change: Change, verbose: bool) -> List[str]:
    """Which checks went and came, where both runs have names of them."""
    if change.failed == (0, 0):
        return []
    out = ["      failed checks: %d -> %d" % change.failed]
    for sign, names in (("-", change.went), ("+", change.came)):
        shown = names if verbose else names[:MOST_CHECKS]
        out += ["        %s %s" % (sign, name) for name in shown]
        out += ["        %s and %d more (-v names all)" % (sign, len(names) - len(shown))] if len(names) > len(shown) else []
    return out


def _arrow(change: Change, style: Style) -> str:
    words = [style.verdict(word) if word else "-" for word in (change.before, change.after)]
    return "%s -> %s  " % (words[0], words[1])


def _name(data: Dict[str, Any]) -> str:
    targets = ", ".join(target["name"] for target in data.get("target", []))
    checks = [sum(point.get(key, 0) for point in data["points"]) for key in ("checks", "failed")]
    counts = ", %d checks, of which %d failed" % (checks[0], checks[1]) if checks[0] else ""
    return "%s  %s  (%d points%s)" % (data.get("run", "baseline"), targets, len(data["points"]), counts)


class Baseline:
    """What was red already."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.data = read(Path(name))
        try:
            self._verdicts = Verdicts(self.data)
        except (KeyError, TypeError):
            raise Problem("%s: not a baseline and not the results of a run" % name) from None

    def red(self, image: str, identity: str, target: str, kind: Tuple[str, str]) -> bool:
        key = (image, identity)
        pair: Optional[str] = self._verdicts.match(key, [target], {target: kind}).get(target)
        return pair is not None and self._verdicts.found[key][pair] in RED


def save_baseline(path: Path, data: Dict[str, Any]) -> None:
    """A line a verdict, sorted, so that a diff of two baselines is read easily."""
    verdicts = Verdicts(data).found
    points = [{"id": identity, "image": image, "target": target, "verdict": verdict}
              for (image, identity), by_target in verdicts.items() for target, verdict in by_target.items()]
    points.sort(key=lambda point: (point["id"], point["image"], point["target"]))
    targets = [{key: target[key] for key in ("name", "backend", "version", "cpu")} for target in data["target"]]
    lines = ['{"format": %d, "target": %s, "points": [' % (FORMAT, json.dumps(targets))]
    lines.append(",\n".join(json.dumps(point) for point in points))
    try:
        path.write_text("\n".join(lines) + "\n]}\n", encoding="utf-8")
    except OSError as error:
        raise Problem("%s: %s" % (path, error.strerror)) from None
