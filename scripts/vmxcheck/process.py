# SPDX-License-Identifier: BSD-2-Clause
"""Quick commands of this machine, and the words before a command that make it a well-behaved child."""

from __future__ import annotations

import subprocess
from functools import lru_cache
from typing import List, Optional


@lru_cache(maxsize=None)
def output_of(*argv: str) -> Optional[str]:
    """What a quick command such as --version prints; None if it cannot be run or does not end."""
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace")


def succeeds(*argv: str) -> bool:
    """Whether a quick command can be run and ends well."""
    try:
        return subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              timeout=10).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


@lru_cache(maxsize=None)
def dies_with_us() -> List[str]:
    """Words before a command that end it when the runner itself is killed, where the machine has them."""
    words = ["setpriv", "--pdeathsig", "KILL"]
    return words if succeeds(*words, "true") else []


@lru_cache(maxsize=None)
def without_network() -> List[str]:
    """Words before a command that give it an empty network namespace, where that is allowed."""
    for words in (["unshare", "-n"], ["unshare", "-rn"]):
        if succeeds(*words, "true"):
            return words
    return []
