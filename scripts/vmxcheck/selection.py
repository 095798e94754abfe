# SPDX-License-Identifier: BSD-2-Clause
"""Which tests of which image run, and the words on the image's command line that say so."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Dict, Iterable, List, Optional, Sequence, Set, Tuple

from .config import Section
from .errors import NothingToTest, Problem
from .images import LONGEST_COMMAND_LINE, Image

ROOM_FOR_RESTART = 160  # "after=ID" is added when an image is started again behind a crash


@dataclass
class Selected:
    """A section, and those of its tests that were asked for."""

    section: Section
    image: Image
    available: Dict[str, str]
    wanted: Dict[str, str]
    named: Set[str] = field(default_factory=set)  # the ids of all tests that the command line has whole


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
        self.named = set(patterns) & set(ids)
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


def command_lines(arguments: str, available: Dict[str, str], wanted: Iterable[str], extra: str = "",
                  everything: Iterable[str] = (), left_out: Sequence[str] = ()) -> List[List[str]]:
    """Split the wanted tests into boots: each is [command line, id, id, ...].

    All tests that the section has: its own words suffice, in one boot. Otherwise the ids are named, and a
    list that is too long for a command line takes more than one boot. `everything`: all tests of the image.
    left_out: of the wanted ones, those that no boot shall run; no boot if these are all.
    """
    count = len(list(wanted))
    wanted = [identity for identity in wanted if identity not in left_out]
    if not wanted:
        return []
    base = " ".join(arguments.split() + extra.split())
    if left_out:
        skip = "skip=" + ",".join(_value(base, "skip") + list(left_out))
        base = " ".join([word for word in base.split() if not word.startswith("skip=")] + [skip])
    if count == len(available):
        if len(base) <= LONGEST_COMMAND_LINE - ROOM_FOR_RESTART:
            return [[base, *wanted]]
        if not left_out:
            raise Problem("the arguments are too long for an image's command line: %s..." % base[:60])
    words = [word for word in base.split() if not word.startswith(("run=", "skip="))]
    room = LONGEST_COMMAND_LINE - ROOM_FOR_RESTART - len(" ".join(words + ["run="]))
    boots: List[List[str]] = []
    patterns: List[str] = []
    ids: List[str] = []
    for pattern, named in _short_patterns(wanted, everything or available):
        if patterns and len(",".join(patterns + [pattern])) > room:
            boots.append([" ".join(words + ["run=" + ",".join(patterns)]), *ids])
            patterns, ids = [], []
        patterns.append(pattern)
        ids += named
    boots.append([" ".join(words + ["run=" + ",".join(patterns)]), *ids])
    return boots


def _short_patterns(wanted: Iterable[str], everything: Iterable[str]) -> List[Tuple[str, List[str]]]:
    """(pattern, the ids that it stands for): FRONT.* where all of the image's tests with this front are wanted."""
    left = list(wanted)
    others = set(everything) - set(left)
    found: List[Tuple[str, List[str]]] = []
    while left:
        identity = left[0]
        pattern, named = identity, [identity]
        parts = identity.split(".")
        for depth in range(1, len(parts)):
            front = ".".join(parts[:depth]) + "."
            if not any(other.startswith(front) for other in others):
                same = [i for i in left if i.startswith(front)]
                if len(same) > 1:
                    pattern, named = front + "*", same
                break
        found.append((pattern, named))
        left = [i for i in left if i not in named] if len(named) > 1 else left[1:]
    return found


def select(sections: List[Section], images: Dict[str, Image], patterns: List[str], groups: List[str], names: List[str],
           only: Optional[Set[str]] = None, pairs: Optional[Set[Tuple[str, str]]] = None) -> List[Selected]:
    """The sections and tests that the command line asks for; NothingToTest if that is none.

    only: no other ids; pairs: no others than these (section, id)."""
    again = {section for section, _ in pairs or ()}
    chosen = [s for s in sections if s.by_default or names or set(groups) & s.groups or s.name in again]
    for group in groups:
        if not any(group in s.groups for s in sections):
            have = sorted(set().union(*(s.groups for s in sections)))
            raise NothingToTest("no section has the group `%s`%s" % (group, "; there are: " + ", ".join(have) if have else ""))
    for name in names:
        if not any(fnmatchcase(s.name, name) for s in sections):
            raise NothingToTest("no section is called `%s`; there are: %s" % (name, ", ".join(s.name for s in sections)))
    if groups:
        chosen = [s for s in chosen if s.groups & set(groups)]
    if names:
        chosen = [s for s in chosen if any(fnmatchcase(s.name, name) for name in names)]
    found = []
    for section in chosen:
        image = images[section.file]
        available = configured(image.tests, section.arguments)
        if not available:
            raise Problem("unittests.cfg:%d: [%s] has no test: its arguments leave none of image `%s`"
                          % (section.line, section.name, section.file))
        found.append(Selected(section, image, available, available))
    pattern_set = PatternSet(patterns, [identity for s in found for identity in s.available])
    for selected in found:
        wanted = pattern_set.filter(selected.available)
        selected.wanted = {identity: title for identity, title in wanted.items()
                           if (only is None or identity in only)
                           and (pairs is None or (selected.section.name, identity) in pairs)}
        selected.named = pattern_set.named
    found = [s for s in found if s.wanted]
    if not found:
        raise NothingToTest("nothing is selected")
    return found
