# SPDX-License-Identifier: BSD-2-Clause
"""run_tests.sh explore: random states of VM entry, judged in the image (docs/explorer.md).

The cases are cut into slices, each an ordinary run of the image `explore` with its own numbers. What ends a slice (a crash, a hang)
is narrowed down to its case, which is a finding, and the cases behind it go on. The points of all slices become one run.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Dict, List, Optional, Set, Tuple

from . import results as results_module, summary
from .errors import Problem
from .output import complain, emit
from .paths import INSTALLED, TOP, own_command, program, results_base
from .results import Point, Results
from .style import Style
from .verdict import CRASH, FAIL, HANG, KNOWN, SKIP, WORST_FIRST

FIRST_SLICE = 16384  # cases; later ones take about SLICE_SECONDS
SLICE_SECONDS = 20.0
STEP = 4096  # SAY_EVERY of x86/explore/run.c, or less
RUN = "explore.run"
_SUMS = re.compile(r"# explore: (\d+) cases in .*; (\d+) pairs;")
_AT = re.compile(r"^# explore: at (\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Slice:
    first: int
    cases: int
    each: bool = False  # to find the case that ends it: its points are no news

    @property
    def words(self) -> str:
        return "first=%d cases=%d%s" % (self.first, self.cases, " each" if self.each else "")


@dataclass
class Done:
    """A slice's run."""

    run: Results
    log: str
    seconds: float

    @property
    def end(self) -> Optional[Point]:
        """The point of the slice, if it did not come to its end."""
        return next((point for point in self.run.points if point.id == RUN and point.verdict in (CRASH, HANG)), None)


@dataclass
class Explorer:
    options: argparse.Namespace
    folder: Path
    cases: int = 0  # that are done
    slices: List[Done] = field(default_factory=list)
    ends: List[Tuple[int, Point]] = field(default_factory=list)  # cases that ended the target
    seen: Set[str] = field(default_factory=set)  # rules that some case violated alone
    differ: Set[str] = field(default_factory=set)

    def start(self, one: Slice, number: int) -> Done:
        options, folder = self.options, self.folder / str(number)
        words = "explore=%d %s" % (options.seed, one.words) + (" rules=" + options.rules.rstrip("*") if options.rules else "")
        words += " risky" if options.risky else ""
        command = [*own_command(), "--image", "explore", "--build", str(TOP / "build"),
                   "--results", str(folder), "-j", "1", "-q", "--color", "never", "--words", words, "--timeout", str(options.timeout)]
        for name in ("backend", "cpu", "bochs", "qemu", "cache"):
            if getattr(options, name):
                command += ["--" + name, str(getattr(options, name))]
        started = time.monotonic()
        ran = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=TOP)
        if ran.returncode not in (0, 1):
            raise Problem("explore: the run of cases %d to %d ended with status %d:\n%s" % (
                one.first, one.first + one.cases - 1, ran.returncode, ran.stdout.decode("utf-8", "replace")[-2000:]))
        run = results_module.load(folder / "latest")
        logs = sorted((folder / "latest" / "logs").glob("explore*.log"), key=lambda path: path.stat().st_mtime)
        return Done(run, logs[0].read_text(encoding="utf-8", errors="replace") if logs else "", time.monotonic() - started)

    def take(self, one: Slice, done: Done) -> List[Slice]:
        """What is to be done because of it."""
        end, at = done.end, [int(number) for number in _AT.findall(done.log)]
        if end is None:
            self.cases += one.cases
            self.slices.append(done)
            self.seen |= {point.id for point in done.run.points if point.verdict != SKIP and point.checks}
            self.differ |= {point.id for point in done.run.points if point.verdict in (FAIL, KNOWN)}
            return []
        if not at:
            raise Problem("explore: the image did not come to its first case: %s" % end.reason)
        if not one.each and one.cases > 1:
            return [Slice(at[-1], min(STEP, one.first + one.cases - at[-1]), True),
                    *([Slice(one.first, at[-1] - one.first)] if at[-1] > one.first else []),
                    *([Slice(at[-1] + STEP, one.first + one.cases - at[-1] - STEP)] if at[-1] + STEP < one.first + one.cases else [])]
        self.ends.append((at[-1], end))
        self.cases += 1
        rest = one.first + one.cases - at[-1] - 1
        return [*([Slice(one.first, at[-1] - one.first)] if at[-1] > one.first else []), *([Slice(at[-1] + 1, rest)] if rest else [])]

    def progress(self, seconds: float) -> str:
        pairs = [int(match.group(2)) for done in self.slices for match in _SUMS.finditer(done.log)]
        return "%d cases, %d a second; %d rules alone, %d pairs at once at the most; %d rules differ%s" % (
            self.cases, self.cases / max(seconds, 0.001), len(self.seen - {RUN}), max(pairs, default=0), len(self.differ),
            "; %d cases end the target" % len(self.ends) if self.ends else "")


