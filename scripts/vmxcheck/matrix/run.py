# SPDX-License-Identifier: BSD-2-Clause
"""Runs the targets that were not run yet, several at a time; keeps what each of them cost.

RESULTS/matrix/TARGET/ has the runs of a target, as a run of its own would have left them; `column.json` says which one counts,
what was tested in it and what it cost. A target is run again if it did not come to its end, or if the images, unittests.cfg
or the tables in spec/ are not those of its last run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from .. import results
from ..errors import Problem
from ..optional import check
from ..paths import PROGRAM, TOP, own_command, results_base
from ..process import dies_with_us
from ..settings import Settings
from . import spec

# Options of a run that mean the same for each target; what says which target is the file's business.
_PASSED_ON = ("walks", "config", "build", "known")
_HELPERS = ("timeout", "cache", "l0_cache")  # which change nothing of what is found
_REFUSED = ("bochs", "qemu", "backend", "cpu", "l0_kernel", "kvm_param", "shard", "durations", "failed", "list", "coverage", "tap", "gdb",
            "keep", "junit", "baseline", "save_baseline", "seed")


@dataclass
class Column:
    """A target and its run."""

    name: str
    words: List[str]
    folder: str = ""
    digest: str = ""
    head: str = ""
    run: str = ""  # the folder of its run
    status: int = -1  # -1: never run
    reason: str = ""  # why it could not be run
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    fresh: bool = False  # run just now

    @property
    def complete(self) -> bool:
        return self.status in (0, 1, 3)


def check_usage(options: argparse.Namespace) -> None:
    for name in _REFUSED:
        if getattr(options, name) not in (None, False, []):
            raise Problem("--%s does not go with --matrix, whose file says what is run" % name.replace("_", "-"))
    if options.repeat != 1 or options.order != "file":
        raise Problem("--repeat and --order do not go with --matrix")
    if options.html:
        check(False, True)


class Runner:
    def __init__(self, options: argparse.Namespace, settings: Settings, say: Callable[[str], None]) -> None:
        self._options = options
        self._base = results_base(options).absolute() / "matrix"
        self._say = say
        self._extra = _words_of(options, _PASSED_ON)
        for name in ("group", "image", "area", "priority"):
            self._extra += [word for value in getattr(options, name) for word in ("--" + name, value)]
        self._extra += ["--fail-stale"] if options.fail_stale else []
        self._helpers = _words_of(options, _HELPERS)
        self._head = _head()
        self._processes: Dict[int, "subprocess.Popen[bytes]"] = {}
        self._stop = False
        self._now = self._digest()
        self._lock = threading.Lock()

    @property
    def base(self) -> Path:
        return self._base

    # ---- what is there

    def _digest(self) -> str:
        """Of all that decides what a run finds, but for the runner itself."""
        build = (self._options.build or TOP / "build") / "x86"
        known = self._options.known or TOP / "spec" / "known"
        files = sorted([*build.glob("*.elf"), *build.glob("*.rom"), *known.glob("*.tsv"), *(TOP / "build" / "l0").glob("init"),
                        self._options.config or TOP / "unittests.cfg", TOP / "spec" / "models.tsv"])
        digest = hashlib.sha256()
        for path in files:
            try:
                digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
            except OSError as error:
                raise Problem("%s: %s" % (path, error.strerror)) from None
        return digest.hexdigest()

    def _last(self, target: spec.Target) -> Column:
        try:
            found = Column(**json.loads((self._folder(target) / "column.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return Column(target.name, self._words(target))
        found.fresh = False
        return found

    def _folder(self, target: spec.Target) -> Path:
        """By its name, and by all else that says what runs: two files may call different things by one name."""
        words = hashlib.sha256("\0".join(self._words(target)).encode()).hexdigest()
        return self._base / ("%s.%s" % (re.sub(r"[^A-Za-z0-9_.=-]+", "_", target.name)[:100], words[:6]))

    def _words(self, target: spec.Target) -> List[str]:
        return [*target.options, *self._extra, *target.patterns, *self._options.patterns]

    def _still_holds(self, column: Column, target: spec.Target) -> bool:
        return (column.complete and column.words == self._words(target) and column.digest == self._now
                and (self._folder(target) / column.run / "results.json").exists())

    # ---- running

    def run(self, targets: List[spec.Target]) -> Tuple[List[Column], bool]:
        """A column for each target, in their order; and whether it was interrupted."""
        last = {target.name: self._last(target) for target in targets}
        due = [target for target in targets if self._options.rerun or not self._still_holds(last[target.name], target)]
        known = [last[target.name].cpu_seconds for target in due if last[target.name].cpu_seconds]
        self._say("%d target%s: %d to run%s, %d as they were" % (
            len(targets), "s"[len(targets) == 1:], len(due),
            ", about %.0f CPU seconds by their last time" % sum(known) if due and len(known) == len(due) else "", len(targets) - len(due)))
        # What takes longest goes first, and what nobody knows before that.
        due.sort(key=lambda target: -(last[target.name].cpu_seconds or float("inf")))
        parallel = max(1, min(self._options.jobs, len(due)))
        columns = dict(last)
        before = {number: signal.signal(number, self._interrupt) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        try:
            with ThreadPoolExecutor(parallel) as pool:
                futures = [pool.submit(self._run_one, target, last[target.name], max(1, self._options.jobs // parallel)) for target in due]
                for target, future in zip(due, futures):
                    while not future.done():
                        time.sleep(0.05)
                    columns[target.name] = future.result()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return [columns[target.name] for target in targets], self._stop

    def _interrupt(self, number: int, frame: object) -> None:
        self._stop = True
        with self._lock:
            for process in self._processes.values():
                process.send_signal(signal.SIGINT)

    def _run_one(self, target: spec.Target, last: Column, jobs: int) -> Column:
        folder = self._folder(target)
        column = Column(target.name, self._words(target), folder.name, self._digest(), self._head)
        if self._stop:
            return last
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Problem("results cannot be kept in %s: %s" % (folder, error.strerror)) from None
        command = [*dies_with_us(), *own_command(), "--results", str(folder), "-q", "--color", "never",
                   "-j", str(jobs), *self._helpers, *column.words]
        before = set(folder.glob("2*/results.json"))
        started = time.monotonic()
        with self._lock:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                       start_new_session=True)
            self._processes[process.pid] = process
        assert process.stdout
        output = process.stdout.read().decode("utf-8", "replace")
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stdout.close()
        with self._lock:
            del self._processes[process.pid]
        column.status, column.fresh = process.returncode, True
        column.seconds = round(time.monotonic() - started, 1)
        column.cpu_seconds = round(usage.ru_utime + usage.ru_stime, 1)
        new = sorted(set(folder.glob("2*/results.json")) - before)
        column.run = new[-1].parent.name if new else ""
        if not column.complete or not new:
            column.status = column.status if column.status not in (0, 1, 3) else 2
            column.reason = "interrupted" if self._stop else _complaint(output, column.status)
        try:
            (folder / "output.txt").write_text(output, encoding="utf-8")
            (folder / "column.json").write_text(json.dumps(asdict(column), indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise Problem("results cannot be kept in %s: %s" % (folder, error.strerror)) from None
        self._say("  %-40s %s, %.1f CPU s" % (target.name, column.reason or _last_line(output), column.cpu_seconds))
        return column

    def data(self, column: Column) -> Optional[Dict[str, Any]]:
        """Its results.json; None if it has none that counts."""
        return results.read(self._base / column.folder / column.run) if column.complete and column.run else None


def _complaint(output: str, status: int) -> str:
    """Why it could not be run: what the program itself says last, in one line."""
    _, found, text = output.rpartition(PROGRAM + ": ")
    return " ".join(text.split())[:200] if found else "the run ended with status %d" % status


def _words_of(options: argparse.Namespace, names: Sequence[str]) -> List[str]:
    """Options of this run, for another."""
    words: List[str] = []
    for name in names:
        value = getattr(options, name)
        if value not in (None, "auto"):
            words += ["--" + name.replace("_", "-"), str(value.absolute() if isinstance(value, Path) else value)]
    return words


def _last_line(output: str) -> str:
    return next((line for line in reversed(output.splitlines()) if line.strip()), "it said nothing")


def _head() -> str:
    try:
        done = subprocess.run(["git", "-C", str(TOP), "rev-parse", "--short", "HEAD"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL)
    except OSError:
        return ""
    return done.stdout.decode("ascii", "replace").strip()
