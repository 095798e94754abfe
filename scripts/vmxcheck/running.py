# SPDX-License-Identifier: BSD-2-Clause
"""A run: from what is selected to the results and what is said of them."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from typing import Dict, List, Optional

from . import compare, history, reports, results as results_module, summary
from .backends import Chooser
from .config import Section
from .errors import Problem
from .images import Image
from .l0.options import L0Options
from .paths import TOP, program, results_base
from .report import Report
from .selection import Selected
from .session import Choosing, Limits, Repro, Session
from .settings import Settings
from .style import Style, is_terminal
from .target import spec
from .target.backend import TargetChooser
from .tapwriter import TapWriter


def boot(options: argparse.Namespace, words: List[str], settings: Settings, timeout: Optional[float],
          sections: List[Section], images: Dict[str, Image], selection: List[Selected], cut: str) -> int:
    backends = [name for word in options.backend for name in word.split(",") if name != "auto"]
    settings = replace(settings, l0=L0Options.of(options, backends))
    own = spec.from_command_line(options, TOP)
    chooser: Choosing
    if own:
        chooser = TargetChooser(settings, own)
    else:
        chooser = Chooser(settings, backends, options.cpu)
    baseline = compare.Baseline(options.baseline) if options.baseline else None
    results = results_module.Results("", words, baseline=options.baseline or "", shard=options.shard or "", cut=cut)
    results.whole = not any((options.patterns, options.group, options.image, options.area, options.priority, options.failed,
                             options.advisory))
    if options.order == "random":
        results.order, results.seed = "random", _new_seed() if options.seed is None else options.seed
    out = sys.stderr if options.tap else sys.stdout
    report = Report(out, options.verbose - options.quiet, Style.of(out, options.color))
    session = Session(selection, chooser, results, _repro(options, sections, images), options.known or TOP / "spec" / "known",
                      report, options.repeat, baseline, options.walks, _words(options.words))
    session.limits = Limits(options.max_failures or 0, options.time_limit or 0.0, options.retry_failed, options.allow_flaky)
    session.prepare(timeout)
    base = results_base(options)
    if session.jobs:
        expected = history.durations_if_any(base)
        if options.jobs > 1:
            session.start_longest_first(expected)
        if is_terminal(out) and not options.quiet:
            session.show_progress(expected, out, options.jobs)
    session.keep_in(results_module.create_folder(base), TapWriter(sys.stdout) if options.tap else None)
    if results.order:
        report.say("order: random, seed %d" % results.seed)
    if any(target["walks"] == "brief" for target in results.targets.values()):
        report.say("walks: brief (--walks whole takes every value)")
    problem = session.run(options.jobs, options.keep)
    return _finish(options, session, results, report, baseline, problem)


def _finish(options: argparse.Namespace, session: Session, results: results_module.Results, report: Report,
            baseline: Optional[compare.Baseline], problem: Optional[str]) -> int:
    """Keep the results, and say what there is to say. Nothing that fails here may look green."""
    status = results.exit_status(options.fail_stale)
    if session.tap:
        session.tap_the_rest()
        for line in results.stale if options.fail_stale else []:
            session.tap.stale(line)
        session.tap.end(results.interrupted)
    if problem and status in (0, 3):
        status = 2
    where = os.path.relpath(session.folder / "results.json")
    data = results.as_dict(status)
    problems = [problem] if problem else []
    try:
        results_module.write(session.folder, data)
    except Problem as error:
        problems.append(str(error))
    if options.keep_results:
        results_module.prune(session.folder.parent, options.keep_results)
    try:
        reports.write(options, data)
        if options.save_baseline:
            compare.save_baseline(options.save_baseline, data)
    except Problem as error:
        problems.append(str(error))
    if problems and status in (0, 3):
        status = 2
    if baseline:
        fixed = [c.id for c in compare.changes(baseline.data, data) if c.kind == compare.FIXED]
        if fixed:
            report.say("fixed since the baseline: %d (%s)" % (len(fixed), ", ".join(fixed[:20]) + (", ..." if fixed[20:] else "")))
    where = "not kept whole: " + "; ".join(dict.fromkeys(problems)) if problems else where
    report.say(summary.text(results, options.fail_stale, where, report.detail, report.style))
    return status


def _words(text: str) -> str:
    """What --words says; what the runner says itself is no business of it."""
    for word in text.split():
        if word.partition("=")[0] in ("run", "skip", "tests", "after", "order", "seed", "smp"):
            raise Problem("--words %s: `%s=` is what the runner says: patterns, --order and unittests.cfg have it" % (text, word.partition("=")[0]))
    if not text.isascii() or not text.isprintable():
        raise Problem("--words: words of ASCII are needed")
    return text


def _new_seed() -> int:
    return int.from_bytes(os.urandom(4), "big")


def _repro(options: argparse.Namespace, sections: List[Section], images: Dict[str, Image]) -> Repro:
    words: List[str] = []
    for name in ("config", "build", "known", "timeout", "bochs", "qemu", "cache"):
        if getattr(options, name):
            words += ["--" + name, str(getattr(options, name))]
    words += [word for text in options.qemu_args for word in ("--qemu-args", text)]
    words += ["--words", options.words] if options.words else []
    words += ["--walks", options.walks] if options.walks != "auto" else []
    words += L0Options.of(options, ["kvm-on-bochs"]).words()
    repro = Repro(program(), words, os.environ)
    for section in sections:
        for identity in images[section.file].tests:
            if section.by_default:
                repro.ids[identity] = repro.ids.get(identity, 0) + 1
            else:
                repro.others.add(section.name)
    return repro
