# SPDX-License-Identifier: BSD-2-Clause
"""The commands beside a run: merge, compare, known, report, explain. Each reads results that are there."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List

from . import advisories, ci, compare, errata, explain, extents, html, junit, machines, merge, reports, results as results_module, summary
from .errors import Problem
from .optional import check
from .output import complain, emit
from .paths import TOP, results_base
from .selection import PatternSet, split_patterns
from .style import Style


def run(command: str, options: argparse.Namespace, boot: Callable[[argparse.Namespace, List[str]], int]) -> int:
    """`boot` makes a run, of options and the words that they were: one of the commands boots something."""
    if getattr(options, "junit", None) or getattr(options, "html", None):
        check(options.junit, options.html)
    if command == "inventory":
        from .inventory import command as inventory  # start-up time

        return inventory.run(options, boot)
    status: int = globals()["_" + command](options)
    return status


def _merge(options: argparse.Namespace) -> int:
    runs = [results_module.load(Path(name)) for name in options.inputs]
    statuses = [results_module.read(Path(name))["exit_status"] for name in options.inputs]
    whole, problems = merge.join(runs)
    fail_stale = any("--fail-stale" in one.command for one in runs)
    status = whole.exit_status(fail_stale)
    if (problems or 2 in statuses) and status in (0, 3):
        status = 2
    folder = results_module.create_folder(results_base(options))
    whole.run = folder.name
    data = whole.as_dict(status)
    results_module.write(folder, data)
    reports.write(options, data)
    where = os.path.relpath(folder / "results.json")
    emit(sys.stdout, summary.text(whole, fail_stale, where, options.verbose - options.quiet, Style.of(sys.stdout)))
    for problem in problems:
        complain("merge: %s" % problem)
    return status


def _compare(options: argparse.Namespace) -> int:
    if options.inventory:
        from .inventory import command  # start-up time

        return command.compare([options.a, options.b, *options.patterns])
    a, b = (results_module.read(Path(name)) for name in (options.a, options.b))
    if options.patterns:
        _narrow(options.patterns, a, b)
    try:
        found = compare.changes(a, b)
        if options.junit:
            junit.write_changes(options.junit, found)
        if options.html:
            html.write_changes(options.html, a, b, found)
        if options.markdown:
            ci.write(options.markdown, ci.compare_markdown(a, b, found))
        emit(sys.stdout, compare.text(a, b, found, options.verbose, Style.of(sys.stdout)))
    except (KeyError, TypeError):
        raise Problem("%s or %s: not the results of a run" % (options.a, options.b)) from None
    if not any(point["verdict"] in ("pass", "known") for point in b["points"]):
        return 1 if any(change.bad for change in found) else 3
    fail = {compare.LOST} if options.fail_lost else set()
    allow = {compare.GONE} if options.allow_gone else set()
    return 1 if any(change.bad and change.kind not in allow or change.kind in fail for change in found) else 0


def _import(options: argparse.Namespace) -> int:
    from . import importlog  # start-up time

    return importlog.run(options)


def _narrow(patterns: List[str], a: Dict[str, Any], b: Dict[str, Any]) -> None:
    """Take what no pattern selects out of both runs."""
    ids = [point["id"] for data in (a, b) for point in data["points"]]
    chosen = PatternSet(split_patterns(patterns), ids)
    for data in (a, b):
        data["points"] = [point for point in data["points"] if chosen.filter({point["id"]: ""})]


def _known(options: argparse.Namespace) -> int:
    found = extents.find([results_module.load(Path(name)) for name in options.inputs], options.known or TOP / "spec" / "known",
                         options.afresh)
    for line in found.said + found.unexplained:
        emit(sys.stdout, line)
    for path, text in found.changed.items() if options.write else ():
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise Problem("%s: %s" % (path, error.strerror)) from None
    changed = "changed" if options.write else "would change, with --write"
    emit(sys.stdout, "%d lines, %d unexplained; %s" % (
        len(found.said), len(found.unexplained), ", ".join("%s %s" % (path.name, changed) for path in found.changed) or "no table changes"))
    return 1 if found.unexplained else 0


def _report(options: argparse.Namespace) -> int:
    if not any((options.junit, options.html, options.markdown, options.gitlab, options.github)):
        raise Problem("report: say what to write: --html FILE, --junit FILE, --markdown FILE, --gitlab FILE, --github")
    inputs = options.inputs or [str(results_base(options))]
    if len(inputs) == 1:
        data: Dict[str, object] = results_module.read(Path(inputs[0]))
    else:
        whole, problems = merge.join([results_module.load(Path(name)) for name in inputs])
        whole.run = "%d runs" % len(inputs)
        data = whole.as_dict(whole.exit_status(False))
        for problem in problems:
            complain("report: %s" % problem)
    reports.write(options, data)
    for path in (options.junit, options.html, options.markdown, options.gitlab):
        if path:
            emit(sys.stdout, "written: %s" % path)
    return 0


def _explain(options: argparse.Namespace) -> int:
    emit(sys.stdout, explain.text(options.id, TOP, results_base(options), Style.of(sys.stdout)))
    return 0


def _results_of(options: argparse.Namespace) -> List[Dict[str, Any]]:
    """Those that are named, or those of the last run, if there is one."""
    if options.inputs:
        return [results_module.read(Path(name)) for name in options.inputs]
    last = results_module.read_latest(results_base(options))
    return [last] if last else []


def _errata(options: argparse.Namespace) -> int:
    found = _results_of(options)
    lines = [line for data in found for line in errata.summary(data, errata.read(), True, options.verbose)]
    if not lines:
        raise Problem("errata: %s" % ("spec/errata.tsv has no line for the processors of these runs" if found else "there is no run to look at"))
    emit(sys.stdout, "\n".join(lines))
    return 0


def _advisories(options: argparse.Namespace) -> int:
    runs = _results_of(options)
    data: Dict[str, Any] = {"points": [p for one in runs for p in one["points"]], "run": ", ".join(one["run"] for one in runs)} if runs else {}
    emit(sys.stdout, advisories.text(data, advisories.read(), options.verbose))
    return 0


def _explore(options: argparse.Namespace) -> int:
    from . import explore  # start-up time

    return explore.run(options)


def _machines(options: argparse.Namespace) -> int:
    return machines.run(options.axes, options.short, options.jobs, results_base(options))
