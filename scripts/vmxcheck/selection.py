# SPDX-License-Identifier: BSD-2-Clause
"""Which tests of which image run, and the words on the image's command line that say so."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Dict, Iterable, List, Optional, Sequence, Set, Tuple

from .config import Section
from .errors import NothingToTest, Problem
from .images import LONGEST_COMMAND_LINE, Image

MOST_READ = 80  # characters of tests= that a person may read in a log
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
    so that the command that repeats a test repeats no other. The name of a section of unittests.cfg selects all of it, beside the
    ids that it is the front of.
    """

    def __init__(self, patterns: Sequence[str], all_ids: Iterable[str], sections: Sequence[str] = ()) -> None:
        self._whole: Set[str] = set()
        ids = list(dict.fromkeys(all_ids))
        self.everything = not patterns
        self._wanted = set(ids) if not patterns else set()
        self.named = set(patterns) & set(ids)
        for pattern in patterns:
            found = [i for i in ids if fnmatchcase(i, pattern)] if is_glob(pattern) else [i for i in ids if i == pattern]
            if not found and not is_glob(pattern):
                found = [i for i in ids if i.startswith(pattern + ".")]
            named = [] if pattern in self.named else [name for name in sections if fnmatchcase(name, pattern)]
            if not is_glob(pattern) or not found:
                self._whole.update(named)
            if not found and not named:
                raise NothingToTest("no test matches `%s`%s; --list names all tests" % (pattern, _near(pattern, [*ids, *sections])))
            self._wanted.update(found)

    def filter(self, tests: Dict[str, str], section: str = "") -> Dict[str, str]:
        return {identity: title for identity, title in tests.items() if identity in self._wanted or section in self._whole}


def _near(pattern: str, names: Sequence[str]) -> str:
    import difflib  # start-up time: only where there is a mistake

    close = difflib.get_close_matches(pattern, names, 3) or [name for name in names if pattern.strip("*") in name][:3]
    return ": did you mean %s?" % " or ".join("`%s`" % name for name in close) if close else ""


def _value(arguments: str, key: str) -> List[str]:
    """The patterns of the last word KEY=... (the one that counts in the image)."""
    found = [word[len(key) + 1:] for word in arguments.split() if word.startswith(key + "=")]
    return found[-1].split(",") if found else []


CHOOSING = ("tests=", "run=", "skip=")  # the words that choose tests


def configured(tests: Dict[str, str], arguments: str) -> Dict[str, str]:
    """The tests that these words leave: run= and skip= of a section, or of a person; tests= of a command line of ours."""
    run, skip = _value(arguments, "run"), _value(arguments, "skip")
    chosen = None if not _value(arguments, "tests") else _numbered(",".join(_value(arguments, "tests")), len(tests))
    return {
        identity: title
        for place, (identity, title) in enumerate(tests.items())
        if (not run or any(fnmatchcase(identity, p) for p in run) if chosen is None else place in chosen)
        and not any(fnmatchcase(identity, p) for p in skip)
    }


def command_lines(arguments: str, available: Dict[str, str], wanted: Iterable[str], extra: str = "",
                  everything: Iterable[str] = (), left_out: Sequence[str] = ()) -> List[List[str]]:
    """The boots that run the wanted tests: [[command line, id, id, ...]].

    An image is told the numbers of its tests: what a pattern stands for is decided here alone, by the section's own run= and
    skip= words too. `everything`: all tests of the image, in its order. left_out: of the wanted ones, those that no boot
    shall run; no boot if these are all.
    """
    chosen = set(wanted)
    ids = [identity for identity in wanted if identity not in left_out]
    if not ids:
        return []
    words = [word for word in (arguments + " " + extra).split() if not word.startswith(CHOOSING)]
    tests = list(everything or available)
    if len(chosen) < len(tests):
        words.append("tests=" + numbers([n for n, identity in enumerate(tests) if identity in chosen]))
    if left_out:
        words.append("skip=" + ",".join(left_out))
    line = " ".join(words)
    if len(line) > LONGEST_COMMAND_LINE - ROOM_FOR_RESTART:
        raise Problem("the arguments are too long for an image's command line: %s..." % line[:60])
    return [[line, *ids]]


def numbers(places: Sequence[int]) -> str:
    """What tests= takes: "4,7-9", or, where that is long, x and a hex digit for each four tests, the lowest bit first."""
    ranges: List[List[int]] = []
    for place in places:
        if ranges and place == ranges[-1][1] + 1:
            ranges[-1][1] = place
        else:
            ranges.append([place, place])
    text = ",".join("%d" % first if first == last else "%d-%d" % (first, last) for first, last in ranges)
    if len(text) <= MOST_READ:
        return text
    digits = [0] * (places[-1] // 4 + 1)
    for place in places:
        digits[place // 4] |= 1 << place % 4
    return min(text, "x" + "".join("%x" % digit for digit in digits), key=len)


def _numbered(text: str, count: int) -> Set[int]:
    """The places below count that a value of tests= stands for; none where it is no such value."""
    if re.fullmatch("x[0-9a-f]+", text):
        return {4 * n + bit for n, digit in enumerate(text[1:]) for bit in range(4) if int(digit, 16) >> bit & 1}
    if not re.fullmatch(r"(\d{1,9}(-\d{1,9})?(,|$))+", text) or text.endswith(","):
        return set()
    ranges = [item.partition("-") for item in text.split(",")]
    return {place for first, _, last in ranges for place in range(int(first), min(int(last or first), count - 1) + 1)}


def select(sections: List[Section], images: Dict[str, Image], patterns: List[str], groups: List[str], names: List[str],
           only: Optional[Set[str]] = None, pairs: Optional[Set[Tuple[str, str]]] = None) -> List[Selected]:
    """The sections and tests that the command line asks for; NothingToTest if that is none.

    only: no other ids; pairs: no others than these (section, id)."""
    again = {section for section, _ in pairs or ()}
    chosen = [s for s in sections if s.by_default or names or set(groups) & s.groups or s.name in again or s.name in patterns]
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
    pattern_set = PatternSet(patterns, [identity for s in found for identity in s.available], [s.section.name for s in found])
    for selected in found:
        wanted = pattern_set.filter(selected.available, selected.section.name)
        selected.wanted = {identity: title for identity, title in wanted.items()
                           if (only is None or identity in only)
                           and (pairs is None or (selected.section.name, identity) in pairs)}
        selected.named = pattern_set.named
    found = [s for s in found if s.wanted]
    if not found:
        raise NothingToTest("nothing is selected")
    return found
