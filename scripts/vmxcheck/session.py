# SPDX-License-Identifier: BSD-2-Clause
"""One run from the selection to the results: makes the jobs, runs them, judges what came back."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Dict, IO, Iterable, List, Mapping, Optional, Protocol, Set, Tuple

from . import errata, judging, results as results_module
from .backends.base import Backend
from .compare import Baseline
from .config import DEFAULT_TIMEOUT, LONG, Section
from .errors import Problem
from .history import Durations
from .images import Image
from .inventory.raw import banner_facts
from .known import KnownTable
from .live import Live
from .report import Report
from .results import Point, Results
from .run import Job, Runner
from .selection import Selected, command_lines
from .tapwriter import TapWriter
from .verdict import FLAKY, KNOWN, PASS, RED, SKIP, Ledger, Outcome


class Choosing(Protocol):
    """Gives each section its backend; or None and why."""

    def choose(self, section: Section) -> Tuple[Optional[Backend], str]: ...


@dataclass
class Repro:
    """Makes the command that repeats one test."""

    program: str
    words: List[str]  # options that change what is run
    environment: Mapping[str, str]
    ids: Dict[str, int] = field(default_factory=dict)  # how many sections that run by default have the id
    others: Set[str] = field(default_factory=set)  # sections that do not run by default

    def command(self, section: str, backend: Optional[Backend], identity: Optional[str]) -> str:
        words = ["%s=%s" % (key, shlex.quote(self.environment[key]))
                 for key in ("BOCHS", "QEMU", "ACCEL", "TIMEOUT") if self.environment.get(key)]
        words += [self.program]
        options = list(self.words)
        if backend:
            options += backend.repro()
        if identity is None or self.ids.get(identity, 0) != 1 or section in self.others:
            options += ["--image", section]
        options += [identity] if identity else []
        return " ".join(words + [shlex.quote(option) for option in options])


@dataclass(frozen=True)
class Limits:
    """How far a run goes; 0: no limit."""

    most_failures: int = 0
    seconds: float = 0.0
    retries: int = 0
    allow_flaky: bool = False


class Session:
    """prepare() finds out whether the selection can be run here, keep_in() says where to, run() does it."""

    def __init__(self, selection: List[Selected], chooser: Choosing, results: Results, repro: Repro,
                 known_folder: Path, report: Report, repeat: int = 1, baseline: Optional[Baseline] = None,
                 walks: str = "auto", words: str = "") -> None:
        self._words = words
        self._chooser = chooser
        self._results = results
        self._repro = repro
        self._known_folder = known_folder
        self._report = report
        self._repeat = repeat
        self._baseline = baseline
        self._walks = walks
        self.limits = Limits()
        self._failures: Set[Tuple[str, int, str]] = set()
        self._runner: Optional[Runner] = None
        self._began = time.monotonic()
        self._untold: List[Point] = []  # points that --tap has still to tell, because they may turn out to be flaky
        self.live = False
        self.folder = Path()
        self.tap: Optional[TapWriter] = None
        self._tables: Dict[str, KnownTable] = {}
        self._errata = errata.read()
        self._order = [s.section.name for s in selection]
        self._selection = selection
        self._unable: List[Tuple[Selected, str]] = []
        self._timeout: Optional[float] = None
        self._held: List[Tuple[Job, Point, Backend]] = []  # skipped, and another model may run it
        self.jobs: List[Job] = []

    def prepare(self, timeout: Optional[float]) -> None:
        """Choose a backend for each section; Problem if one has none."""
        problems: List[str] = []
        self._timeout = timeout
        for selected in self._selection:
            section = selected.section
            try:
                backend, why = self._chooser.choose(section)
            except Problem as problem:
                problems.append(str(problem))
                continue
            if backend is None:
                self._unable.append((selected, why))
                continue
            if LONG in section.groups and self._results.whole and self._brief(backend):
                self._unable.append((selected, "takes minutes where walks are brief: --walks whole or --image runs it"))
                continue
            absent = backend.needs_file(selected.image)
            if absent:
                raise Problem(absent)
            backend.prepare()  # only then its version is known
            self._add_target(backend)
            self.jobs += [self._job(selected, backend, number) for number in range(1, self._repeat + 1)]
        self.jobs.sort(key=lambda job: job.round)
        if problems:
            raise Problem("\n".join(problems))

    def _job(self, selected: Selected, backend: Backend, number: int) -> Job:
        """What boots the selected tests of a section there, in round `number`."""
        section = selected.section
        extra = ["order=random seed=%d" % self._results.seed] if self._results.order else []
        extra += [backend.words(section.arguments + " " + self._words)] + (["brief"] if self._brief(backend) else [])
        extra += [self._words] if self._words else []
        extra += ["smp=%d" % section.smp] if section.smp > 1 and "smp=" not in section.arguments else []
        left_out = self._left_out(selected, backend)
        boots = []
        for wanted in [[one] for one in selected.wanted] if section.boots == "each" else [list(selected.wanted)]:
            boots += command_lines(section.arguments, selected.available, wanted, " ".join(extra), selected.image.tests,
                                   [outcome.id for outcome in left_out])
        limit = self._timeout or backend.limit() or section.timeout or DEFAULT_TIMEOUT
        job = Job(section, selected.image, backend, boots, limit, Ledger(selected.wanted), round=number)
        for outcome in left_out:
            job.ledger.leave_out(replace(outcome))
        return job

    def _left_out(self, selected: Selected, backend: Backend) -> List[Outcome]:
        """The tests that are known to hang or crash there and are not run for that, unless they are named."""
        table = self._tables[backend.target()]
        facts = ((identity, title, _facts(selected.section, selected.image, backend, identity))
                 for identity, title in selected.wanted.items() if identity not in selected.named)
        return [outcome for outcome in (table.not_run(*one) for one in facts) if outcome]

    def start_longest_first(self, expected: Durations) -> None:
        """So that the last to end is a short one. What has no known duration goes first."""
        costs: Dict[str, float] = {}
        for (name, _), seconds in expected.items():
            costs[name] = costs.get(name, 0.0) + seconds
        # A backend that runs one image at a time takes them in their order.
        for job in self.jobs:
            if job.backend.at_once == 1:
                costs[job.name] = float("inf")
        self.jobs.sort(key=lambda job: (job.round, -costs.get(job.name, float("inf"))))

    def show_progress(self, expected: Durations, out: IO[str], parallel: int) -> None:
        """Draw the live display while it runs."""
        keys = [(job.name, identity) for job in self.jobs for identity in job.ledger.selected]
        self._report.live = Live(out, self._report.style, len(self.jobs), len(keys), parallel,
                                 {key: expected[key] for key in keys if key in expected})
        self.live = True

    def keep_in(self, folder: Path, tap: Optional[TapWriter]) -> None:
        """From now on something is written: the folder of the run, and the merged TAP stream if there is one."""
        self.folder = folder
        self.tap = tap
        self._results.run = folder.name

    def _add_target(self, backend: Backend) -> None:
        name = self._target_name(backend)
        if name not in self._results.targets:
            self._results.targets[name] = {
                "name": name, "backend": backend.name, "version": backend.version(), "cpu": backend.cpu,
                "host": results_module.host_name(), "walks": "brief" if self._brief(backend) else "whole",
                "table": list(backend.table())}
        if backend.target() not in self._tables:
            table = KnownTable.load(self._known_folder, *backend.table(), path=backend.known_file())
            self._tables[backend.target()] = table
            if table.remark:
                self._results.remarks.append(table.remark)

    def _brief(self, backend: Backend) -> bool:
        """Long walks over values try a selection only (lib/tap/walk.h)."""
        return self._walks == "brief" or (self._walks == "auto" and backend.slow)

    @staticmethod
    def _target_name(backend: Backend) -> str:
        return ("%s %s" % (backend.target(), backend.cpu)).strip()

    def run(self, parallel: int, keep: bool = False) -> Optional[str]:
        """Boot everything. What could not be kept of the logs, or None."""
        for selected, why in self._unable:
            self._skip(selected, why)
        for job in self.jobs:
            if not job.boots:
                self.done(job)
        try:
            temporary = Path(tempfile.mkdtemp(prefix="vmxcheck-"))
        except OSError as error:
            raise Problem("no temporary folder can be made: %s; name another place with TMPDIR" % error.strerror) from None
        try:
            problem = self._run(self.jobs, parallel, temporary, keep)
            second = self._second_jobs()
            if second:
                self.jobs += second
                if self._report.live:
                    self._report.live.more(len(second), sum(len(job.ledger.selected) for job in second))
                problem = self._run(second, parallel, temporary, keep) or problem
            for attempt in range(1, self.limits.retries + 1):
                again = self._retry_jobs(attempt)
                if not again:
                    break
                self._report.say("trying again what is red, %d of %d" % (attempt, self.limits.retries))
                problem = self._run(again, parallel, temporary, keep) or problem
        finally:
            if self._report.live:
                self._report.live.end()
            shutil.rmtree(temporary, ignore_errors=True)
        for backend in {id(job.backend): job.backend for job in self.jobs}.values():
            self._results.targets[self._target_name(backend)].update(backend.facts())
        order = {name: place for place, name in enumerate(self._order)}
        self._results.points.sort(key=lambda point: (order[point.image], point.round))
        self._results.images.sort(key=lambda image: (order[image["image"]], image["round"]))
        return problem

    def _run(self, jobs: List[Job], parallel: int, temporary: Path, keep: bool) -> Optional[str]:
        runner = Runner([job for job in jobs if job.boots], parallel, temporary, self.folder / "logs", self,
                        self.folder / "files" if keep else None)
        self._runner = runner
        if self.limits.seconds:
            runner.stop_at(self._began + self.limits.seconds, "the time limit of the run was reached (--time-limit %g s)" % self.limits.seconds)
        self._results.interrupted = runner.run()
        self._results.stopped = self._results.stopped or ("" if self._results.interrupted else runner.stopped)
        return runner.problem

    # ---- what is red is tried again

    def _retry_jobs(self, attempt: int) -> List[Job]:
        """Each red test once more, the others of its image left out. What an image's TAP says against itself stays as it is."""
        groups: Dict[Tuple[str, str], List[Point]] = {}
        for point in self._results.points:
            if point.fails and point.target and point.verdict != FLAKY and point.id != "image." + point.image:
                groups.setdefault((point.image, point.target), []).append(point)
        if self._results.interrupted or self._results.stopped:
            return []
        jobs = []
        for (name, target), points in groups.items():
            selected = next(one for one in self._selection if one.section.name == name)
            backend = next(job.backend for job in self.jobs if job.name == name and self._target_name(job.backend) == target)
            wanted = {point.id: point.title for point in points}
            job = self._job(replace(selected, wanted=wanted, named=set(wanted)), backend, 1)
            job.attempt = attempt
            jobs.append(job)
        return jobs

    def _tried_again(self, job: Job) -> None:
        target = self._target_name(job.backend)
        first = {point.id: point for point in self._results.points if point.image == job.name and point.target == target}
        for outcome in job.ledger.finish() if not job.ledger.faults else []:
            point, before = self._judge(job, outcome), first[outcome.id]
            if point.verdict in (PASS, KNOWN):
                before.reason = "it was %s at first (%s), and %s when it was tried again" % (before.verdict, before.reason, point.verdict)
                before.was, before.verdict, before.allowed = before.verdict, FLAKY, self.limits.allow_flaky
                self._report.say("  flaky: %s: %s" % (before.id, before.reason))

    def _count(self, point: Point) -> None:
        """--max-failures."""
        if point.fails:
            self._failures.add((point.image, point.round, point.id))
        most = self.limits.most_failures
        if most and len(self._failures) >= most and self._runner:
            self._runner.stop("%d failure%s, and no more are wanted (--max-failures)" % (most, "s"[most == 1:]))

    # ---- what only another model can run

    def _hold(self, job: Job, points: List[Point]) -> List[Point]:
        """The points but for those that are skipped for something that another model has."""
        left = []
        for point in points:
            other = job.backend.other_model(point.reason) if point.verdict == SKIP else None
            if other:
                self._held.append((job, point, other))
            else:
                left.append(point)
        return left

    def _second_jobs(self) -> List[Job]:
        """A test that was skipped wherever it is runs once more, in the first section that has it. All else stays skipped."""
        ran = {(point.id, point.round) for point in self._results.points if point.verdict != SKIP}
        held, self._held = self._held, []
        chosen: Dict[Tuple[str, str, int], List[Tuple[Job, Point, Backend]]] = {}
        for job, point, other in sorted(held, key=lambda one: self._order.index(one[0].name)):
            if self._results.interrupted or (point.id, point.round) in ran:
                self._results.points.append(point)
                continue
            ran.add((point.id, point.round))
            chosen.setdefault((job.name, other.cpu, point.round), []).append((job, point, other))
        jobs = []
        for (name, _, number), group in chosen.items():
            selected = next(one for one in self._selection if one.section.name == name)
            other = group[0][2]
            self._add_target(other)
            wanted = {point.id: point.title for _, point, _ in group}
            job = self._job(replace(selected, wanted=wanted), other, number)
            job.second = True
            self._held += group
            jobs.append(job)
        if jobs:
            self._results.remarks += self._say_models(group for group in chosen.values())
        return jobs

    @staticmethod
    def _say_models(groups: Iterable[List[Tuple[Job, Point, Backend]]]) -> List[str]:
        """A line for each model that a run takes beside the default one."""
        rows: Dict[Tuple[str, str], Set[str]] = {}
        for group in groups:
            for job, point, other in group:
                rows.setdefault((other.cpu, job.backend.cpu), set()).add(point.id)
        return ["%d test%s ran on %s: %s skips %s" % (len(ids), "s"[len(ids) == 1:], model, default, "it" if len(ids) == 1 else "them")
                for (model, default), ids in rows.items()]

    def _settle(self, job: Job, points: List[Point]) -> List[Point]:
        """Of a job on a second model: what is skipped there too is as it was on the first one."""
        first = {point.id: point for old, point, _ in self._held if old.name == job.name and point.round == job.round}
        for point in points:
            if point.verdict == SKIP and point.id in first:
                self._results.remarks.append("spec/models.tsv: %s is skipped on %s too: %s" % (point.id, job.backend.cpu, point.reason))
        return [first[point.id] if point.verdict == SKIP and point.id in first else point for point in points]

    def _skip(self, selected: Selected, why: str) -> None:
        """Not run: no backend of those allowed can, or it would take too long."""
        name = selected.section.name
        points = [Point(identity, name, SKIP, why, 0, 0.0, self._repro.command(name, None, identity), title)
                  for identity, title in selected.wanted.items()]
        self._add(points, name, "", 0.0, [])
        self._results.images.append({"image": name, "file": selected.section.file, "target": "", "round": 1, "banner": "", "boots": 0,
                                     "seconds": 0.0, "logs": [], "faults": [], "notes": [why]})

    # ---- what the runner tells

    def outcome(self, job: Job, outcome: Outcome) -> None:
        if not (self._report.live or self._report.detail > 0 or outcome.verdict in RED):
            return
        if job.attempt:
            return
        point = self._judge(job, outcome)
        self._count(point)
        self._report.point(point)
        if self._report.live:
            self._report.live.point((job.name, outcome.id), point.fails)

    def tick(self, running: List[Job], pending: int) -> None:
        if self._report.live:
            self._report.live.draw(["%s %d/%d" % (job.name, len(job.ledger.outcomes), len(job.ledger.selected)) for job in running])

    def done(self, job: Job) -> None:
        if self._report.live:
            self._report.live.images_done += 1
        target = self._target_name(job.backend)
        if job.attempt:
            self._tried_again(job)
            return
        if job.ledger.banner:
            self._results.targets[target].setdefault("silicon", banner_facts(job.ledger.banner))
        points = [self._judge(job, outcome) for outcome in job.ledger.finish()]
        if job.ledger.faults:
            point = results_module.fault_point(
                job.name, job.ledger.faults, self._repro.command(job.name, job.backend, None), target,
                self._log(job.logs[-1] if job.logs else ""))
            point.round = job.round
            points.append(self._old(point, job))
        self._results.images.append({
            "image": job.name, "file": job.section.file, "target": target, "round": job.round, "banner": job.ledger.banner,
            "boots": job.ledger.boots, "seconds": round(job.seconds, 4), "logs": [self._log(log) for log in job.logs],
            "faults": job.ledger.faults, "notes": job.notes, **results_module.inventory_of(job.ledger.inventory)})
        points = self._settle(job, points) if job.second else self._hold(job, points)
        self._add(points, job.name, target, job.seconds, job.notes)

    def _judge(self, job: Job, outcome: Outcome) -> Point:
        target = self._target_name(job.backend)
        facts = {**_facts(job.section, job.image, job.backend, outcome.id), **banner_facts(job.ledger.banner)}
        point = judging.point_of(outcome, job.name, target, self._repro.command(job.name, job.backend, outcome.id), self._log(outcome.log),
                                 job.round)
        stale = judging.judge(point, outcome, self._tables[job.backend.target()], facts, self._errata)
        if stale:
            self._results.add_stale(stale, target)
        return self._old(point, job)

    def _old(self, point: Point, job: Job) -> Point:
        if self._baseline and point.red:
            point.old = self._baseline.red(point.image, point.id, point.target, (job.backend.name, job.backend.cpu))
        return point

    def _log(self, name: str) -> str:
        return os.path.relpath(self.folder / name) if name else ""

    def _add(self, points: List[Point], name: str, target: str, seconds: float, notes: List[str]) -> None:
        self._results.points += points
        self._report.image(name, target, points, seconds, notes)
        for point in points:
            self._count(point)
        if self.tap and not self.limits.retries:
            for point in points:
                self.tap.point(point)
        else:
            self._untold += points

    def tap_the_rest(self) -> None:
        """What has waited for --retry-failed."""
        for point in self._untold if self.tap and self.limits.retries else []:
            assert self.tap
            self.tap.point(point)


def _facts(section: Section, image: Image, backend: Backend, identity: str) -> Dict[str, str]:
    return judging.facts_of(section, image, backend.cpu, identity, backend.conditions())
