# SPDX-License-Identifier: BSD-2-Clause
"""Printing, for whoever still reads."""

from __future__ import annotations

import os
import sys
from typing import IO

from .paths import PROGRAM


def emit(out: IO[str], text: str, end: str = "\n") -> None:
    """Print at once. When the reader has gone away the run goes on, for its results; there is just nobody to tell."""
    try:
        print(text, file=out, end=end, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())


def complain(what: object) -> None:
    """What went wrong, or may: not part of what was asked for."""
    print("%s: %s" % (PROGRAM, what), file=sys.stderr)
