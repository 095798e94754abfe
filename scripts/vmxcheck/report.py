# SPDX-License-Identifier: BSD-2-Clause
"""What people read: a line an image, the failures, the summary."""

from __future__ import annotations

import os
from collections import Counter
from typing import IO, Dict, List

from .results import Point, Results
from .verdict import FAIL, KNOWN, MISSING, PASS, RED, SKIP, VERDICTS

SHOWN_LINES = 15


def emit(out: IO[str], text: str) -> None:
    """Print at once. When the reader has gone away the run goes on, for its results; there is just nobody to tell."""
    try:
        print(text, file=out, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())


def counts_text(points: List[Point]) -> str:
    words = {PASS: "passed", FAIL: "failed", SKIP: "skipped"}
    numbers = Counter(point.verdict for point in points)
    return ", ".join("%d %s" % (numbers[v], words.get(v, v)) for v in VERDICTS if numbers[v])


class Report:
    """Writes to `out` as images come to their end."""

    def __init__(self, out: IO[str], verbose: bool) -> None:
        self._out = out
        self._verbose = verbose

    def say(self, text: str = "") -> None:
        emit(self._out, text)

    def image(self, name: str, target: str, points: List[Point], seconds: float, notes: List[str]) -> None:
        """One image has come to its end."""
        verdicts = {point.verdict for point in points}
        word = "FAIL" if verdicts & RED else "skip" if verdicts <= {SKIP} else "ok"
        self.say("%-5s %-16s %-32s %s  %.2f s" % (word, name, target or "-", counts_text(points), seconds))
        for note in notes:
            self.say("      note: " + note)
        if self._verbose:
            for point in points:
                if not point.red:
                    reason = "  (%s)" % point.reason if point.reason else ""
                    self.say("      %-5s %s: %s%s" % (point.verdict, point.id, point.title, reason))
        # A death leaves many tests missing for one reason: say it once, for the first of them.
        missing = [point for point in points if point.verdict == MISSING]
        for point in points:
            if point.red and point.verdict != MISSING:
                self._failure(point)
        for reason, group in _grouped(missing).items():
            self._failure(group[0])
            if len(group) > 1:
                names = ", ".join(point.id for point in (group[1:] if self._verbose else group[1:4]))
                self.say("      missing for the same reason: %d more (%s%s)"
                         % (len(group) - 1, names, ", ..." if len(group) > 4 and not self._verbose else ""))

    def _failure(self, point: Point) -> None:
        self.say("  %s: %s: %s" % (point.verdict, point.id, point.title))
        if point.verdict != FAIL or not point.diagnostics:  # the block of a failed test says it all
            self.say("      reason: " + point.reason)
        for line in _shortened(point.diagnostics.splitlines()):
            self.say("        " + line)
        if point.log:
            self.say("      log:    " + point.log)
        self.say("      repeat: " + point.repro)

    def summary(self, results: Results, fail_stale: bool, where: str) -> None:
        self.say()
        red = [point for point in results.points if point.red]
        if len(red) > 1:
            self.say("not green:")
            for point in red[:20]:
                self.say("  %-8s %s  (%s, %s)" % (point.verdict, point.id, point.image, point.target or "not booted"))
            if len(red) > 20:
                self.say("  and %d more" % (len(red) - 20))
        skipped = _grouped([point for point in results.points if point.verdict == SKIP])
        if skipped:
            self.say("skipped:")
        for reason, points in sorted(skipped.items(), key=lambda item: -len(item[1])):
            self.say("  %4d  %s" % (len(points), reason or "no reason given"))
            if self._verbose:
                for point in points:
                    self.say("        " + point.id)
        for line in results.stale:
            self.say("stale: %s: %s passed on %s; %s" % (
                line["where"], line["id"], line["target"],
                "remove the line (it fails this run)" if fail_stale else "remove the line"))
        known = sum(point.verdict == KNOWN for point in results.points)
        if known:
            self.say("%d known deviation%s" % (known, "" if known == 1 else "s"))
        if results.interrupted:
            self.say("interrupted: what was found until then is kept")
        self.say("results: " + where)
        self.say(results.summary_line())


def _shortened(lines: List[str]) -> List[str]:
    """The front and the end of something long; results.json and the log have all of it."""
    if len(lines) <= 2 * SHOWN_LINES:
        return lines
    return lines[:SHOWN_LINES] + ["(%d lines more)" % (len(lines) - 2 * SHOWN_LINES)] + lines[-SHOWN_LINES:]


def _grouped(points: List[Point]) -> Dict[str, List[Point]]:
    groups: Dict[str, List[Point]] = {}
    for point in points:
        groups.setdefault(point.reason, []).append(point)
    return groups


class TapWriter:
    """One TAP 13 stream of all images. The plan comes last, so a stream that is cut off fails by itself."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._number = 0
        emit(out, "TAP version 13")

    def point(self, point: Point) -> None:
        self._number += 1
        name = "%s: %s" % (point.id, point.title) if point.title else point.id
        line = "%s %d - %s" % ("not ok" if point.red or point.verdict == KNOWN else "ok", self._number, _escape(name))
        if point.verdict == SKIP:
            line += " # SKIP " + _one_line(point.reason)
        elif point.verdict == KNOWN:
            line += " # TODO " + _one_line(point.known)
        lines = [line, "  ---", "  image: " + point.image, "  target: " + _quote(point.target), "  verdict: " + point.verdict]
        if point.red or point.verdict == KNOWN:
            lines += ["  reason: " + _quote(point.reason), "  repro: " + _quote(point.repro)]
            if point.diagnostics:
                lines += ["  diagnostics: |2"] + ["    " + text for text in point.diagnostics.splitlines()]
        lines += ["  checks: %d" % point.checks, "  seconds: %.3f" % point.seconds, "  ..."]
        emit(self._out, "\n".join(lines))

    def stale(self, line: Dict[str, str]) -> None:
        self._number += 1
        emit(self._out, "not ok %d - known.%s: %s is stale: the test passed on %s"
             % (self._number, line["id"], line["where"], line["target"]))

    def end(self, interrupted: bool) -> None:
        empty = "" if self._number else " # SKIP nothing was tested"
        emit(self._out, "Bail out! interrupted" if interrupted else "1..%d%s" % (self._number, empty))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _escape(text: str) -> str:
    return _one_line(text).replace("\\", "\\\\").replace("#", "\\#")


def _quote(text: str) -> str:
    return '"%s"' % _one_line(text).replace("\\", "\\\\").replace('"', '\\"')
