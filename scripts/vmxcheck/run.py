# SPDX-License-Identifier: BSD-2-Clause
"""Boots jobs in parallel: one loop over what the emulators say, with time limits and restarts.

A job is one section of unittests.cfg on one backend. Its time limit is how long it may go on without
starting or reporting a test, so a slow machine does not turn a long image into a hang.
"""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Deque, List, Optional, Protocol

from . import verdict
from .backends.base import Backend
from .config import Section
from .emulator import Emulator
from .errors import Problem
from .images import Image
from .keep import keep_files
from .launch import Boot
from .verdict import Ledger, Outcome

MOST_OUTPUT = 16 * 1024 * 1024  # bytes of one boot
TIME_TO_END = 2.0  # seconds between "# end" and the emulator's own end
TIME_TO_SPEAK = 0.2  # the same where the machine may halt for ever: for what may still come, which is wrong
COALESCE = 0.001  # seconds: Bochs writes byte by byte, and waking for each of them costs more than waiting
TICK = 0.1  # seconds between two pictures of the live display
POLL = 0.02  # seconds, where the kernel cannot tell us that a process ended


@dataclass
class Job:
    """One section on one backend, and what came of it."""

    section: Section
    image: Image
    backend: Backend
    boots: List[List[str]]  # each: command line, then the ids that it selects
    limit: float
    ledger: Ledger
    seconds: float = 0.0
    logs: List[str] = field(default_factory=list)
    notes: List[str] = field(default_factory=list)
    round: int = 1  # of --repeat
    attempt: int = 0  # of --retry-failed
    second: bool = False  # on another model than the default, for what is skipped there

    @property
    def name(self) -> str:
        return self.section.name

    @property
    def file_name(self) -> str:
        """In front of the names of its files."""
        round_ = ".r%d" % self.round if self.round > 1 else ""
        boot = ".%d" % (self.ledger.boots + 1) if self.ledger.boots else ""
        model = "." + self.backend.cpu if self.second else ""
        model += ".try%d" % self.attempt if self.attempt else ""
        return "%s.%s%s%s%s" % (self.name, self.backend.name, model, round_, boot)


class Watcher(Protocol):
    """Who is told what happens."""

    live: bool  # wants tick()

    def outcome(self, job: Job, outcome: Outcome) -> None:
        """A test has come to its end; again if what came behind it changes that."""

    def done(self, job: Job) -> None:
        """A job has come to its end; its ledger is complete."""

    def tick(self, running: List[Job], pending: int) -> None:
        """Some time has passed."""


class _Active:
    """A job's boot that is going on."""

    def __init__(self, job: Job, emulator: Emulator, folder: Path, log: Optional[IO[bytes]]) -> None:
        self.job = job
        self.emulator = emulator
        self.folder = folder
        self.log = log
        self.after: Optional[str] = None
        self.retried = False
        self.started = time.monotonic()
        self.deadline = self.started + job.limit
        self.bytes = 0
        self.how: Optional[str] = None

    @property
    def overdue_at(self) -> float:
        return max(self.deadline, self.emulator.alive_until)


