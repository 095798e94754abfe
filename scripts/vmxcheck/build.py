# SPDX-License-Identifier: BSD-2-Clause
"""Make the images. Images that are older than their sources would test something else."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys

from .errors import Problem
from .paths import TOP


def make(*words: str) -> None:
    """make with these words, in the folder of the sources; Problem if it fails."""
    if not (TOP / "config.mk").exists():
        raise Problem("not configured yet: run ./configure first (./configure --install-deps installs what is missing)")
    environment = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    try:
        with open(TOP / "Makefile", "rb") as makefile:
            fcntl.flock(makefile, fcntl.LOCK_EX)  # two runs at once must not make the same files at once
            done = subprocess.run(["make", "-s", "-C", str(TOP), *words], env=environment, stdin=subprocess.DEVNULL,
                                  stdout=sys.stderr)
    except OSError as error:
        raise Problem("make cannot be run: %s" % error.strerror) from None
    if done.returncode:
        raise Problem("the images could not be built: make ended with status %d" % done.returncode)
