# SPDX-License-Identifier: BSD-2-Clause
"""What people read while it runs: failures when they happen, a line an image."""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import IO, Dict, List, Optional, Set, Tuple

from . import catalogue
from .errors import Problem
from .live import Live
from .output import emit
from .paths import CATALOGUE, TOP
from .results import Point
from .style import Style
from .verdict import FAIL, MISSING, NOT_RUN, PASS, RED, SKIP, VERDICTS

SHOWN_LINES = 15
WORDS = {PASS: "passed", FAIL: "failed", SKIP: "skipped", NOT_RUN: "not run"}


def counts_text(points: List[Point], style: Style) -> str:
    numbers = Counter(point.verdict for point in points)
    return ", ".join(style.verdict(v, "%d %s" % (numbers[v], WORDS.get(v, v))) for v in VERDICTS if numbers[v])


class Report:
    """Writes to `out` as things happen. `detail`: -1 quiet, 0, 1 verbose."""

    def __init__(self, out: IO[str], detail: int = 0, style: Optional[Style] = None) -> None:
        self._out = out
        self.detail = detail
        self.style = style or Style()
        self.live: Optional[Live] = None
        self._shown: Set[Tuple[str, int, str, str, str]] = set()

    def say(self, text: str = "") -> None:
        emit(self._out, (self.live.cleared() if self.live else "") + text)

    # ---- while it runs

    def point(self, point: Point) -> None:
        """A test has come to its end."""
        if point.red:
            self._failure(point)
        elif self.detail > 0:
            reason = "  (%s)" % (point.known or point.reason) if point.known or point.reason else ""
            self.say("      %s %s: %s%s%s" % (self.style.verdict(point.verdict, point.verdict.ljust(5)), point.id, point.title,
                                              reason, self.style.paint("  [%s]" % _where(point), "dim")))

    def image(self, name: str, target: str, points: List[Point], seconds: float, notes: List[str]) -> None:
        """One image has come to its end."""
        # A death leaves many tests missing for one reason: say it once, for the first of them.
        missing = [point for point in points if point.verdict == MISSING]
        for point in points:
            if point.red and point.verdict != MISSING:
                self._failure(point)
        for group in grouped(missing).values():
            self._failure(group[0])
            if len(group) > 1:
                names = ", ".join(point.id for point in (group[1:] if self.detail > 0 else group[1:4]))
                self.say("      missing for the same reason: %d more (%s%s)"
                         % (len(group) - 1, names, ", ..." if len(group) > 4 and self.detail <= 0 else ""))
        if self.detail < 0:
            return
        verdicts = {point.verdict for point in points}
        word, color = (("FAIL", "red") if verdicts & RED else ("skip", "blue") if verdicts <= {SKIP, NOT_RUN} else ("ok", "green"))
        self.say("%s %-19s %-26s %s  %.2f s" % (self.style.paint(word.ljust(5), color), name, target or "-",
                                                counts_text(points, self.style), seconds))
        for note in notes:
            self.say("      note: " + note)

    def _failure(self, point: Point) -> None:
        key = (point.image, point.round, point.id, point.verdict, point.reason)
        if key in self._shown:
            return
        self._shown.add(key)
        if point.old:
            if self.detail > 0:
                self.say("  %s: %s: %s (in the baseline too)" % (point.verdict, point.id, point.title))
            return
        paint = self.style.paint
        self.say("  %s: %s: %s%s" % (paint(point.verdict, "red", "bold"), paint(point.id, "bold"), point.title,
                                     paint("  [%s]" % _where(point), "dim")))
        if point.verdict != FAIL or not point.diagnostics:  # the block of a failed test says it all
            self.say("      reason: " + point.reason)
        for line in shortened(point.diagnostics.splitlines()):
            self.say("        " + self._diagnostic(line))
            for source in source_lines(line):
                self.say("            " + paint(source, "cyan"))
        row = _rows().get(point.id)
        if row:
            self.say("      manual: %s" % row.requirement)
            self.say("              %s" % paint(row.section, "dim"))
        if point.log:
            self.say("      log:    " + point.log)
        self.say("      repeat: " + paint(point.repro, "bold"))

    def _diagnostic(self, line: str) -> str:
        key, colon, value = line.partition(":")
        color = {"expected": "green", "actual": "red", "exit": "yellow"}.get(key.strip(" -"))
        return key + colon + self.style.paint(value, color) if color else line


@lru_cache(maxsize=None)
def _rows() -> Dict[str, catalogue.Row]:
    """The requirements; only a run with a failure reads them."""
    try:
        return catalogue.read(CATALOGUE)
    except Problem:
        return {}


def _where(point: Point) -> str:
    return "%s%s, %s" % (point.image, "#%d" % point.round if point.round > 1 else "", point.target or "not booted")


def source_lines(line: str, top: Path = TOP) -> List[str]:
    """For the first `at: FILE:LINE` of a failure, or `in:` if that is beside the tests, the statement there; [] where the sources
    are not at hand."""
    match = re.fullmatch(r"(?:at: |in: (?=x86/))([A-Za-z0-9_./-]+):([0-9]{1,6})", line)
    if not match or ".." in match.group(1):
        return []
    first = int(match.group(2))
    try:
        text = (top / match.group(1)).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    found = []
    for number in range(first, min(first + 4, len(text) + 1)):
        found.append("%d | %s" % (number, text[number - 1].strip()))
        if text[number - 1].rstrip().endswith((";", "{", "}")):
            break
    return found


def shortened(lines: List[str]) -> List[str]:
    """The front and the end of something long; results.json and the log have all of it."""
    if len(lines) <= 2 * SHOWN_LINES:
        return lines
    return lines[:SHOWN_LINES] + ["(%d lines more)" % (len(lines) - 2 * SHOWN_LINES)] + lines[-SHOWN_LINES:]


def grouped(points: List[Point]) -> Dict[str, List[Point]]:
    groups: Dict[str, List[Point]] = {}
    for point in points:
        groups.setdefault(point.reason, []).append(point)
    return groups
