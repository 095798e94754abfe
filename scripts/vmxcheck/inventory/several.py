# SPDX-License-Identifier: BSD-2-Clause
"""Inventories of several machines: where they differ, and what all of a pool have."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Dict, List, Sequence, Tuple

from . import view
from .raw import Inventory
from .view import ABSENT, BOTH, CPUID, FIELDS, LIMITS, MSRS, NO, ONE, PROCESSOR, TOPOLOGY, YES, ZERO, Key, Row


def _place(row: Row) -> Key:
    """What is the same thing on another machine: the place of a control is another MSR where there are no TRUE ones."""
    return row.group, row.name, row.place if row.group in (FIELDS, MSRS, PROCESSOR) else ""


def differing(machines: Sequence[Inventory]) -> List[Tuple[Row, List[str]]]:
    """The rows that do not say the same of all, and what they say of each."""
    return [(row, values) for row, values in view.side_by_side(machines, _place)
            if len(set(values)) > 1 and row.name != view.TSC_FREQUENCY]


def compare_text(machines: Sequence[Inventory]) -> str:
    found = differing(machines)
    letters = ["[%d]" % (number + 1) for number in range(len(machines))]
    out = ["%s %s" % pair for pair in zip(letters, (machine.name for machine in machines))]
    groups: Dict[str, List[List[str]]] = {}
    for row, values in found:
        groups.setdefault(row.group, []).append([row.name, *values, row.alias, row.place])
    for group, lines in groups.items():
        out += ["", group] + view.table([["", *letters, "", ""], *lines])
    problems = ["%s: %s" % (machine.name, problem) for machine in machines for problem in machine.problems]
    return "\n".join([*out, "", "%d rows differ" % len(found), *problems])


@dataclass
class Pool:
    """What a guest may use that has to go on on each machine of the pool."""

    machines: List[str]
    common: List[str] = field(default_factory=list)
    lacking: Dict[str, List[str]] = field(default_factory=dict)  # what some have -> who has not
    forced: Dict[str, List[str]] = field(default_factory=dict)  # a control that must be 1 somewhere -> where
    limits: Dict[str, int] = field(default_factory=dict)
    unlike: Dict[str, List[str]] = field(default_factory=dict)  # what has to be the same and is not -> its values


_MUST_AGREE = ("VMX-preemption timer rate", "memory type")


def _is_feature(row: Row) -> bool:
    """A control, a capability, a bit of CR0 and CR4, a field: what VMX has. What else CPUID says is beside it."""
    return row.group not in (PROCESSOR, TOPOLOGY, CPUID, MSRS, "IA32_ARCH_CAPABILITIES", "IA32_FEATURE_CONTROL", FIELDS)


def pool(machines: Sequence[Inventory]) -> Pool:
    found = Pool([machine.name for machine in machines])
    for row, values in view.side_by_side(machines, _place):
        if _is_feature(row):
            _add(found, row, values)
    for name, number in (("physical-address width", 0), ("linear-address width", 1)):
        found.limits[name] = min(machine.widths[number] for machine in machines)
    return found


def _add(found: Pool, row: Row, values: List[str]) -> None:
    name = "%s: %s%s" % (row.group, row.name, " (%s)" % row.alias if row.alias else "")
    if row.name in LIMITS:
        found.limits[row.name] = min(0 if value == ABSENT else int(value, 0) for value in values)
    elif row.name in _MUST_AGREE and len(set(values)) > 1:
        found.unlike[name] = values
    elif set(values) <= {BOTH, ONE, ZERO, YES, NO, ABSENT}:
        missing = [machine for machine, value in zip(found.machines, values) if value in (ZERO, NO, ABSENT)]
        forced = [machine for machine, value in zip(found.machines, values) if value == ONE]
        if not missing:
            found.common.append(name)
        elif len(missing) < len(values):
            found.lacking[name] = missing
        if forced and len(forced) < len(values):
            found.forced[name] = forced


def pool_text(found: Pool, verbose: bool) -> str:
    letters = {machine: "[%d]" % (number + 1) for number, machine in enumerate(found.machines)}
    out = ["pool of %d" % len(found.machines)] + ["  %s %s" % (letters[machine], machine) for machine in found.machines]
    out += ["", "common to all: %d" % len(found.common)] + (["  " + name for name in found.common] if verbose else [])
    out += ["", "not on all: %d" % len(found.lacking)]
    out += ["  %s: not on %s" % (name, " ".join(letters[one] for one in missing)) for name, missing in found.lacking.items()]
    out += ["", "must be 1 on some: %d" % len(found.forced)] if found.forced else []
    out += ["  %s: on %s" % (name, " ".join(letters[one] for one in where)) for name, where in found.forced.items()]
    out += ["", "not alike:"] if found.unlike else []
    out += ["  %s: %s" % (name, ", ".join("%s on %s" % pair for pair in zip(values, letters.values()))) for name, values in found.unlike.items()]
    return "\n".join(out + ["", "at the most:"] + ["  %s: %d" % item for item in found.limits.items()])


def pool_json(found: Pool) -> str:
    return json.dumps({"machines": found.machines, "common": found.common, "lacking": found.lacking, "must_be_1": found.forced,
                       "unlike": found.unlike, "limits": found.limits}, indent=1)
