# SPDX-License-Identifier: BSD-2-Clause
"""spec/advisories.tsv: security advisories, and the tests that cover them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence, Set, Tuple

from . import table
from .errors import NothingToTest, Problem
from .paths import TOP
from .verdict import KNOWN, PASS, RED, SKIP

COLUMNS = ("ids", "product", "wrong", "covered", "tests", "how", "source")
RULE, TEST, NONE = "rule", "test", "none"
PASSING, FAILING, DEVIATING, SKIPPED, NOT_RUN, NOT_COVERED = "passing", "failing", "known deviation", "skipped", "not run", "not covered"
STATES = (PASSING, FAILING, DEVIATING, SKIPPED, NOT_RUN, NOT_COVERED)


@dataclass(frozen=True)
class Advisory:
    ids: Tuple[str, ...]
    product: str
    wrong: str
    covered: str
    tests: Tuple[str, ...]
    how: str
    source: str


def read(path: Path = TOP / "spec" / "advisories.tsv") -> List[Advisory]:
    found = []
    for ids, product, wrong, covered, tests, how, source in table.read(path, *COLUMNS):
        if covered not in (RULE, TEST, NONE) or (tests == "-") != (covered == NONE):
            raise Problem("%s: %s: covered is rule or test, and names tests, or none and names none" % (path.name, ids))
        found.append(Advisory(tuple(ids.split()), product, wrong, covered, tuple(tests.split(",")) if tests != "-" else (), how, source))
    return found


def select(wanted: Sequence[str], known: Sequence[Advisory]) -> Set[str]:
    """The tests of --advisory ID[,ID]."""
    found: Set[str] = set()
    for identity in (word for words in wanted for word in words.split(",")):
        named = [one for one in known if identity.upper() in one.ids]
        if not named:
            raise NothingToTest("spec/advisories.tsv has no `%s`; `advisories` names those that there are" % identity)
        if not named[0].tests:
            raise NothingToTest("%s has no test: %s" % (identity, named[0].how))
        found.update(named[0].tests)
    return found


def state(one: Advisory, verdicts: Mapping[str, Set[str]]) -> str:
    """Of all its tests, on all targets of a run."""
    seen = {verdict for test in one.tests for verdict in verdicts.get(test, ())}
    if not one.tests:
        return NOT_COVERED
    if seen & RED:
        return FAILING
    if any(test not in verdicts for test in one.tests):
        return NOT_RUN
    return DEVIATING if KNOWN in seen else PASSING if PASS in seen else SKIPPED if SKIP in seen else NOT_RUN


def states(points: Sequence[Mapping[str, Any]], known: Sequence[Advisory]) -> List[Tuple[str, Advisory]]:
    """Each with its state, by the points of a run."""
    verdicts: Dict[str, Set[str]] = {}
    for point in points:
        verdicts.setdefault(point["id"], set()).add(point["verdict"])
    return [(state(one, verdicts), one) for one in known]


def text(data: Mapping[str, Any], known: Sequence[Advisory], verbose: bool) -> str:
    found = states(data.get("points", []), known)
    width = max(len(name) for name in STATES)
    out = []
    for name, one in found:
        out.append("%s  %s: %s (%s)" % (name.ljust(width), " ".join(one.ids), one.wrong, one.product))
        if verbose:
            out += [" " * width + "  " + line for line in (("tests: " + " ".join(one.tests)) if one.tests else "", "how: " + one.how) if line]
    counts = ["%d %s" % (sum(name == kind for name, _ in found), kind) for kind in STATES]
    covered = sum(bool(one.tests) for one in known)
    return "\n".join(out + ["%d advisories: %d covered; %s" % (len(known), covered, ", ".join(counts)),
                            "run: %s" % data["run"] if data else "no run is there: `--advisory ID` makes one"])
