# SPDX-License-Identifier: BSD-2-Clause
"""The command line: the order in which a run happens. The other commands are in commands.py."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from . import catalogue, options as options_module
from .config import Section, load as load_config
from .errors import Problem
from .images import EVERYTHING, Image, load as load_image
from .output import complain, emit
from .paths import CATALOGUE, INSTALLED, TOP, results_base
from .selection import Selected, select, split_patterns
from .settings import Settings, seconds

# A shell that completes an id waits for --list: what only other commands need is imported where it is used.


def main(arguments: Optional[List[str]] = None) -> int:
    words = sys.argv[1:] if arguments is None else arguments
    command, options = options_module.parse(words)
    bisect = not command and options.bisect
    try:
        if command:
            from . import commands  # start-up time

            return commands.run(command, options, run_with)
        return _bisected(run_with(options, words), bisect)
    except Problem as problem:
        complain(problem)
        return _bisected(problem.status, bisect)
    except KeyboardInterrupt:
        return 130


def _bisected(status: int, bisect: bool) -> int:
    """For git bisect run: 125 passes over a commit that cannot be judged; 130 ends it all."""
    return 125 if bisect and status in (2, 3) else status


def run_with(options: argparse.Namespace, words: List[str]) -> int:
    settings = replace(_with_emulators(Settings.load(TOP, os.environ), options), qemu_args=_qemu_args(options))
    timeout = settings.timeout(options.timeout)
    _check_usage(options)
    config = options.config or TOP / "unittests.cfg"
    build = (options.build or TOP / "build") / "x86"
    sections = load_config(config)
    listed_only = options.list or options.coverage
    listable = listed_only and all((build / (s.file + ".tests")).exists() for s in sections)
    if not options.build and not listable and not INSTALLED:
        from .build import make  # start-up time

        make("-j%d" % options.jobs)
    if options.matrix:
        from .matrix import command  # start-up time

        return command.run(options, settings)
    if options.coverage:
        from . import coverage  # start-up time
        from .results import read_latest  # start-up time

        emit(sys.stdout, coverage.text(catalogue.read(CATALOGUE), _tests_of(sections, build),
                                       read_latest(results_base(options), "latest-whole"), options.verbose))
        return 0

    images = {name: load_image(build, name) for name in dict.fromkeys(s.file for s in sections)}
    if options.gdb:
        from . import debug  # start-up time

        return debug.start(options, settings, sections, images, TOP)
    selection, cut = _select(options, sections, images)
    if options.list:
        emit(sys.stdout, "\n".join("%s\t%s" % (identity, s.section.name) for s in selection for identity in s.wanted))
        return 0
    for name, remedy in (("MACHINE", "--qemu-args '-machine %s'"), ("ACCEL_PROPS", "--qemu-args '-machine accel=kvm,%s'")):
        if settings.environment.get(name):  # of kvm-unit-tests
            complain("warning: %s is not read: %s says it" % (name, remedy % settings.environment[name]))
    if not options.config:
        _warn_of_strangers(sections, build)
        _warn_of_ids(selection)
    from . import running  # start-up time

    return running.boot(options, words, settings, timeout, sections, images, selection, cut)


def _with_emulators(settings: Settings, options: argparse.Namespace) -> Settings:
    """The versions of --bochs and --qemu instead of what the machine has."""
    wanted = {kind: version for kind, version in (("bochs", options.bochs), ("qemu", options.qemu)) if version}
    if not wanted:
        return settings
    from .l0.kernel import cache_folder  # start-up time
    from .provision import emulator  # start-up time

    environment = dict(settings.environment)
    for kind, version in wanted.items():
        if environment.get(kind.upper()):
            raise Problem("--%s %s and %s=%s contradict each other" % (kind, version, kind.upper(), environment[kind.upper()]))
        cache = cache_folder(options.cache, settings.environment).absolute()
        environment[kind.upper()] = str(emulator.get(kind, version, cache, complain))
    return replace(settings, environment=environment)


def _qemu_args(options: argparse.Namespace) -> Tuple[str, ...]:
    try:
        return tuple(word for text in options.qemu_args for word in shlex.split(text))
    except ValueError as error:
        raise Problem("--qemu-args: %s" % str(error).lower()) from None


def _check_usage(options: argparse.Namespace) -> None:
    if options.order != "random" and options.seed is not None:
        raise Problem("--seed needs --order random")
    for name in ("gdb", "matrix"):
        if getattr(options, name) and (options.command or options.target):
            raise Problem("--%s and --%s contradict each other: it is for the backends" % (name, "command" if options.command else "target"))
    if options.allow_flaky and not options.retry_failed:
        raise Problem("--allow-flaky needs --retry-failed")
    if options.retry_failed and options.repeat > 1:
        raise Problem("--retry-failed and --repeat contradict each other")
    options.time_limit = seconds(options.time_limit, "--time-limit") if options.time_limit else None
    for path in (options.junit, options.html, options.gitlab):
        if path and path.is_file():
            path.unlink()  # that of an earlier run would pass for this one's, should this one not come to its end
    if options.quiet and options.verbose:
        raise Problem("--quiet and --verbose contradict each other")
    if options.rerun and not options.matrix:
        raise Problem("--rerun needs --matrix")
    if options.durations and not options.shard:
        raise Problem("--durations needs --shard")
    if options.junit or options.html:
        from .optional import check  # start-up time

        check(options.junit, options.html)


def _select(options: argparse.Namespace, sections: List[Section], images: Dict[str, Image]) -> "tuple[List[Selected], str]":
    """What runs; and of a shard, the name of the cut."""
    patterns = split_patterns(options.patterns)
    groups = [group for word in options.group for group in word.replace(",", " ").split()]
    only = pairs = None
    if options.area or options.priority:
        only = catalogue.select(CATALOGUE, options.area, options.priority)
    if options.advisory:
        from . import advisories  # start-up time

        tests = advisories.select(options.advisory, advisories.read())
        only = tests if only is None else only & tests
    if options.failed:
        from . import history  # start-up time

        pairs = history.failed(results_base(options))
    named = options.image + ([s.name for s in sections if not s.own_test and s.file != EVERYTHING] if options.all else [])
    selection = select(sections, images, patterns, groups, named, only, pairs)
    if not options.shard:
        return selection, ""
    from . import history, shard  # start-up time

    return shard.cut(selection, history.last_durations(results_base(options), options.durations), options.shard)


def _tests_of(sections: List[Section], build: Path) -> List[str]:
    return [identity for s in sections if s.by_default for identity in load_image(build, s.file).tests]


def _warn_of_ids(selection: List[Selected]) -> None:
    """Tests of the suite that no row of the catalogue is for."""
    ids = [identity for one in selection if _is_of_the_suite(one.section.file) for identity in one.wanted]
    rows = catalogue.read(CATALOGUE) if ids else {}
    missing = list(dict.fromkeys(identity for identity in ids if catalogue.row_of(identity) not in rows))
    if missing:
        complain("warning: no row in spec/catalogue.tsv for %s%s: `make new-test ID=...` writes one, and make check refuses a test without"
                 % (", ".join(missing[:5]), " and %d more" % (len(missing) - 5) if len(missing) > 5 else ""))


def _is_of_the_suite(image: str) -> bool:
    return image == EVERYTHING or (TOP / "x86" / image).is_dir() or (TOP / "x86" / (image + ".c")).exists()


def _warn_of_strangers(sections: List[Section], build: Path) -> None:
    """An image that no section names is never run: say so."""
    known = {s.file for s in sections}
    for path in sorted(build.glob("*.tests")):
        if path.stem not in known and (TOP / "x86" / (path.stem + ".c")).exists():
            complain("warning: image `%s` has no section in unittests.cfg and is not run" % path.stem)
