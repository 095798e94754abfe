# SPDX-License-Identifier: BSD-2-Clause
"""results/RUN/results.json: all that a run found out. Every report is a view of this file.

Keys (stable; new ones may be added):

  format       1
  vmxcheck     version of the suite
  run          name of the run, and of its folder
  started      local time, ISO 8601
  seconds      from start to end
  command      the words of the command line
  interrupted  true if the run was ended from outside (the rest is `missing`)
  exit_status  0 all green, 1 a failure, 2 usage or environment, 3 nothing was tested, 130 interrupted
  order, seed  "" or "random", and its seed
  target[]     name (BACKEND-VERSION CPU), backend, version, cpu (model), host
  images[]     image, file, target, banner (what the image said of its machine), boots, seconds, logs[],
               faults[] (where its TAP contradicted itself), notes[]
  points[]     id, image (section of unittests.cfg), verdict, reason, checks, seconds, repro (the command
               that repeats just this test), title, target (a name of target[], "" if it was not booted),
               log, diagnostics (YAML block and comments as they came), known (the line of spec/known, or "")
  stale[]      lines of spec/known whose test passed where they apply: id, condition, why, reference, where, target
  counts       verdict -> number

A verdict is pass, fail, skip, known, crash, hang or missing. A TAP stream that contradicted itself adds a
point with the id image.NAME and the verdict fail: a lie is red even if every test in it said ok.
"""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Dict, List

from . import VERSION
from .errors import Problem
from .known import Deviation
from .verdict import FAIL, KNOWN, PASS, RED, SKIP, VERDICTS

FORMAT = 1


@dataclass
class Point:
    """One test on one target; the keys of points[]."""

    id: str
    image: str
    verdict: str
    reason: str
    checks: int
    seconds: float
    repro: str
    title: str = ""
    target: str = ""
    log: str = ""
    diagnostics: str = ""
    known: str = ""

    @property
    def red(self) -> bool:
        return self.verdict in RED


@dataclass
class Results:
    """What is gathered during a run."""

    run: str
    command: List[str]
    order: str = ""
    seed: int = 0
    started: float = field(default_factory=time.time)
    targets: Dict[str, Dict[str, str]] = field(default_factory=dict)
    images: List[Dict[str, Any]] = field(default_factory=list)
    points: List[Point] = field(default_factory=list)
    stale: List[Dict[str, str]] = field(default_factory=list)
    interrupted: bool = False

    def add_stale(self, line: Deviation, target: str) -> None:
        entry = {"id": line.id, "condition": line.condition, "why": line.why, "reference": line.reference,
                 "where": line.where, "target": target}
        if not any(old["where"] == line.where for old in self.stale):
            self.stale.append(entry)

    def counts(self) -> Dict[str, int]:
        numbers = dict.fromkeys(VERDICTS, 0)
        for point in self.points:
            numbers[point.verdict] += 1
        return numbers

    def exit_status(self, fail_stale: bool) -> int:
        counts = self.counts()
        if self.interrupted:
            return 130
        if any(point.red for point in self.points):
            return 1
        if counts[PASS] + counts[KNOWN] == 0:
            return 3
        return 1 if fail_stale and self.stale else 0

    def summary_line(self) -> str:
        counts = self.counts()
        return "%d passed, %d failed, %d skipped" % (counts[PASS], sum(counts[v] for v in RED), counts[SKIP])

    def as_dict(self, exit_status: int) -> Dict[str, Any]:
        return {
            "format": FORMAT,
            "vmxcheck": VERSION,
            "run": self.run,
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(self.started)),
            "seconds": round(time.time() - self.started, 3),
            "command": self.command,
            "interrupted": self.interrupted,
            "exit_status": exit_status,
            "order": self.order,
            "seed": self.seed,
            "target": list(self.targets.values()),
            "images": self.images,
            "points": [asdict(point) for point in self.points],
            "stale": self.stale,
            "counts": self.counts(),
        }


def fault_point(image: str, faults: List[str], repro: str, target: str, log: str) -> Point:
    """The point that makes a stream which contradicted itself red."""
    return Point("image." + image, image, FAIL, "; ".join(faults), len(faults), 0.0, repro,
                 "the image's TAP is true to itself", target, log)


def host_name(root: Path = Path("/")) -> str:
    """The machine below the emulator, in one line."""
    system = os.uname()
    processor = ""
    try:
        for line in (root / "proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                processor = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    return ", ".join(part for part in ("%s %s %s" % (system.sysname, system.release, system.machine), processor,
                                       "%d CPUs" % (os.cpu_count() or 1)) if part)


def create_folder(base: Path) -> Path:
    """A new folder for this run; its name is the time."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for number in range(1000):
        folder = base / (stamp + ("-%d" % number if number else ""))
        try:
            (folder / "logs").mkdir(parents=True)
            return folder
        except FileExistsError:
            if not (base.is_dir() and folder.is_dir()):
                raise Problem("%s is in the way: results need a folder there" % base) from None
        except OSError as error:
            raise Problem("results cannot be kept in %s: %s; name another folder with --results"
                          % (base, error.strerror)) from None
    raise Problem("%s has too many runs of this second" % base)


def write(folder: Path, data: Dict[str, Any]) -> None:
    """results.json, whole or not at all; then `latest` points to it."""
    import json

    part = folder / "results.json.part"
    try:
        part.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
        part.replace(folder / "results.json")
        link = folder.parent / (".latest.%d" % os.getpid())
        link.symlink_to(folder.name)
        link.replace(folder.parent / "latest")
    except OSError as error:
        raise Problem("results cannot be kept in %s: %s" % (folder, error.strerror)) from None


def read_latest(base: Path) -> Dict[str, Any]:
    """The last run's results.json; {} if there is none."""
    import json

    path = base / "latest" / "results.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))  # type: ignore[no-any-return]
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise Problem("%s: %s" % (path, error)) from None
