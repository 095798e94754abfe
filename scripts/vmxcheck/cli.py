# SPDX-License-Identifier: BSD-2-Clause
"""The command line: the order in which a run happens. The other commands are in commands.py."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Dict, List, Optional

from . import options as options_module
from .config import Section, load as load_config
from .errors import Problem
from .images import Image, load as load_image
from .l0.options import L0Options
from .selection import Selected, select, split_patterns
from .settings import Settings

TOP = Path(__file__).resolve().parent.parent.parent
CATALOGUE = TOP / "spec" / "catalogue.tsv"


def main(arguments: Optional[List[str]] = None) -> int:
    words = sys.argv[1:] if arguments is None else arguments
    command, options = options_module.parse(words)
    try:
        if command:
            from . import commands

            return commands.run(command, options)
        return _main(options, words)
    except Problem as problem:
        print("run_tests.sh: %s" % problem, file=sys.stderr)
        return problem.status
    except KeyboardInterrupt:
        return 130


def results_base(options: argparse.Namespace) -> Path:
    """An installed suite has no Makefile, and its folder is not for the user to write in."""
    return options.results or (TOP if (TOP / "Makefile").exists() else Path.cwd()) / "results"


def _main(options: argparse.Namespace, words: List[str]) -> int:
    from .report import emit

    settings = _with_emulators(Settings.load(TOP, os.environ), options)
    timeout = settings.timeout(options.timeout)
    _check_usage(options)
    config = options.config or TOP / "unittests.cfg"
    build = (options.build or TOP / "build") / "x86"
    sections = load_config(config)
    listed_only = options.list or options.coverage
    listable = listed_only and all((build / (s.file + ".tests")).exists() for s in sections)
    if not options.build and not listable and (TOP / "Makefile").exists():
        from .build import make

        make("-j%d" % options.jobs)
    if options.matrix:
        from .matrix import command

        return command.run(options, settings)
    if options.coverage:
        from . import catalogue, coverage
        from .results import read_latest

        emit(sys.stdout, coverage.text(catalogue.read(CATALOGUE), _tests_of(sections, build),
                                       read_latest(results_base(options)), options.verbose))
        return 0

    images = {name: load_image(build, name) for name in dict.fromkeys(s.file for s in sections)}
    if options.gdb:
        from . import debug

        return debug.start(options, settings, sections, images, TOP)
    selection, cut = _select(options, sections, images)
    if options.list:
        emit(sys.stdout, "\n".join("%s\t%s" % (identity, s.section.name) for s in selection for identity in s.wanted))
        return 0
    if not options.config:
        _warn_of_strangers(sections, build)
    return _boot(options, words, settings, timeout, sections, images, selection, cut)


def _with_emulators(settings: Settings, options: argparse.Namespace) -> Settings:
    """The versions of --bochs and --qemu instead of what the machine has."""
    wanted = {kind: version for kind, version in (("bochs", options.bochs), ("qemu", options.qemu)) if version}
    if not wanted:
        return settings
    from .l0.kernel import cache_folder
    from .provision import emulator

    environment = dict(settings.environment)
    for kind, version in wanted.items():
        if environment.get(kind.upper()):
            raise Problem("--%s %s and %s=%s contradict each other" % (kind, version, kind.upper(), environment[kind.upper()]))
        cache = cache_folder(options.cache, settings.environment).absolute()
        environment[kind.upper()] = str(emulator.get(kind, version, cache, lambda text: print("run_tests.sh: " + text, file=sys.stderr)))
    return replace(settings, environment=environment)


def _check_usage(options: argparse.Namespace) -> None:
    if options.order != "random" and options.seed is not None:
        raise Problem("--seed needs --order random")
    if options.quiet and options.verbose:
        raise Problem("--quiet and --verbose contradict each other")
    if options.rerun and not options.matrix:
        raise Problem("--rerun needs --matrix")
    if options.durations and not options.shard:
        raise Problem("--durations needs --shard")
    if options.junit or options.html:
        from .optional import check

        check(options.junit, options.html)


def _select(options: argparse.Namespace, sections: List[Section], images: Dict[str, Image]) -> "tuple[List[Selected], str]":
    """What runs; and of a shard, the name of the cut."""
    patterns = split_patterns(options.patterns)
    groups = [group for word in options.group for group in word.replace(",", " ").split()]
    only = pairs = None
    if options.area or options.priority:
        from . import catalogue

        only = catalogue.select(CATALOGUE, options.area, options.priority)
    if options.failed:
        from . import history

        pairs = history.failed(results_base(options))
    selection = select(sections, images, patterns, groups, options.image, only, pairs)
    if not options.shard:
        return selection, ""
    from . import history, shard

    return shard.cut(selection, history.last_durations(results_base(options), options.durations), options.shard)


def _boot(options: argparse.Namespace, words: List[str], settings: Settings, timeout: Optional[float],
          sections: List[Section], images: Dict[str, Image], selection: List[Selected], cut: str) -> int:
    from . import history, results as results_module
    from .backends import Chooser
    from .compare import Baseline
    from .report import Report
    from .session import Session
    from .style import Style, is_terminal
    from .tapwriter import TapWriter

    backends = [name for word in options.backend for name in word.split(",") if name != "auto"]
    settings = replace(settings, l0=L0Options.of(options, backends))
    chooser = Chooser(settings, backends, options.cpu)
    baseline = Baseline(options.baseline) if options.baseline else None
    results = results_module.Results("", words, baseline=options.baseline or "", shard=options.shard or "", cut=cut)
    results.whole = not any((options.patterns, options.group, options.image, options.area, options.priority, options.failed))
    if options.order == "random":
        results.order, results.seed = "random", _new_seed() if options.seed is None else options.seed
    out = sys.stderr if options.tap else sys.stdout
    report = Report(out, options.verbose - options.quiet, Style.of(out, options.color))
    session = Session(selection, chooser, results, _repro(options, sections, images), options.known or TOP / "spec" / "known",
                      report, options.repeat, baseline, options.walks)
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


def _finish(options: argparse.Namespace, session, results, report, baseline, problem: Optional[str]) -> int:  # type: ignore
    """Keep the results, and say what there is to say. Nothing that fails here may look green."""
    from . import compare, results as results_module, summary

    status: int = results.exit_status(options.fail_stale)
    if session.tap:
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
    try:
        write_reports(options, data)
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


def write_reports(options: argparse.Namespace, data: Dict[str, object]) -> None:
    """The files of --junit and --html."""
    if options.junit:
        from . import junit

        junit.write(options.junit, data)
    if options.html:
        from . import html

        html.write(options.html, data, TOP)


def _tests_of(sections: List[Section], build: Path) -> List[str]:
    return [identity for s in sections if s.by_default for identity in load_image(build, s.file).tests]


def _warn_of_strangers(sections: List[Section], build: Path) -> None:
    """An image that no section names is never run: say so."""
    known = {s.file for s in sections}
    for path in sorted(build.glob("*.tests")):
        if path.stem not in known and (TOP / "x86" / (path.stem + ".c")).exists():
            print("run_tests.sh: warning: image `%s` has no section in unittests.cfg and is not run" % path.stem, file=sys.stderr)


def _new_seed() -> int:
    return int.from_bytes(os.urandom(4), "big")


def _repro(options: argparse.Namespace, sections: List[Section], images: Dict[str, Image]):  # type: ignore
    from .session import Repro

    program = os.path.relpath(TOP / "run_tests.sh")
    words: List[str] = []
    for name in ("config", "build", "known", "timeout", "bochs", "qemu", "cache"):
        if getattr(options, name):
            words += ["--" + name, str(getattr(options, name))]
    words += ["--walks", options.walks] if options.walks != "auto" else []
    words += L0Options.of(options, ["kvm-on-bochs"]).words()
    repro = Repro(program if "/" in program else "./" + program, words, os.environ)
    for section in sections:
        for identity in images[section.file].tests:
            if section.by_default:
                repro.ids[identity] = repro.ids.get(identity, 0) + 1
            else:
                repro.others.add(section.name)
    return repro
