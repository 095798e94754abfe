# SPDX-License-Identifier: BSD-2-Clause
"""Files of [SECTION] and KEY = VALUE: unittests.cfg, targets.cfg. Whatever is not understood is a Problem with file and line."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Callable, Dict, List, Mapping, Sequence

from .errors import Problem


@dataclass(frozen=True)
class Block:
    """One section: its keys are those that it has, as they were parsed."""

    name: str
    line: int
    values: Dict[str, object] = field(default_factory=dict)


def parse(text: str, name: str, keys: Mapping[str, Callable[[str], object]], may_be_empty: Sequence[str] = (),
          elsewhere: Mapping[str, str] = {}) -> List[Block]:
    """The sections in their order. A key's function raises ValueError with what is wrong with the value.

    elsewhere: keys of other programs, and what to say of them."""
    blocks: List[Block] = []
    first_lines: Dict[str, int] = {}
    lines: Dict[str, int] = {}

    def complain(line: int, what: str) -> Problem:
        return Problem("%s:%d: %s" % (name, line, what))

    for number, raw in enumerate(text.splitlines(), 1):
        line = re.sub(r"(^|\s+)#.*$", "", raw.strip())
        if not line:
            continue
        header = re.fullmatch(r"\[([^\]]*)\]", line)
        if header:
            title = header.group(1).strip()
            if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", title):
                raise complain(number, "`[%s]` is no name for a section: use letters, digits, '_', '-', '.'" % title)
            if title in first_lines:
                raise complain(number, "section [%s] is already in line %d: give one of them another name"
                               % (title, first_lines[title]))
            first_lines[title] = number
            lines = {}
            blocks.append(Block(title, number))
            continue
        key, equals, value = (part.strip() for part in line.partition("="))
        if not equals:
            raise complain(number, "`%s` is neither [SECTION] nor KEY = VALUE" % line)
        if not blocks:
            raise complain(number, "`%s` stands before the first [SECTION]" % key)
        if key not in keys:
            raise complain(number, "unknown key `%s`%s" % (key, ": " + elsewhere[key] if key in elsewhere else _suggest(key, keys)))
        if key in lines:
            raise complain(number, "`%s` is already set in line %d: remove one of them" % (key, lines[key]))
        if not value and key not in may_be_empty:
            raise complain(number, "`%s` has no value: give one, or remove the line" % key)
        try:
            blocks[-1].values[key] = keys[key](value)
        except ValueError as error:
            raise complain(number, "bad value `%s` for %s: %s" % (value, key, error)) from None
        lines[key] = number
    return blocks


def _suggest(key: str, keys: Mapping[str, object]) -> str:
    import difflib  # start-up time: only where there is a mistake

    close = difflib.get_close_matches(key, keys, 1)
    if close:
        return ": did you mean `%s`?" % close[0]
    return ": the keys are %s" % ", ".join(keys)
