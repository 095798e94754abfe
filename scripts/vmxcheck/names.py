# SPDX-License-Identifier: BSD-2-Clause
"""Names of checks, `CASE | CHECK`, and the patterns that stand for many of them in spec/known (the README there).

A pattern is a name with, at any place of it:

  *            any text
  {#}          any number
  {a,b,0-7}    one of these words and numbers; A-B: all from A to B; 1<<A-B: those with one of the bits A to B alone set

and a \\ in front of a character of a name that is one of * { } \\. A number is what a C programmer takes for one, 10 or 0xa;
a word is letters, digits and _. compact() makes from many names the fewest patterns that it can, which stand for just these.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import product
from typing import Dict, FrozenSet, Iterable, List, Optional, Sequence, Set, Tuple, Union

MOST_VALUES = 40  # in the braces of a pattern that compact() makes: more are any number
MOST_PATTERNS = 40  # that it makes of the names of one test, if that can be done
MOST_EXPANDED = 50000
LOWEST_PLACE, HIGHEST_PLACE, MOST_BITS_OF_A_PLACE = 0x100000, 0x4000000, 14  # where images lie (lib/boot/image.ld) and what they allocate
ANY = "#"
_WORD = re.compile(r"[A-Za-z0-9_]+")
_TOKEN = re.compile(r"[A-Za-z0-9_]+|.")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,19}|0x[1-9a-f][0-9a-f]{0,15}")
_ITEM = re.compile(r"(?:(?P<power>1<<)?(?P<first>0x[0-9a-f]+|[0-9]+)-(?P<last>0x[0-9a-f]+|[0-9]+)|(?P<word>[A-Za-z0-9_]+))$")


class _Set:
    """What braces stand for."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.any = text == ANY
        self.words: Set[str] = set()
        self.powers: List[Tuple[int, int]] = []
        self.ranges: List[Tuple[int, int, bool]] = []  # and whether it is written in hex
        for item in [] if self.any else text.split(","):
            match = _ITEM.match(item)
            if not match:
                raise ValueError("`{%s}`: in braces are words, numbers, A-B and 1<<A-B, joined by commas, or # alone" % text)
            if match["word"]:
                value = number(item)
                if value is None:
                    self.words.add(item)
                else:
                    self.ranges.append((value, value, item.startswith("0x")))
                continue
            first, last = int(match["first"], 0), int(match["last"], 0)
            if first > last or match["power"] and last > 63:
                raise ValueError("`{%s}`: `%s` has nothing in it" % (text, item))
            if match["power"]:
                self.powers.append((first, last))
            else:
                self.ranges.append((first, last, match["last"].startswith("0x")))

    def has(self, word: str) -> bool:
        value = number(word)
        if value is None:
            return word in self.words
        return self.any or any(first <= value <= last for first, last, _ in self.ranges) or any(
            value == 1 << bit for first, last in self.powers for bit in range(first, last + 1))

    def size(self) -> int:
        return len(self.words) + sum(last - first + 1 for first, last, _ in self.ranges) + sum(last - first + 1 for first, last in self.powers)

    def all(self) -> List[str]:
        found = set(self.words)
        for first, last, in_hex in self.ranges:
            found |= {_written(value, in_hex) for value in range(first, last + 1)}
        found |= {hex(1 << bit) for first, last in self.powers for bit in range(first, last + 1)}
        return sorted(found)


def _written(value: int, in_hex: bool) -> str:
    return hex(value) if in_hex and value else str(value)


_ANY_NUMBER = "any number"  # in the sets of words of compact(); no word has a blank
_STAR = object()
_Part = Union[str, _Set, object]


def number(word: str) -> Optional[int]:
    return int(word, 0) if _NUMBER.fullmatch(word) else None


class Pattern:
    def __init__(self, text: str) -> None:
        """ValueError: it is none."""
        self.text = text
        self._parts: List[_Part] = []
        literal, at = "", 0
        while at < len(text):
            if text[at] == "\\" and at + 1 < len(text):
                literal += text[at + 1]
                at += 2
                continue
            if text[at] in "*{":
                self._parts += [literal] if literal else []
                literal = ""
            if text[at] == "*":
                self._parts.append(_STAR)
            elif text[at] == "{":
                end = text.find("}", at)
                if end < 0:
                    raise ValueError("`%s`: a { without its }; \\{ stands for itself" % text)
                self._parts.append(_Set(text[at + 1:end]))
                at = end
            elif text[at] == "}":
                raise ValueError("`%s`: a } without its {; \\} stands for itself" % text)
            else:
                literal += text[at]
            at += 1
        self._parts += [literal] if literal else []

    def matches(self, name: str) -> bool:
        return self._match(0, name, 0)

    def _match(self, first: int, name: str, at: int) -> bool:
        for place in range(first, len(self._parts)):
            part = self._parts[place]
            if part is _STAR:
                return any(self._match(place + 1, name, later) for later in range(at, len(name) + 1))
            if isinstance(part, _Set):
                word = _WORD.match(name, at)
                if not word or not part.has(word.group(0)):
                    return False
                at = word.end()
            else:
                assert isinstance(part, str)
                if not name.startswith(part, at):
                    return False
                at += len(part)
        return at == len(name)

    def expand(self) -> Optional[List[str]]:
        """All names that it stands for; None: nobody can tell, or they are too many."""
        choices: List[List[str]] = []
        size = 1
        for part in self._parts:
            if part is _STAR or isinstance(part, _Set) and part.any:
                return None
            size *= part.size() if isinstance(part, _Set) else 1
            if size > MOST_EXPANDED:
                return None
            choices.append(part.all() if isinstance(part, _Set) else [str(part)])
        return ["".join(parts) for parts in product(*choices)]