def run(options: argparse.Namespace) -> int:
    if not INSTALLED:
        from .build import make  # start-up time

        make("-j%d" % options.jobs)
    if options.case is not None:
        return _replay(options)
    if options.as_test:
        raise Problem("explore: --as-test needs --case: the number of the case that shall become a test")
    started = time.monotonic()
    until = started + 60 * options.minutes if options.minutes else float("inf")
    total = options.cases or (2**62 if options.minutes else 200000)
    with tempfile.TemporaryDirectory(prefix="vmxcheck-explore-") as name, ThreadPoolExecutor(options.jobs) as pool:
        explorer = Explorer(options, Path(name))
        waiting: List[Slice] = []
        running: Dict["Future[Done]", Slice] = {}
        following, size, number = options.first, FIRST_SLICE, 0
        try:
            while True:
                while len(running) < options.jobs and (waiting or (following < options.first + total and time.monotonic() < until)):
                    if not waiting:
                        waiting.append(Slice(following, min(size, options.first + total - following)))
                        following += waiting[0].cases
                    one, number = waiting.pop(0), number + 1
                    running[pool.submit(explorer.start, one, number)] = one
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    one, done = running.pop(future), future.result()
                    waiting += explorer.take(one, done)
                    if done.end is None and done.seconds > 0:
                        size = max(STEP, int(one.cases * SLICE_SECONDS / done.seconds) // STEP * STEP)
                    if not options.quiet:
                        emit(sys.stdout, "  " + explorer.progress(time.monotonic() - started))
        except KeyboardInterrupt:
            complain("interrupted: what was found until then is kept")
        return _finish(options, explorer, time.monotonic() - started)


def _finish(options: argparse.Namespace, explorer: Explorer, seconds: float) -> int:
    if not explorer.slices:
        raise Problem("explore: no case came to its end")
    whole = _fold(options, explorer)
    whole.seconds = seconds
    status = whole.exit_status(False)
    folder = results_module.create_folder(results_base(options))
    whole.run = folder.name
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    for number, done in enumerate(explorer.slices, 1):
        (logs / ("explore.%d.log" % number)).write_text(done.log, encoding="utf-8")
    results_module.write(folder, whole.as_dict(status))
    for point in whole.points:
        if point.verdict in (FAIL, CRASH, HANG) and not options.quiet:
            emit(sys.stdout, "  %s: %s\n      %s\n      repeat: %s" % (point.verdict, point.id, point.reason, point.repro))
    emit(sys.stdout, explorer.progress(seconds))
    emit(sys.stdout, summary.text(whole, False, os.path.relpath(folder / "results.json"), -int(options.quiet), Style.of(sys.stdout)))
    return status


def _fold(options: argparse.Namespace, explorer: Explorer) -> Results:
    """The points of all slices as one each: the worst verdict, all checks."""
    whole = Results("", ["explore", "--seed", str(options.seed)], started=min(done.run.started for done in explorer.slices))
    points: Dict[str, Point] = {}
    for done in explorer.slices:
        whole.targets.update(done.run.targets)
        for point in done.run.points:
            best = points.get(point.id)
            if best is None or WORST_FIRST.index(point.verdict) < WORST_FIRST.index(best.verdict):
                points[point.id] = replace(point, checks=point.checks + (best.checks if best else 0))
            else:
                best.checks += point.checks
    for point in points.values():
        match = re.search(r"seed \d+, case (\d+)", point.diagnostics)
        if match and point.verdict in (FAIL, KNOWN):
            point.repro = _repro(options, int(match.group(1)))
    for index, end in explorer.ends:
        points[RUN] = replace(end, reason="case %d of seed %d: %s" % (index, options.seed, end.reason), repro=_repro(options, index),
                              diagnostics="\n".join("case %d" % one for one, _ in explorer.ends[:100]))
    whole.points = list(points.values())
    whole.images = [dict(image, round=number) for number, done in enumerate(explorer.slices, 1) for image in done.run.images]
    return whole


def _repro(options: argparse.Namespace, index: int) -> str:
    words = "".join(" --%s %s" % (name, getattr(options, name)) for name in ("backend", "cpu", "bochs", "qemu", "cache") if getattr(options, name))
    return "%s explore --seed %d --case %d%s%s" % (program(), options.seed, index, " --risky" if options.risky else "", words)


def _replay(options: argparse.Namespace) -> int:
    """One case, with all that the image says of it."""
    with tempfile.TemporaryDirectory(prefix="vmxcheck-explore-") as name:
        done = Explorer(options, Path(name)).start(Slice(options.case, 1), 1)
    lines = [line[len("# explore:"):] for line in done.log.splitlines() if line.startswith("# explore:")]
    if options.as_test:
        emit(sys.stdout, as_test(options, lines))
        return 0
    emit(sys.stdout, "\n".join(lines))
    bad = [point for point in done.run.points if point.verdict in (FAIL, CRASH, HANG)]
    for point in bad:
        emit(sys.stdout, "%s: %s: %s" % (point.verdict, point.id, point.reason))
    return 1 if bad else 0


_STATE = re.compile(r" +state: ([A-Z][A-Z0-9_]+) = (0x[0-9a-f]+|0)$")


def as_test(options: argparse.Namespace, lines: List[str]) -> str:
    """A test that writes the state of the case to the VMCS: to be pasted into x86/entry, and to be made smaller by hand."""
    fields = {match.group(1): match.group(2) for match in map(_STATE.match, lines) if match}
    expected = next((line.split("expected ", 1)[1] for line in lines if "expected " in line), "?")
    out = ["/* Case %d of seed %d: expected is %s. Addresses are those of the image `explore`: give it pages of its own. */" % (
        options.case, options.seed, expected),
           'TEST("entry.ID", "TITLE")', "{", "\tstatic const struct {", "\t\tu32 field;", "\t\tu64 value;", "\t} state[] = {"]
    out += ["\t\t{ %s, %s }," % item for item in fields.items() if not item[0].startswith(("HOST_", "VTPR"))]
    out += ["\t};", "", "\tfor (size_t i = 0; i < ARRAY_SIZE(state); i++)", "\t\tvmcs_write(state[i].field, state[i].value);",
            "\texpect_outcome(entry_attempt(false), %s);" % _outcome(expected), "}"]
    return "\n".join(out)


def _outcome(expected: str) -> str:
    match = re.match(r"(error|reason) (\d+)(?:, qualification (\d))?", expected)
    if not match:
        return "EXITS(EXIT_PREEMPTION_TIMER)"
    return "FAIL_VALID(%s)" % match.group(2) if match.group(1) == "error" else "ENTRY_FAILS(%s, %s)" % (match.group(2), match.group(3) or "0")
