# SPDX-License-Identifier: BSD-2-Clause
"""One run from the selection to the results: makes the jobs, runs them, judges what came back."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Mapping, Optional

from . import results as results_module
from .backends import Chooser
from .backends.base import Backend
from .config import DEFAULT_TIMEOUT, Section
from .errors import NothingToTest, Problem
from .images import Image
from .known import Deviation, KnownTable
from .report import Report, TapWriter
from .results import Point, Results
from .run import Job, Runner
from .selection import PatternSet, command_lines, configured
from .verdict import CRASH, FAIL, HANG, KNOWN, PASS, SKIP, Ledger, Outcome


@dataclass
class Selected:
    """A section, and those of its tests that were asked for."""

    section: Section
    image: Image
    available: Dict[str, str]
    wanted: Dict[str, str]


@dataclass
class Repro:
    """Makes the command that repeats one test."""

    program: str
    words: List[str]  # options that change what is run
    environment: Mapping[str, str]
    ids: Dict[str, int] = field(default_factory=dict)  # how many sections have the id

    def command(self, section: str, backend: Optional[Backend], identity: Optional[str]) -> str:
        words = ["%s=%s" % (key, shlex.quote(self.environment[key]))
                 for key in ("BOCHS", "QEMU", "ACCEL", "TIMEOUT") if self.environment.get(key)]
        words += [self.program]
        options = list(self.words)
        if backend:
            options += ["--backend", backend.name]
            options += ["--cpu", backend.cpu] if backend.cpu != backend.default_cpu else []
        if identity is None or self.ids.get(identity, 0) != 1:
            options += ["--image", section]
        options += [identity] if identity else []
        return " ".join(words + [shlex.quote(option) for option in options])


def select(sections: List[Section], images: Dict[str, Image], patterns: List[str], groups: List[str],
           names: List[str]) -> List[Selected]:
    """The sections and tests that the command line asks for; NothingToTest if that is none."""
    from fnmatch import fnmatchcase

    chosen = [s for s in sections if s.by_default or names or set(groups) & s.groups]
    for group in groups:
        if not any(group in s.groups for s in sections):
            have = sorted(set().union(*(s.groups for s in sections)))
            raise NothingToTest("no section has the group `%s`%s" % (group, "; there are: " + ", ".join(have) if have else ""))
    for name in names:
        if not any(fnmatchcase(s.name, name) for s in sections):
            raise NothingToTest("no section is called `%s`; there are: %s" % (name, ", ".join(s.name for s in sections)))
    if groups:
        chosen = [s for s in chosen if s.groups & set(groups)]
    if names:
        chosen = [s for s in chosen if any(fnmatchcase(s.name, name) for name in names)]
    found = []
    for section in chosen:
        image = images[section.file]
        available = configured(image.tests, section.arguments)
        if not available:
            raise Problem("unittests.cfg:%d: [%s] has no test: its arguments leave none of image `%s`"
                          % (section.line, section.name, section.file))
        found.append(Selected(section, image, available, available))
    pattern_set = PatternSet(patterns, [identity for s in found for identity in s.available])
    for selected in found:
        selected.wanted = pattern_set.filter(selected.available)
    found = [s for s in found if s.wanted]
    if not found:
        raise NothingToTest("nothing is selected")
    return found


class Session:
    """prepare() finds out whether the selection can be run here, keep_in() says where to, run() does it."""

    def __init__(self, selection: List[Selected], chooser: Chooser, results: Results, repro: Repro,
                 known_folder: Path, report: Report) -> None:
        self._chooser = chooser
        self._results = results
        self._repro = repro
        self._known_folder = known_folder
        self._report = report
        self.folder = Path()
        self.tap: Optional[TapWriter] = None
        self._tables: Dict[str, KnownTable] = {}
        self._order = [s.section.name for s in selection]
        self._selection = selection
        self._unable: List[tuple] = []  # type: ignore[type-arg]
        self.jobs: List[Job] = []

    def prepare(self, timeout: Optional[float]) -> None:
        """Choose a backend for each section; Problem if one has none."""
        problems: List[str] = []
        order = "order=random seed=%d" % self._results.seed if self._results.order else ""
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
            if not (selected.image.rom if backend.name == "bochs" else selected.image.elf).exists():
                raise Problem("image `%s` is not built: %s is missing; run make"
                              % (section.file, selected.image.rom if backend.name == "bochs" else selected.image.elf))
            extra = order + (" smp=%d" % section.smp if section.smp > 1 and "smp=" not in section.arguments else "")
            boots = command_lines(section.arguments, selected.available, selected.wanted, extra)
            limit = timeout or section.timeout or DEFAULT_TIMEOUT
            self.jobs.append(Job(section, selected.image, backend, boots, limit, Ledger(selected.wanted)))
            backend.prepare()
            self._add_target(backend)
        if problems:
            raise Problem("\n".join(problems))

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
                "host": results_module.host_name()}
        if backend.target() not in self._tables:
            self._tables[backend.target()] = KnownTable.load(self._known_folder, backend.target())

    @staticmethod
    def _target_name(backend: Backend) -> str:
        return "%s %s" % (backend.target(), backend.cpu)

    def run(self, parallel: int) -> Optional[str]:
        """Boot everything. What could not be kept of the logs, or None."""
        for selected, why in self._unable:
            self._skip(selected, why)
        temporary = Path(tempfile.mkdtemp(prefix="vmxcheck-"))
        try:
            runner = Runner(self.jobs, parallel, temporary, self.folder / "logs", self._done)
            self._results.interrupted = runner.run()
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        for backend in {id(job.backend): job.backend for job in self.jobs}.values():
            self._results.targets[self._target_name(backend)].update(backend.facts())
        order = {name: place for place, name in enumerate(self._order)}
        self._results.points.sort(key=lambda point: order[point.image])
        self._results.images.sort(key=lambda image: order[image["image"]])
        return runner.problem

    def _skip(self, selected: Selected, why: str) -> None:
        """The user restricted the backends to some that cannot run this image."""
        name = selected.section.name
        points = [Point(identity, name, SKIP, why, 0, 0.0, self._repro.command(name, None, identity), title)
                  for identity, title in selected.wanted.items()]
        self._add(points, name, "", 0.0, [])
        self._results.images.append({"image": name, "file": selected.section.file, "target": "", "banner": "", "boots": 0,
                                     "seconds": 0.0, "logs": [], "faults": [], "notes": [why]})

    def _done(self, job: Job) -> None:
        target = self._target_name(job.backend)
        table = self._tables[job.backend.target()]
        points = [self._judge(job, outcome, table, target) for outcome in job.ledger.finish()]
        if job.ledger.faults:
            points.append(results_module.fault_point(
                job.name, job.ledger.faults, self._repro.command(job.name, job.backend, None), target,
                self._log(job.logs[-1] if job.logs else "")))
        self._results.images.append({
            "image": job.name, "file": job.section.file, "target": target, "banner": job.ledger.banner,
            "boots": job.ledger.boots, "seconds": round(job.seconds, 4), "logs": [self._log(log) for log in job.logs],
            "faults": job.ledger.faults, "notes": job.notes})
        self._add(points, job.name, target, job.seconds, job.notes)

    def _judge(self, job: Job, outcome: Outcome, table: KnownTable, target: str) -> Point:
        point = Point(outcome.id, job.name, outcome.verdict, outcome.reason, outcome.checks, round(outcome.seconds, 4),
                      self._repro.command(job.name, job.backend, outcome.id), outcome.title, target,
                      self._log(outcome.log), outcome.diagnostics)
        line = table.find(outcome.id, {"cpu": job.backend.cpu, "smp": str(job.section.smp), "image": job.name, "kvm": job.backend.variant()})
        if line and outcome.verdict in (FAIL, CRASH, HANG):
            point.verdict = KNOWN
            point.known = _excuse(line)
        elif line and outcome.verdict == PASS:
            self._results.add_stale(line, target)
        return point

    def _log(self, name: str) -> str:
        return os.path.relpath(self.folder / name) if name else ""

    def _add(self, points: List[Point], name: str, target: str, seconds: float, notes: List[str]) -> None:
        self._results.points += points
        self._report.image(name, target, points, seconds, notes)
        if self.tap:
            for point in points:
                self.tap.point(point)


def _excuse(line: Deviation) -> str:
    return "%s (%s)" % (line.why, line.reference) if line.reference != "-" else line.why