@lru_cache(maxsize=None)
def pattern(text: str) -> Pattern:
    return Pattern(text)


def escape(text: str) -> str:
    return re.sub(r"([*{}\\])", r"\\\1", text)


# ---- many names as few patterns

_Row = Tuple[FrozenSet[str], ...]  # a set of words at each place


def compact(names: Iterable[str]) -> List[str]:
    shapes: Dict[Tuple[str, ...], Set[_Row]] = {}
    for name in names:
        tokens = _TOKEN.findall(name)
        shape = tuple("" if _WORD.match(token) else token for token in tokens)
        shapes.setdefault(shape, set()).add(tuple(frozenset((_ANY_NUMBER if _is_place(token) else token,)) for token in tokens))
    groups = [_merge(rows) for rows in shapes.values()]
    while sum(map(len, groups)) > MOST_PATTERNS:
        groups.sort(key=len, reverse=True)
        simpler = _simpler(groups[0])
        if simpler is None:
            break
        groups[0] = simpler
    return sorted("".join(map(_render, row)) for rows in groups for row in rows)


def _is_place(token: str) -> bool:
    """An address of something in an image, which the next compiler puts elsewhere, and neither a bit nor a mask."""
    value = number(token)
    return (value is not None and token.startswith("0x") and LOWEST_PLACE <= value < HIGHEST_PLACE and
            1 < bin(value).count("1") <= MOST_BITS_OF_A_PLACE)


def _merge(rows: Iterable[_Row]) -> List[_Row]:
    """The same names in fewer rows: those that differ at one place only are one, until none are."""
    found = [_widened(row) for row in rows]
    places = _places(found)
    before = -1
    while before != len(found):
        before = len(found)
        for place in places:
            joined: Dict[_Row, Set[str]] = {}
            for row in found:
                joined.setdefault(row[:place] + row[place + 1:], set()).update(row[place])
            found = list({_widened(key[:place] + (frozenset(words),) + key[place:]) for key, words in joined.items()})
    return sorted(found, key=lambda row: [sorted(words) for words in row])


def _places(rows: Sequence[_Row]) -> List[int]:
    """Where rows differ; where most words are first."""
    numbers = {place: len({row[place] for row in rows}) for place in range(len(rows[0]))}
    return sorted((place for place, count in numbers.items() if count > 1), key=lambda place: (-numbers[place], -place))


def _widened(row: _Row) -> _Row:
    return tuple(frozenset((_ANY_NUMBER,)) if _ANY_NUMBER in words or len(words) > MOST_VALUES and all(number(word) is not None for word in words)
                 and _render(words).count(",") >= MOST_VALUES else words for words in row)


def _simpler(rows: List[_Row]) -> Optional[List[_Row]]:
    """Any number at the place that has most numbers; None: there is no such place."""
    for place in _places(rows):
        if any(row[place] != frozenset((_ANY_NUMBER,)) and all(number(word) is not None for word in row[place]) for row in rows):
            return _merge([row[:place] + (frozenset((_ANY_NUMBER,)),) + row[place + 1:]
                           if all(word == _ANY_NUMBER or number(word) is not None for word in row[place]) else row for row in rows])
    return None


def _render(words: FrozenSet[str]) -> str:
    if words == frozenset((_ANY_NUMBER,)):
        return "{%s}" % ANY
    if len(words) == 1:
        return escape(next(iter(words)))
    numbers = {word for word in words if number(word) is not None}
    in_hex = any(word.startswith("0x") for word in numbers)
    decimal = {int(word) for word in numbers if not word.startswith("0x") and not (in_hex and word == "0")}
    items = sorted(words - numbers)
    items += _ranges(decimal, False)
    items += _ranges({int(word, 0) for word in numbers} - decimal if in_hex else set(), True)
    return "{%s}" % ",".join(items)


def _ranges(values: Set[int], in_hex: bool) -> List[str]:
    bits = sorted(value.bit_length() - 1 for value in values if in_hex and value and not value & (value - 1))
    runs = [run for run in _runs(bits) if run[1] - run[0] > 2 and not _all_there(values, 1 << run[0], 1 << run[1])]
    powers = {1 << bit for first, last in runs for bit in range(first, last + 1)}
    items = [("1<<%d-%d" % run, 1 << run[0]) for run in runs]
    for first, last in _runs(sorted(values - powers)):
        whole = range(first, last + 1)
        texts = ["%s-%s" % (_written(first, in_hex), _written(last, in_hex))] if len(whole) > 2 else [_written(v, in_hex) for v in whole]
        items += [(text, first) for text in texts]
    return [text for text, _ in sorted(items, key=lambda item: item[1])]


def _all_there(values: Set[int], first: int, last: int) -> bool:
    return last - first < len(values) and all(value in values for value in range(first, last + 1))


def _runs(values: List[int]) -> List[Tuple[int, int]]:
    runs: List[Tuple[int, int]] = []
    for value in values:
        if runs and value == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], value)
        else:
            runs.append((value, value))
    return runs
