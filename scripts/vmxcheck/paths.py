# SPDX-License-Identifier: BSD-2-Clause
"""Where the suite's own files are, and where runs are kept."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import List

TOP = Path(__file__).resolve().parent.parent.parent
INSTALLED = not (TOP / "Makefile").exists()
_RUN_FILE = os.environ.get("VMXCHECK_PROGRAM", "")  # the self-extracting file that this is from
PROGRAM = os.path.basename(_RUN_FILE) or ("vmxcheck" if INSTALLED else "run_tests.sh")  # what it calls itself
CATALOGUE = TOP / "spec" / "catalogue.tsv"


def results_base(options: argparse.Namespace) -> Path:
    """An installed suite has no Makefile, and its folder is not for the user to write in."""
    return Path(options.results or (Path.cwd() if INSTALLED else TOP) / "results")


def own_command() -> List[str]:
    """What starts this runner again, for a run in a run."""
    return [sys.executable, "-S", str(TOP / "scripts" / "vmxcheck")]


def program() -> str:
    """What a command line begins with that is typed where this one was."""
    if INSTALLED:
        return _RUN_FILE or PROGRAM
    path = os.path.relpath(TOP / PROGRAM)
    return path if "/" in path else "./" + path
