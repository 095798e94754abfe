# SPDX-License-Identifier: BSD-2-Clause
"""Which tests of which image run, and the words on the image's command line that say so."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Dict, Iterable, List, Sequence

from .errors import NothingToTest, Problem
from .images import LONGEST_COMMAND_LINE

ROOM_FOR_RESTART = 160  # "after=ID" is added when an image is started again behind a crash


def is_glob(pattern: str) -> bool:
    return any(c in pattern for c in "*?[")


def split_patterns(arguments: Iterable[str]) -> List[str]:
    """Patterns may come one an argument or joined by commas."""
    patterns = [p for argument in arguments for p in argument.split(",")]
    for pattern in patterns:
        if not pattern or any(c.isspace() for c in pattern):
            raise Problem("`%s` is no pattern over test ids" % pattern)
    return patterns


class PatternSet:
    """What the user asked for, over all ids that exist.

    A pattern with *, ? or [ is a shell glob. One without is an id; if no test has that id, it is the
    front of ids up to a dot: `exit.rdtsc` selects exit.rdtsc.offset. An exact id selects that test only,
    so that the command that repeats a test repeats no other.
    """

    def __init__(self, patterns: Sequence[str], all_ids: Iterable[str]) -> None:
        ids = list(dict.fromkeys(all_ids))
        self.everything = not patterns
        self._wanted = set(ids) if not patterns else set()
        for pattern in patterns:
            found = [i for i in ids if fnmatchcase(i, pattern)] if is_glob(pattern) else [i for i in ids if i == pattern]
            if not found and not is_glob(pattern):
                found = [i for i in ids if i.startswith(pattern + ".")]
            if not found:
                raise NothingToTest("no test matches `%s`; --list names all tests" % pattern)
            self._wanted.update(found)

    def filter(self, tests: Dict[str, str]) -> Dict[str, str]:
        return {identity: title for identity, title in tests.items() if identity in self._wanted}


def _value(arguments: str, key: str) -> List[str]:
    """The patterns of the last word KEY=... (the one that counts in the image)."""
    found = [word[len(key) + 1:] for word in arguments.split() if word.startswith(key + "=")]
    return found[-1].split(",") if found else []


def configured(tests: Dict[str, str], arguments: str) -> Dict[str, str]:
    """The tests that the section's own run= and skip= words leave."""
    run, skip = _value(arguments, "run"), _value(arguments, "skip")
    return {
        identity: title
        for identity, title in tests.items()
        if (not run or any(fnmatchcase(identity, p) for p in run)) and not any(fnmatchcase(identity, p) for p in skip)
    }


def command_lines(arguments: str, available: Dict[str, str], wanted: Dict[str, str], extra: str = "") -> List[List[str]]:
    """Split the wanted tests into boots: each is [command line, id, id, ...].

    All tests that the section has: its own words suffice, in one boot. Otherwise the ids are named, and a
    list that is too long for a command line takes more than one boot.
    """
    base = " ".join(arguments.split() + extra.split())
    if len(wanted) == len(available):
        if len(base) > LONGEST_COMMAND_LINE - ROOM_FOR_RESTART:
            raise Problem("the arguments are too long for an image's command line: %s..." % base[:60])
        return [[base, *wanted]]
    words = [word for word in base.split() if not word.startswith(("run=", "skip="))]
    room = LONGEST_COMMAND_LINE - ROOM_FOR_RESTART - len(" ".join(words + ["run="]))
    boots: List[List[str]] = []
    ids: List[str] = []
    for identity in wanted:
        if ids and len(",".join(ids + [identity])) > room:
            boots.append([" ".join(words + ["run=" + ",".join(ids)]), *ids])
            ids = []
        ids.append(identity)
    boots.append([" ".join(words + ["run=" + ",".join(ids)]), *ids])
    return boots
