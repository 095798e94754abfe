# SPDX-License-Identifier: BSD-2-Clause
"""Known deviations of a target: spec/known/BACKEND.tsv (the format is in spec/known/README).

A line turns the fail of its test (or its crash or hang, where the line says so) into the verdict `known`, on the
targets that its condition names and on no other. It excuses the failing checks that it names, in the lines below it that
begin with a TAB, and the complaints of the target that it names: whatever else fails beside them is another deviation, and
the test is red. A line whose test passes where it applies is stale. A line with `run=no` keeps its test from being run there,
but where the command line names it.

A table names the versions that were tried. Another version is judged by the lines of the newest one tried that is
not newer than itself: what has been mended since is no news then, so no line is called stale.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

from . import names
from .catalogue import EXPLORED
from .errors import Problem
from .paths import PROGRAM
from .verdict import CRASH, FAIL, HANG, PASS, Outcome

VERSION_KEYS = ("version", "bochs")  # where, by a range of versions
SILICON_KEYS = ("fms", "microcode", "core", "hypervisor")  # what the image's banner says of its processor
CONDITION_KEYS = ("cpu", "smp", "image", "kvm", *VERSION_KEYS, *SILICON_KEYS)  # where
EXTENT_KEYS = ("verdict", "failed", "complaint", "run")  # how far the line goes there


Terms = Tuple[Tuple[str, Tuple[str, ...]], ...]


@dataclass(frozen=True)
class Deviation:
    """One line of a table."""

    id: str
    condition: str
    why: str
    reference: str
    where: str  # FILE:LINE
    parsed: Terms = field(default=(), compare=False)
    verdicts: Tuple[str, ...] = (FAIL,)
    most_failed: Optional[int] = None
    run: bool = True  # no: only where it is asked for by its id
    complaints: Tuple[str, ...] = ()  # globs
    checks: Tuple[str, ...] = ()  # patterns of names

    def excuses(self, outcome: Outcome) -> bool:
        return not self.not_excused(outcome)

    def not_excused(self, outcome: Outcome) -> str:
        """What it does not excuse, as a predicate of the line; "" if it excuses all."""
        if outcome.verdict not in self.verdicts:
            return "is for a " + " or ".join(self.verdicts)
        if outcome.broke_off:
            return "is for no image that gives up"
        for text in outcome.complaints:
            if not any(fnmatchcase(text, glob) for glob in self.complaints):
                return "does not name the complaint `%s`" % text
        if self.most_failed is not None and outcome.failed > self.most_failed:
            return "is for %d check%s that fail%s, not for %d" % (self.most_failed, "s"[self.most_failed == 1:],
                                                                  "s" * (self.most_failed == 1), outcome.failed)
        if not self.checks and self.most_failed is not None:
            return ""
        strange = self.unnamed(outcome.failing)
        if strange:
            more = " and %d more" % (len(strange) - 1) if len(strange) > 1 else ""
            return "does not name the check `%s`%s" % (strange[0], more)
        if outcome.unnamed and self.most_failed is None and "*" not in self.checks:
            return "excuses checks by their names, and %d failed without one" % outcome.unnamed
        return ""

    def unnamed(self, failing: Sequence[str]) -> List[str]:
        """Those that no pattern of the line stands for."""
        patterns = [names.pattern(text) for text in self.checks]
        return [name for name in dict.fromkeys(failing) if not any(pattern.matches(name) for pattern in patterns)]

    def applies(self, facts: Dict[str, str]) -> bool:
        return holds(self.parsed, facts)


def version_number(text: str) -> Tuple[int, ...]:
    """What versions are compared by: the first two numbers of "6.1.0-56-cloud-amd64"; () if it has none."""
    match = re.match(r"(\d+)\.(\d+)", text)
    return tuple(int(part) for part in match.groups()) if match else ()


_RANGE = re.compile(r"(?:(?P<one>\d+\.\d+)|<(?P<below>\d+\.\d+)|(?P<first>\d+\.\d+)\.\.(?P<last>\d+\.\d+)?)$")


def _in_range(text: str, pattern: str) -> bool:
    version, match = version_number(text), _RANGE.match(pattern)
    assert match
    if not version:
        return False
    if match["one"]:
        return version == version_number(match["one"])
    if match["below"]:
        return version < version_number(match["below"])
    return version_number(match["first"]) <= version and (not match["last"] or version <= version_number(match["last"]))


_REVISIONS = re.compile(r"(?:<(?P<below>0x[0-9a-f]+)|(?P<first>0x[0-9a-f]+)(?P<more>\.\.)?(?P<last>0x[0-9a-f]+)?)$")


def _revision_in_range(text: str, pattern: str) -> bool:
    """Revisions of microcode: one, those below one, those from one on, or from one to another, both included."""
    match = _REVISIONS.match(pattern)
    assert match
    if not re.fullmatch("0x[0-9a-f]+", text):
        return False
    if match["below"]:
        return int(text, 16) < int(match["below"], 16)
    first, last = int(match["first"], 16), match["last"]
    return first <= int(text, 16) and (int(text, 16) <= int(last, 16) if last else bool(match["more"]) or first == int(text, 16))


def _holds(key: str, pattern: str, value: str) -> bool:
    if key == "microcode":
        return _revision_in_range(value, pattern)
    return _in_range(value, pattern) if key in VERSION_KEYS else fnmatchcase(value, pattern)


def holds(terms: Terms, facts: Dict[str, str]) -> bool:
    """Is each term of a condition met?"""
    return all(any(_holds(key, pattern, value) for pattern in patterns for value in _values(key, facts)) for key, patterns in terms)


def condition(text: str) -> Terms:
    """The terms of a condition that says where, and nothing else; ValueError says what is wrong with it."""
    terms = _terms(text)
    extent = [key for key in terms if key in EXTENT_KEYS]
    if extent:
        raise ValueError("bad condition `%s`: %s says not where" % (text, extent[0]))
    return tuple(terms.items())


def _values(key: str, facts: Dict[str, str]) -> List[str]:
    """Of several (the parameters of KVM, the section and the image that its test is from) one has to be as the line says."""
    return facts.get(key, "").split() or [""]


def _terms(text: str) -> Dict[str, Tuple[str, ...]]:
    terms: Dict[str, Tuple[str, ...]] = {}
    for term in text.split(",") if text != "-" else ():
        key, equals, value = term.partition("=")
        if not equals or key not in CONDITION_KEYS + EXTENT_KEYS or key in terms or not all(value.split("|")):
            raise ValueError("bad condition `%s`: it is `-`, or KEY=GLOB[|GLOB...] joined by commas, each KEY once and one of %s"
                             % (text, ", ".join(CONDITION_KEYS + EXTENT_KEYS)))
        terms[key] = tuple(value.split("|"))
        if key in VERSION_KEYS and not all(_RANGE.match(pattern) for pattern in terms[key]):
            raise ValueError("bad condition `%s`: a version is N.N, <N.N, N.N.. or N.N..N.N" % text)
        if key == "microcode" and not all(_REVISIONS.match(pattern) for pattern in terms[key]):
            raise ValueError("bad condition `%s`: a revision of microcode is 0xN, <0xN, 0xN.. or 0xN..0xN" % text)
    return terms


def _deviation(columns: List[str], where: str) -> Deviation:
    identity, condition, why, reference = (column.strip() for column in columns)
    terms = _terms(condition)
    verdicts = terms.pop("verdict", (FAIL,))
    failed = terms.pop("failed", ())
    complaints = terms.pop("complaint", ())
    run = terms.pop("run", ("yes",))
    if not set(verdicts) <= {PASS, FAIL, CRASH, HANG} or verdicts == (PASS,):
        raise ValueError("bad condition `%s`: verdict is fail, crash or hang, and pass beside them for what comes and goes" % condition)
    if failed and not (len(failed) == 1 and failed[0].isascii() and failed[0].isdigit() and int(failed[0])):
        raise ValueError("bad condition `%s`: failed is a number of checks" % condition)
    if run != ("yes",) and (run != ("no",) or not {CRASH, HANG} & set(verdicts)):
        raise ValueError("bad condition `%s`: run=no is for a test that hangs or crashes, verdict=hang or verdict=crash" % condition)
    if run == ("no",) and set(terms) & set(SILICON_KEYS):
        raise ValueError("bad condition `%s`: run=no is decided before the image says which processor it is on (%s)"
                         % (condition, ", ".join(SILICON_KEYS)))
    return Deviation(identity, condition, why, reference, where, tuple(terms.items()), verdicts, int(failed[0]) if failed else None,
                     run == ("yes",), complaints)


def parse(text: str, name: str, whole: bool = True) -> List[Deviation]:
    lines: List[Deviation] = []
    for number, raw in enumerate(text.splitlines(), 1):
        if not raw.strip() or raw.startswith("#"):
            continue
        where = "%s:%d" % (name, number)
        try:
            if raw.startswith("\t"):
                lines[-1] = _with_check(lines[-1] if lines else None, raw.strip())
                continue
            columns = raw.split("\t")
            if len(columns) != 4 or not all(column.strip() for column in columns):
                raise ValueError("a line is id, condition, why, reference, separated by one TAB each, none of them empty")
            lines.append(_deviation(columns, where))
        except ValueError as error:
            raise Problem("%s: %s" % (where, error)) from None
    for line in lines if whole else ():
        if FAIL in line.verdicts and not line.checks and line.most_failed is None and not line.complaints:
            raise Problem("%s: it says not which checks fail: name them below it, in lines that begin with a TAB (`%s known` "
                          "makes them from results), or give failed=N or complaint=GLOB" % (line.where, PROGRAM))
    return lines


def _with_check(line: Optional[Deviation], text: str) -> Deviation:
    if line is None:
        raise ValueError("a line that begins with a TAB names checks of the line above, and there is none")
    names.pattern(text)
    return replace(line, checks=(*line.checks, text))


ANY_VERSION = "any"  # of a target whose versions nobody tells apart


def _tried(text: str, name: str) -> List[str]:
    """The versions that a table's line `# tried: N.N ...` names."""
    match = re.search(r"^# tried:(.*)$", text, re.MULTILINE)
    versions = match.group(1).split() if match else []
    if versions == [ANY_VERSION]:
        return versions
    if not versions or not all(version_number(version) for version in versions):
        raise Problem("%s: a line `# tried: VERSION...` must name the versions that its lines were tried on" % name)
    return versions


