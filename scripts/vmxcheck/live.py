# SPDX-License-Identifier: BSD-2-Clause
"""The progress line on a terminal: images, points, failures, what runs, how long it took and may still take."""

from __future__ import annotations

import os
import time
from typing import IO, Dict, List, Optional, Tuple

from .output import emit
from .style import Style

CLEAR = "\r\x1b[K"


class Live:
    """One line at the bottom, drawn again and again. Whoever prints something else begins with cleared()."""

    def __init__(self, out: IO[str], style: Style, images: int, points: int, parallel: int,
                 expected: Dict[Tuple[str, str], float]) -> None:
        self._out = out
        self._style = style
        self._images, self._points, self._parallel = images, points, parallel
        self._expected = expected  # seconds of (image, id) in an earlier run
        self._left = sum(expected.values())
        self._started = time.monotonic()
        self._drawn = False
        self.images_done = self.points_done = self.failures = 0

    def more(self, images: int, points: int) -> None:
        """What nobody knew of at the start."""
        self._images += images
        self._points += points

    def cleared(self) -> str:
        self._drawn, drawn = False, self._drawn
        return CLEAR if drawn else ""

    def point(self, key: Tuple[str, str], failed: bool) -> None:
        self.points_done += 1
        self.failures += failed
        self._left -= self._expected.pop(key, 0.0)

    def estimate(self, elapsed: float) -> Optional[float]:
        """Seconds that are still to come: by the last run's durations, or by the pace so far; None: too early."""
        if self._left > 0.05:
            return self._left / max(1, min(self._parallel, self._images - self.images_done))
        return elapsed * (self._points - self.points_done) / self.points_done if self.points_done else None

    def text(self, running: List[str]) -> str:
        elapsed = time.monotonic() - self._started
        failed, left = "%d failed" % self.failures, self.estimate(elapsed)
        parts = ["%d/%d images" % (self.images_done, self._images), "%d/%d points" % (self.points_done, self._points),
                 failed, _clock(elapsed) + (", about %s left" % _clock(left) if left is not None else "")]
        line = " · ".join(parts) + "  " + " ".join(running)
        columns = max(20, _columns(self._out))
        line = line if len(line) < columns else line[:columns - 2] + "…"
        return line.replace(failed, self._style.paint(failed, "red")) if self.failures else line

    def draw(self, running: List[str]) -> None:
        emit(self._out, CLEAR + self.text(running), "")
        self._drawn = True

    def end(self) -> None:
        emit(self._out, self.cleared(), "")


def _columns(out: IO[str]) -> int:
    try:
        return os.get_terminal_size(out.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return "%d s" % whole if whole < 100 else "%d:%02d min" % divmod(whole, 60)
