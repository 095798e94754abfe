# SPDX-License-Identifier: BSD-2-Clause
"""The end of a run, from its results: what is not green, what was skipped and why, what took long, the counts."""

from __future__ import annotations

from collections import Counter
from typing import Dict, List, Tuple

from . import errata
from .report import counts_text, grouped
from .results import Point, Results
from .style import Style
from .verdict import KNOWN, NOT_RUN, PASS, SKIP

MOST_RED = 20
MOST_REASONS = 10
MOST_IMAGES = 5
MOST_NOTES = 10


def text(results: Results, fail_stale: bool, where: str, detail: int, style: Style) -> str:
    """Several lines; the last one is the one that a CI reads."""
    out: List[str] = []
    out += ["note: " + remark for remark in results.remarks]
    if detail >= 0:
        out += [""] + _red(results, style) + _unstable(results) + _skipped(results, detail > 0) + _notes(results, detail > 0)
        out += _slowest(results, style)
    if detail >= 0:
        out += errata.summary(results.as_dict(0), errata.read(), detail > 0)
    for line in results.stale:
        out.append("%s: %s: %s passed on %s; %s" % (
            style.paint("stale", "yellow"), line["where"], line["id"], line["target"],
            "remove the line (it fails this run)" if fail_stale else "remove the line"))
    known = sum(point.verdict == KNOWN for point in results.points)
    if known and detail >= 0:
        out.append("%d known deviation%s" % (known, "" if known == 1 else "s"))
    old = sum(point.old for point in results.points)
    if old:
        out.append("%d red in the baseline too, and not counted as failed" % old)
    not_run = sum(point.verdict == NOT_RUN for point in results.points)
    if not_run:
        out.append("%d not run: %s" % (not_run, results.stopped or "interrupted"))
    allowed = sum(point.allowed for point in results.points)
    if allowed:
        out.append("%d flaky, which is allowed and not counted as failed" % allowed)
    if results.interrupted:
        out.append("interrupted: what was found until then is kept")
    if detail >= 0:
        out.append("results: " + where)
        out.append("verdicts: %s; %s" % (counts_text(results.points, style) or "none", _time(results)))
    elif "not kept" in where:
        out.append("results: " + where)
    failed = any(point.fails for point in results.points)
    out.append(style.paint(results.summary_line(), "bold", "red" if failed else "green"))
    return "\n".join(out)


def _time(results: Results) -> str:
    seconds = results.as_dict(0)["seconds"] if results.seconds is None else results.seconds
    return "%d image%s in %.1f s" % (len(results.images), "" if len(results.images) == 1 else "s", seconds)


def _red(results: Results, style: Style) -> List[str]:
    red = [point for point in results.points if point.fails]
    if len(red) < 2:
        return []
    out = ["not green:"]
    for point in red[:MOST_RED]:
        out.append("  %s %s  (%s, %s)" % (style.verdict(point.verdict, point.verdict.ljust(8)), point.id, point.image,
                                          point.target or "not booted"))
    return out + (["  and %d more" % (len(red) - MOST_RED)] if len(red) > MOST_RED else [])


def _unstable(results: Results) -> List[str]:
    """With --repeat: what did not end the same way each time."""
    rounds = max([point.round for point in results.points], default=1)
    if rounds == 1:
        return []
    verdicts: "dict[tuple[str, str, str], Counter[str]]" = {}
    for point in results.points:
        verdicts.setdefault((point.id, point.image, point.target), Counter())[point.verdict] += 1
    out = ["  %s  (%s): %s" % (key[0], key[1], ", ".join("%d of %d %s" % (number, sum(counter.values()), verdict)
                                                         for verdict, number in counter.items()))
           for key, counter in verdicts.items() if len(counter) > 1]
    return ["not the same in all %d rounds:" % rounds] + out if out else ["the same in all %d rounds" % rounds]


def _skipped(results: Results, verbose: bool) -> List[str]:
    groups = sorted(grouped([p for p in results.points if p.verdict == SKIP]).items(), key=lambda item: -len(item[1]))
    out = ["skipped:"] if groups else []
    for reason, points in groups if verbose else groups[:MOST_REASONS]:
        out.append("  %4d  %s" % (len(points), reason or "no reason given"))
        out += ["        " + point.id for point in points] if verbose else []
    rest = groups[MOST_REASONS:]
    if rest and not verbose:
        out.append("  %4d  for %d other reasons (-v names all)" % (sum(len(points) for _, points in rest), len(rest)))
    return out


def _notes(results: Results, verbose: bool) -> List[str]:
    """Said once, however many images say it."""
    found = list(dict.fromkeys((note, point.id, point.target) for point in results.points for note in point.notes))
    shown = found if verbose else found[:MOST_NOTES]
    out = ["notes (neither right nor wrong):"] if found else []
    out += ["  %s  (%s, %s)" % (note, identity, target) for note, identity, target in shown]
    return out + (["  and %d more (-v shows all)" % (len(found) - len(shown))] if len(found) > len(shown) else [])


def _slowest(results: Results, style: Style) -> List[str]:
    images = sorted(results.images, key=lambda image: -float(image["seconds"]))[:MOST_IMAGES]
    if len(results.images) < 3:
        return []
    slow: Dict[Tuple[str, str], Point] = {}
    for point in results.points:
        key = (point.image, point.target)
        if point.verdict in (PASS, KNOWN) and (key not in slow or point.seconds > slow[key].seconds):
            slow[key] = point
    out = ["slowest images:"]
    for image in images:
        worst = slow.get((image["image"], image["target"]))
        out.append("  %6.2f s  %-19s %s%s" % (image["seconds"], image["image"], image["target"],
                                              style.paint(_longest(worst), "dim") if worst else ""))
    return out


def _longest(point: Point) -> str:
    return "  (%s: %.2f s)" % (point.id, point.seconds)
