# SPDX-License-Identifier: BSD-2-Clause
"""Colours, where they are wanted."""

from __future__ import annotations

import os
from typing import IO

from .verdict import CRASH, FAIL, FLAKY, HANG, KNOWN, MISSING, NOT_RUN, PASS, SKIP

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}
VERDICT_COLORS = {PASS: "green", FAIL: "red", CRASH: "red", HANG: "red", MISSING: "red", SKIP: "blue", KNOWN: "yellow", FLAKY: "red", NOT_RUN: "blue"}


def is_terminal(out: IO[str]) -> bool:
    return out.isatty() and os.environ.get("TERM", "dumb") != "dumb"


class Style:
    """style.red("text"): with colours or as it is."""

    def __init__(self, colored: bool = False) -> None:
        self.colored = colored

    @classmethod
    def of(cls, out: IO[str], when: str = "auto") -> "Style":
        return cls(when == "always" or when == "auto" and is_terminal(out) and not os.environ.get("NO_COLOR"))

    def paint(self, text: str, *names: str) -> str:
        if not self.colored or not text:
            return text
        return "\x1b[%sm%s\x1b[0m" % (";".join(_CODES[name] for name in names), text)

    def verdict(self, verdict: str, text: str = "") -> str:
        return self.paint(text or verdict, VERDICT_COLORS[verdict])