def read(path: Path, whole: bool = True, name: str = "") -> Tuple[List[Deviation], List[str]]:
    """The lines of a table, and the versions that they were tried on. Not `whole`: a line may lack its checks."""
    name = name or "spec/known/" + path.name
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        raise Problem("%s: cannot be read: %s" % (path, error)) from None
    return parse(text, name, whole), _tried(text, name)


class KnownTable:
    """The lines for one target. `version` is the one that it is judged by, and `remark` says so where that is another one."""

    def __init__(self, lines: List[Deviation], version: str = "", remark: str = "") -> None:
        self.version = version
        self.remark = remark
        self._by_id: Dict[str, List[Deviation]] = {}
        for line in lines:
            self._by_id.setdefault(line.id, []).append(line)

    @classmethod
    def load(cls, folder: Path, backend: str, version: str, whole: bool = True, path: Optional[Path] = None) -> "KnownTable":
        """What is known of that version of BACKEND: the lines of BACKEND.tsv (or of `path`), or none. Not `whole`: a line may lack its checks."""
        named, path = path, path or folder / (backend + ".tsv")
        name, number = str(named or "spec/known/" + path.name), version_number(version)
        try:
            lines, tried = read(path, whole, name)
        except FileNotFoundError:
            if named:
                raise Problem("%s: no such table of known deviations" % named) from None
            return cls([], version)
        if not version or ANY_VERSION in tried:
            return cls(lines, version)
        if any(version_number(one) == number for one in tried):
            return cls(lines, version)
        older = [one for one in tried if version_number(one) < number]
        if not older:
            return cls([], version, "nothing is known of %s %s (%s has %s): whatever deviates is red" % (
                backend, version, name, " ".join(tried)))
        nearest = max(older, key=version_number)
        return cls(lines, nearest, "%s %s was not tried: judged by what is known of %s (%s)" % (backend, version, nearest, name))

    def applying(self, test: str, facts: Dict[str, str]) -> List[Deviation]:
        """Its lines here, in their order; `facts` has keys of CONDITION_KEYS."""
        facts = {**facts, "version": self.version}
        return [line for line in self._by_id.get(test, []) if line.applies(facts)]

    def find(self, test: str, facts: Dict[str, str], outcome: Optional[Outcome] = None) -> Optional[Deviation]:
        """The line for this test here, one that excuses the outcome if there is one."""
        lines = self.applying(test, facts)
        if not lines and outcome and test.startswith(EXPLORED):
            return self._of_rows(outcome, facts)
        return next((line for line in lines if outcome and line.excuses(outcome)), lines[0] if lines else None)

    def _of_rows(self, outcome: Outcome, facts: Dict[str, str]) -> Optional[Deviation]:
        """A difference of the explorer (docs/explorer.md) counts against the lines of the rows that it names: CASE is these rows."""
        found = None
        for name in outcome.failing:
            rows = name.partition(" | ")[0].split(" or ")
            found = next((line for row in rows for line in self.applying(row, facts) if FAIL in line.verdicts), None)
            if found is None:
                return None
        return found and replace(found, verdicts=(FAIL,), most_failed=None, checks=("*",))

    def not_run(self, test: str, title: str, facts: Dict[str, str]) -> Optional[Outcome]:
        """What to report of a test that had better not be run here; None: run it."""
        line = next((line for line in self.applying(test, facts) if not line.run), None)
        if line is None:
            return None
        verdict = HANG if HANG in line.verdicts else CRASH
        return Outcome(test, title, verdict, "not run: it " + ("hangs" if verdict == HANG else "crashes"))
