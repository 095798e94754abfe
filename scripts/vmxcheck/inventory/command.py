# SPDX-License-Identifier: BSD-2-Clause
"""inventory, and compare --inventory: from a run of the image on the target at hand, from results, or from logs."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path
from typing import Callable, List, Sequence

from .. import importlog, options as options_module, results as results_module
from ..errors import Problem
from ..output import emit
from . import of_results, raw, several, view
from .raw import Inventory

Boot = Callable[[argparse.Namespace, List[str]], int]  # a run, of options and the words that they were

def of_log(path: Path) -> List[Inventory]:
    found = []
    for boot in importlog.boots_in(importlog.read(path), str(path)):
        lines = boot.text.decode("utf-8", "replace").splitlines()
        said = [line for line in lines if line.startswith(raw.MARK)]
        if said:
            banner = next((line[2:] for line in lines if line.startswith("# vmxcheck ")), "")
            found.append(raw.parse(str(path), banner, said))
    return found


def of_input(name: str) -> List[Inventory]:
    path = Path(name)
    is_log = name == "-" or path.is_file() and path.suffix != ".json"
    found = of_log(path) if is_log else of_results(results_module.read(path))
    if not found:
        raise Problem("%s: no inventory is in it: neither the image `inventory` nor `all` is" % name)
    return found


def of_inputs(names: Sequence[str]) -> List[Inventory]:
    found: List[Inventory] = []
    for name in names:
        machines = of_input(name)
        for machine in machines:
            if any(other.name == machine.name for other in found):
                machine.name += " (%s)" % name
            found.append(machine)
    return found


def at_hand(options: argparse.Namespace, boot: Boot) -> List[Inventory]:
    """Boot the image on the target that the options choose. What the run says is no part of the answer."""
    run = options_module.run_parser().parse_args([])
    for key, value in vars(options).items():
        if hasattr(run, key):
            setattr(run, key, value)
    named = bool(options.backend or options.command or options.target)
    run.image, run.quiet, run.verbose = ["inventory", "inventory-plain"] if named else ["inventory"], True, False
    with tempfile.TemporaryDirectory(prefix="vmxcheck-") as folder, contextlib.redirect_stdout(sys.stderr):
        run.results = Path(folder)
        status = boot(run, ["inventory"])
        found = of_results(results_module.read_latest(run.results)) if (run.results / "latest").exists() else []
    if not found:
        raise Problem("no inventory came (exit status %d): what the run said is above" % status)
    return found


def run(options: argparse.Namespace, boot: Boot) -> int:
    if options.csv and (options.json or options.pool):
        raise Problem("inventory: --csv and --%s contradict each other" % ("json" if options.json else "pool"))
    machines = of_inputs(options.inputs) if options.inputs else at_hand(options, boot)
    if options.pool:
        found = several.pool(machines)
        emit(sys.stdout, several.pool_json(found) if options.json else several.pool_text(found, options.verbose))
    elif options.json or options.csv:
        emit(sys.stdout, view.as_json(machines) if options.json else view.as_csv(machines))
    else:
        emit(sys.stdout, "\n\n".join(map(view.text, machines)))
    return 2 if any(machine.problems for machine in machines) else 0


def compare(names: Sequence[str]) -> int:
    """compare --inventory: 1 if they differ."""
    machines = of_inputs(names)
    if len(machines) < 2:
        raise Problem("compare --inventory: two machines are needed, and there is one: %s" % machines[0].name)
    emit(sys.stdout, several.compare_text(machines))
    return 1 if several.differing(machines) else 0
