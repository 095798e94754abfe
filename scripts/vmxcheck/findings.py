# SPDX-License-Identifier: BSD-2-Clause
"""docs/findings.md: what is wrong with current targets, from the tables of spec/known and from spec/findings.tsv.

    make findings

A line of a table that applies to the newest version that was tried is a finding, and lines that say the same are one.
spec/findings.tsv has those that no test id stands for.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Dict, List, Tuple

from . import catalogue, known, table
from .errors import Problem
from .known import Deviation

TOP = Path(__file__).resolve().parents[2]

# The table, its target's name, how a version of it is run, and how a reason begins that is about another target's defect.
TARGETS = (
    ("bochs", "Bochs", "./run_tests.sh --backend bochs --bochs %s", ()),
    ("qemu-tcg", "QEMU TCG", "./run_tests.sh --backend qemu-tcg --qemu %s", ()),
    ("kvm", "Linux KVM, nested", "./run_tests.sh --backend kvm-on-bochs --l0-kernel %s", ("Bochs'",)),
)

HEAD = """\
# Findings

What this suite shows in current targets: %s. Made by
`make findings` from the tables of `spec/known`, which have the older versions and the exact conditions, too.
Each test is described by `./run_tests.sh explain ID`, and was read against the manual before its line was written.
"""


@dataclass
class Finding:
    """A defect, with the tests that show it."""

    why: str
    lines: List[Deviation] = field(default_factory=list)

    @property
    def ids(self) -> List[str]:
        return sorted({line.id for line in self.lines})


def applies_to(line: Deviation, version: str) -> bool:
    """On some machine with that version."""
    return replace(line, parsed=tuple(term for term in line.parsed if term[0] == "version")).applies({"version": version})


def find(lines: List[Deviation], version: str, excuses: Tuple[str, ...]) -> List[Finding]:
    findings: Dict[str, Finding] = {}
    for line in lines:
        if applies_to(line, version) and not (excuses and line.why.startswith(excuses)):
            findings.setdefault(line.why, Finding(line.why)).lines.append(line)
    return sorted(findings.values(), key=lambda finding: finding.ids)


def _options(line: Deviation) -> str:
    """Of the machine that it is seen on, where the line names one."""
    words = []
    for key, option in (("cpu", "--cpu"), ("kvm", "--kvm-param"), ("image", "--image")):
        values = [value for name, values in line.parsed if name == key for value in values if not set(value) & set("*?[")]
        words += ["%s %s" % (option, values[0])] if values else []
    return "".join(" " + word for word in words)


def _paragraph(finding: Finding, command: str, version: str, tried: List[str], rows: Dict[str, catalogue.Row]) -> str:
    line = next(line for line in finding.lines if applies_to(line, version))
    row = rows.get(line.id)
    others = [identity for identity in finding.ids if identity != line.id]
    seen = [one for one in tried if any(applies_to(line, one) for line in finding.lines)]
    text = ["### `%s`%s" % (line.id, " and %d more" % len(others) if others else ""), ""]
    if row:
        text.append("The manual: %s (%s)." % (row.requirement.rstrip("."), row.section))
    text.append("The target: %s." % line.why.rstrip("."))
    if line.reference != "-":
        text.append("Reference: %s." % line.reference.rstrip("."))
    text.append("Seen with: %s." % ", ".join(seen))
    if others:
        text.append("Also shown by: %s." % ", ".join("`%s`" % identity for identity in others))
    return "\n".join(text) + "\n\n    %s%s %s\n" % (command % version, _options(line), line.id)


def _read_others(path: Path) -> Dict[str, List[List[str]]]:
    """By table, or heading: title, what should be, what is, how to see it, versions."""
    found: Dict[str, List[List[str]]] = {}
    for target, *rest in table.read(path, "target", "title", "should", "is", "how", "versions"):
        found.setdefault(target, []).append(rest)
    return found


def _other(title: str, should: str, actual: str, how: str, versions: str) -> str:
    return "### %s\n\nShould be: %s.\nThe target: %s.\nSeen with: %s.\n\n    %s\n" % (
        title, should.rstrip("."), actual.rstrip("."), versions, how)


def text(top: Path = TOP) -> str:
    rows = catalogue.read(top / "spec" / "catalogue.tsv")
    others = _read_others(top / "spec" / "findings.tsv")
    parts, targets = [], []
    for name, title, command, excuses in TARGETS:
        lines, tried = known.read(top / "spec" / "known" / (name + ".tsv"))
        newest = max(tried, key=known.version_number)
        found, beside = find(lines, newest, excuses), others.pop(name, [])
        targets.append("%s %s (%d)" % (title, newest, len(found) + len(beside)))
        parts.append("## %s %s\n" % (title, newest))
        parts += [_other(*row) for row in beside]
        parts += [_paragraph(finding, command, newest, tried, rows) for finding in found]
    for title, beside in others.items():
        targets.append("%s (%d)" % (title, len(beside)))
        parts += ["## %s\n" % title] + [_other(*row) for row in beside]
    return HEAD % ", ".join(targets) + "\n" + "\n".join(parts)


if __name__ == "__main__":
    try:
        sys.stdout.write(text())
    except Problem as error:
        sys.exit("findings: %s" % error)
