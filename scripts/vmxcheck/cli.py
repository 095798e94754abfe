# SPDX-License-Identifier: BSD-2-Clause
"""The command line: options, and the order in which a run happens."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Dict, List, Optional

from . import VERSION, coverage, results as results_module
from .backends import Chooser
from .config import BACKENDS, Section, load as load_config
from .errors import Problem
from .images import Image, load as load_image
from .l0.options import L0Options
from .report import Report, TapWriter, emit
from .results import Results
from .selection import split_patterns
from .session import Repro, Session, select
from .settings import Settings

TOP = Path(__file__).resolve().parent.parent.parent
EPILOG = """\
environment: QEMU and BOCHS name the emulators, ACCEL (tcg or kvm) QEMU's accelerator, TIMEOUT the time limit;
an option comes before the environment, then unittests.cfg, then config.mk, then PATH.
exit status: 0 all green; 1 a failure; 2 usage or environment; 3 nothing was tested; 130 interrupted."""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="run_tests.sh", description="Boot the test images and give one verdict.", epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    add = parser.add_argument
    add("patterns", nargs="*", metavar="PATTERN",
        help="tests to run: an id, the front of ids up to a dot, or a shell glob over ids (default: all)")
    add("-g", "--group", action="append", default=[], metavar="GROUP", help="only the sections of unittests.cfg in this group")
    add("--image", action="append", default=[], metavar="NAME", help="only the section NAME of unittests.cfg (a glob)")
    add("-l", "--list", action="store_true", help="one line a test, id TAB image; boots nothing")
    add("-j", "--jobs", type=_positive, default=os.cpu_count() or 1, metavar="N",
        help="boot N images at a time (default: the cores)")
    add("-t", "--tap", action="store_true", help="one TAP 13 stream on stdout, all else on stderr")
    add("-v", "--verbose", action="store_true", help="a line for each test; name all that is skipped or not yet tested")
    add("--backend", action="append", default=[], metavar="NAME[,NAME]",
        help="only on these: %s (default: auto, the best for each image)" % ", ".join(BACKENDS))
    add("--cpu", metavar="MODEL", help="processor model, of Bochs (default: tigerlake) or QEMU")
    add("--timeout", metavar="SECONDS", help="how long an image may go without progress (0: no limit)")
    add("--order", choices=("file", "random"), default="file", help="order of the tests in each image")
    add("--seed", type=_seed, metavar="N", help="seed of --order random (default: a new one, printed)")
    add("--coverage", action="store_true",
        help="the catalogue by area: rows, tested, passing in the last run, ...; boots nothing")
    add("--fail-stale", action="store_true", help="fail if a known deviation has gone (make check does)")
    add("--results", type=Path, metavar="DIR", help="where runs are kept (default: results)")
    add("--config", type=Path, metavar="FILE", help="instead of unittests.cfg")
    add("--build", type=Path, metavar="DIR", help="instead of build; nothing is made then")
    add("--known", type=Path, metavar="DIR", help="instead of spec/known")
    L0Options.add_to(parser)
    add("--version", action="version", version="vmxcheck " + VERSION)
    return parser


def _positive(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 10000:
        raise argparse.ArgumentTypeError("`%s` is not a number above 0" % text)
    return int(text)


def _seed(text: str) -> int:
    if not text.isdigit() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError("`%s` is not a whole number" % text)
    return int(text)


def main(arguments: Optional[List[str]] = None) -> int:
    words = sys.argv[1:] if arguments is None else arguments
    options = build_parser().parse_args(words)
    try:
        return _main(options, words)
    except Problem as problem:
        print("run_tests.sh: %s" % problem, file=sys.stderr)
        return problem.status
    except KeyboardInterrupt:
        return 130


def _main(options: argparse.Namespace, words: List[str]) -> int:
    settings = Settings.load(TOP, os.environ)
    timeout = settings.timeout(options.timeout)
    config = options.config or TOP / "unittests.cfg"
    build = (options.build or TOP / "build") / "x86"
    # An installed suite has no Makefile, and its folder is not for the user to write in.
    results_base = options.results or (TOP if (TOP / "Makefile").exists() else Path.cwd()) / "results"
    sections = load_config(config)
    backends = [name for word in options.backend for name in word.split(",") if name != "auto"]
    settings = replace(settings, l0=L0Options.of(options, backends))
    patterns = split_patterns(options.patterns)
    groups = [group for word in options.group for group in word.replace(",", " ").split()]

    listed_only = options.list or options.coverage
    listable = listed_only and all((build / (s.file + ".tests")).exists() for s in sections)
    if not options.build and not listable and (TOP / "Makefile").exists():
        _make(options.jobs)
    if options.coverage:
        emit(sys.stdout, coverage.text(coverage.read_catalogue(TOP / "spec" / "catalogue.tsv"), _tests_of(sections, build),
                                       results_module.read_latest(results_base), options.verbose))
        return 0

    images = _load_images(sections, build)
    selection = select(sections, images, patterns, groups, options.image)
    if options.list:
        emit(sys.stdout, "\n".join("%s\t%s" % (identity, s.section.name) for s in selection for identity in s.wanted))
        return 0
    if not options.config:
        _warn_of_strangers(sections, build)

    chooser = Chooser(settings, backends, options.cpu)
    results = Results("", words)
    if options.order == "random":
        results.order, results.seed = "random", _new_seed() if options.seed is None else options.seed
    elif options.seed is not None:
        raise Problem("--seed needs --order random")
    report = Report(sys.stderr if options.tap else sys.stdout, options.verbose)
    repro = _repro(options, sections, images)
    session = Session(selection, chooser, results, repro, options.known or TOP / "spec" / "known", report)
    session.prepare(timeout)
    session.keep_in(results_module.create_folder(results_base), TapWriter(sys.stdout) if options.tap else None)
    return _run(session, results, report, options)


def _run(session: Session, results: Results, report: Report, options: argparse.Namespace) -> int:
    if results.order:
        report.say("order: random, seed %d" % results.seed)
    problem = session.run(options.jobs)
    status = results.exit_status(options.fail_stale)
    if session.tap:
        for line in results.stale if options.fail_stale else []:
            session.tap.stale(line)
        session.tap.end(results.interrupted)
    if problem and status in (0, 3):
        status = 2
    try:
        results_module.write(session.folder, results.as_dict(status))
    except Problem as error:
        problem, status = str(error), status if status not in (0, 3) else 2
    where = os.path.relpath(session.folder / "results.json")
    report.summary(results, options.fail_stale, "not kept whole: %s" % problem if problem else where)
    return status


def _make(jobs: int) -> None:
    """Images that are older than their sources would test something else."""
    if not (TOP / "config.mk").exists():
        raise Problem("not configured yet: run ./configure first (./configure --install-deps installs what is missing)")
    environment = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    import fcntl

    try:
        with open(TOP / "Makefile", "rb") as makefile:
            fcntl.flock(makefile, fcntl.LOCK_EX)  # two runs at once must not make the same files at once
            done = subprocess.run(["make", "-s", "-C", str(TOP), "-j%d" % jobs], env=environment, stdin=subprocess.DEVNULL,
                                  stdout=sys.stderr)
    except OSError as error:
        raise Problem("make cannot be run: %s" % error.strerror) from None
    if done.returncode:
        raise Problem("the images could not be built: make ended with status %d" % done.returncode)


def _load_images(sections: List[Section], build: Path) -> Dict[str, Image]:
    return {name: load_image(build, name) for name in dict.fromkeys(s.file for s in sections)}


def _tests_of(sections: List[Section], build: Path) -> List[str]:
    images = _load_images(sections, build)
    return [identity for s in sections if s.by_default for identity in images[s.file].tests]


def _warn_of_strangers(sections: List[Section], build: Path) -> None:
    """An image that no section names is never run: say so."""
    known = {s.file for s in sections}
    for path in sorted(build.glob("*.tests")):
        if path.stem not in known and (TOP / "x86" / (path.stem + ".c")).exists():
            print("run_tests.sh: warning: image `%s` has no section in unittests.cfg and is not run" % path.stem, file=sys.stderr)


def _new_seed() -> int:
    return int.from_bytes(os.urandom(4), "big")


def _repro(options: argparse.Namespace, sections: List[Section], images: Dict[str, Image]) -> Repro:
    program = os.path.relpath(TOP / "run_tests.sh")
    words: List[str] = []
    for name in ("config", "build", "known", "timeout"):
        if getattr(options, name):
            words += ["--" + name, str(getattr(options, name))]
    words += L0Options.of(options, ["kvm-on-bochs"]).words()
    repro = Repro(program if "/" in program else "./" + program, words, os.environ)
    for section in sections:
        for identity in images[section.file].tests:
            if section.by_default:
                repro.ids[identity] = repro.ids.get(identity, 0) + 1
    return repro
