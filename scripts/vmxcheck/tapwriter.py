# SPDX-License-Identifier: BSD-2-Clause
"""--tap: all points as one TAP 13 stream."""

from __future__ import annotations

from typing import IO, Dict

from .output import emit
from .results import Point
from .verdict import KNOWN, NOT_RUN, SKIP


class TapWriter:
    """One TAP 13 stream of all images. The plan comes last, so a stream that is cut off fails by itself."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._number = 0
        emit(out, "TAP version 13")

    def point(self, point: Point) -> None:
        self._number += 1
        name = "%s: %s" % (point.id, point.title) if point.title else point.id
        line = "%s %d - %s" % ("not ok" if point.red or point.verdict in (KNOWN, NOT_RUN) else "ok", self._number, _escape(name))
        if point.verdict == SKIP:
            line += " # SKIP " + _one_line(point.reason)
        elif point.verdict == KNOWN:
            line += " # TODO " + _one_line(point.known)
        elif point.old:
            line += " # TODO red in the baseline too"
        elif point.allowed:
            line += " # TODO flaky"
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