class Runner:
    """run() returns True if it was interrupted. Every job's ledger is complete afterwards. Problem: nothing could be run."""

    def __init__(self, jobs: List[Job], parallel: int, temporary: Path, logs: Path, watcher: Watcher,
                 kept: Optional[Path] = None) -> None:
        self._pending: Deque[Job] = deque(jobs)
        self._backends = list({id(job.backend): job.backend for job in jobs}.values())
        self._active: List[_Active] = []
        self._parallel = max(1, parallel)
        self._temporary = temporary
        self._logs = logs
        self._watcher = watcher
        self._kept = kept  # where what was booted is kept, if it is
        self._next_tick = 0.0
        self._selector = selectors.DefaultSelector()
        self._stop = False
        self._signalled = False
        self._why = verdict.STOPPED_BY_A_SIGNAL
        self._until = float("inf")
        self._why_then = ""
        self._boots = 0
        self._heard = False  # of any image
        self.problem: Optional[str] = None  # the logs could not be kept

    def run(self) -> bool:
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_read, False)
        os.set_blocking(wake_write, False)
        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self._interrupt) for number in signals}
        before_fd = signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        self._selector.register(wake_read, selectors.EVENT_READ, None)
        try:
            self._loop()
        finally:
            for active in self._active:
                self._close(active)
            for backend in self._backends:
                backend.stop()
            signal.set_wakeup_fd(before_fd)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._selector.close()
            os.close(wake_read)
            os.close(wake_write)
        return self._signalled

    def _interrupt(self, number: int, frame: object) -> None:
        self._stop = self._signalled = True

    def stop(self, why: str) -> None:
        """Start nothing more, and end what runs."""
        if not self._stop:
            self._stop, self._why = True, why

    @property
    def stopped(self) -> str:
        """Why it stopped before its end, or ""."""
        return self._why if self._stop else ""

    def stop_at(self, when: float, why: str) -> None:
        """The same, by the clock (time.monotonic)."""
        self._until, self._why_then = when, why

    def _loop(self) -> None:
        while self._active or (self._pending and not self._stop):
            while not self._stop:
                job = self._next()
                if job is None:
                    break
                self._start_boot(job, None)
            if not self._active:
                continue
            if self._stop:
                break
            ready = self._selector.select(self._patience())
            if time.monotonic() >= self._until:
                self.stop(self._why_then)
            if self._stop:
                break
            if ready:
                time.sleep(COALESCE)
            now = time.monotonic()
            if self._watcher.live and now >= self._next_tick:
                self._next_tick = now + TICK
                self._watcher.tick([active.job for active in self._active], len(self._pending))
            speaking = {id(key.data) for key, _ in ready}
            for active in list(self._active):
                if id(active) in speaking or active.overdue_at <= now or active.emulator.needs_polling:
                    self._serve(active)
        for active in list(self._active):
            self._serve(active, verdict.STOPPED)
        for job in self._pending:
            job.ledger.stop(self._why)
            self._watcher.done(job)

    def _next(self) -> Optional[Job]:
        """The first pending job whose backend has a place for it."""
        if len(self._active) >= self._parallel:
            return None
        for job in self._pending:
            busy = sum(active.job.backend is job.backend for active in self._active)
            if job.backend.at_once is None or busy < job.backend.at_once:
                self._pending.remove(job)
                return job
        return None

    def _patience(self) -> Optional[float]:
        wait = min(self._until, *(active.overdue_at for active in self._active)) - time.monotonic()
        if any(active.emulator.needs_polling for active in self._active):
            wait = min(wait, POLL)
        if self._watcher.live:
            wait = min(wait, TICK)
        return None if wait == float("inf") else max(0.0, wait)

    # ---- starting

    def _start_boot(self, job: Job, after: Optional[str], retried: bool = False) -> None:
        command_line, *ids = job.boots[0]
        if after:
            command_line = (command_line + " after=" + after).strip()
        self._boots += 1
        folder = self._temporary / str(self._boots)
        name = job.file_name + ".log"
        try:
            folder.mkdir()
            boot = Boot(job.image, command_line, job.section.smp, job.section.memory, folder, job.section.topology, job.limit)
            emulator = job.backend.start(boot, lambda launch: self._keep_files(job, launch.argv, folder))
        except (OSError, Problem) as error:
            job.ledger.give_up("%s could not be started: %s" % (job.backend.name, error))
            shutil.rmtree(folder, ignore_errors=True)
            self._watcher.done(job)
            return
        active = _Active(job, emulator, folder, self._open_log(name))
        active.after, active.retried = after, retried
        job.logs.append("logs/" + name)
        job.ledger.begin_boot(ids, active.started, "logs/" + name)
        self._active.append(active)
        for descriptor in emulator.descriptors():
            self._selector.register(descriptor, selectors.EVENT_READ, active)

    def _keep_files(self, job: Job, argv: List[str], folder: Path) -> None:
        """What this boot is started with, and a script that does it again."""
        if self._kept:
            try:
                keep_files(self._kept / job.file_name, argv, folder, job.image.elf)
            except OSError as error:
                self.problem = "%s: %s" % (self._kept, error.strerror)

    def _open_log(self, name: str) -> Optional[IO[bytes]]:
        try:
            return open(self._logs / name, "wb", buffering=0)
        except OSError as error:
            self.problem = "%s: %s" % (self._logs / name, error.strerror)
            return None

    # ---- reading

    def _serve(self, active: _Active, how: Optional[str] = None) -> None:
        """Read what there is; end the boot when it is over."""
        now = time.monotonic()
        self._read(active, now)
        self._forget(active)
        ledger = active.job.ledger
        if active.how is None and active.emulator.exited:
            active.how = active.emulator.how or verdict.EXITED
        if active.how is None and now >= active.overdue_at:
            active.how = verdict.LIMIT
            if ledger.reader.ended and active.job.backend.ends_by_itself:
                active.job.notes.append("the image did not end itself: it was killed %g s after its last line" % TIME_TO_END)
        active.how = active.how or how
        if active.how:
            self._end_boot(active, active.how)

    def _read(self, active: _Active, now: float) -> None:
        ledger = active.job.ledger
        while True:
            data = active.emulator.read()
            findings = active.emulator.findings()
            if not data and not findings:
                return
            active.bytes += len(data)
            self._heard = self._heard or bool(data)
            self._keep(active, data)
            ended = ledger.reader.ended
            for finding in findings:
                ledger.complain(finding)
            if ledger.feed(data, now):
                active.deadline = now + active.job.limit
            self._tell(active.job)
            if ledger.reader.ended and not ended:
                active.deadline = now + (TIME_TO_END if active.job.backend.ends_by_itself else TIME_TO_SPEAK)
            if ledger.reader.was_reset:
                active.how = verdict.RESET
                return
            if active.bytes > MOST_OUTPUT:
                active.how = verdict.FLOOD
                return
            if not active.emulator.exited and now + COALESCE < time.monotonic():
                return  # the others want to be served, too

    def _tell(self, job: Job) -> None:
        if job.ledger.fresh:
            fresh, job.ledger.fresh = job.ledger.fresh, []
            for outcome in fresh:
                self._watcher.outcome(job, outcome)

    def _keep(self, active: _Active, data: bytes) -> None:
        if active.log:
            try:
                active.log.write(data)
            except OSError as error:
                self.problem = "%s: %s" % (active.log.name, error.strerror)
                active.log.close()
                active.log = None

    # ---- ending

    def _forget(self, active: _Active) -> None:
        for descriptor in active.emulator.closed():
            self._selector.unregister(descriptor)

    def _close(self, active: _Active) -> None:
        for descriptor in active.emulator.descriptors():
            try:
                self._selector.unregister(descriptor)
            except KeyError:
                pass
        active.emulator.close()
        if active.log:
            active.log.close()
        shutil.rmtree(active.folder, ignore_errors=True)

    def _end_boot(self, active: _Active, how: str) -> None:
        job, emulator = active.job, active.emulator
        for descriptor in emulator.descriptors():
            self._selector.unregister(descriptor)
        emulator.kill()
        output = emulator.output()
        self._active.remove(active)
        self._close(active)
        now = time.monotonic()
        job.seconds += now - active.started
        self._keep_output(job, output)

        if how == verdict.EXITED and not active.bytes and not active.retried and job.backend.start_failed(output):
            job.logs.pop()
            job.ledger.boots -= 1
            self._start_boot(job, active.after, retried=True)
            return
        unusable = None if self._heard or self._stop else job.backend.unusable()
        if unusable:  # the same would come of all others
            raise Problem(unusable + ("; more is in %s" % os.path.relpath(self._logs) if output else ""))
        words = emulator.words or (job.backend.last_words(output) if how == verdict.EXITED else "")
        after = job.ledger.end_boot(how, words, job.limit, now)
        self._tell(job)
        if not after:
            job.boots.pop(0)
        if self._stop:
            job.ledger.stop(self._why)
        elif job.boots:
            self._start_boot(job, after)
            return
        self._watcher.done(job)

    def _keep_output(self, job: Job, output: str) -> None:
        """What the emulator itself said, beside the log of the serial port."""
        if not output or not job.logs:
            return
        try:
            (self._logs / Path(job.logs[-1]).name).with_suffix(".emulator.txt").write_text(output, encoding="utf-8")
        except OSError as error:
            self.problem = "%s: %s" % (self._logs, error.strerror)
