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
  whole        true if nothing narrowed the selection
  shard        "" or K/N
  cut          of a shard: what all shards of one cut have in common (merge looks)
  baseline     "" or the file whose red points do not fail this run
  merged[]     the runs that were joined: run, shard
  target[]     name (BACKEND-VERSION CPU), backend, version, cpu (model), host, walks (whole or brief), table (of
               spec/known, and the version that it is judged by), silicon (fms, microcode, core, hypervisor: what images said
               of the processor), and what the backend found out of itself
  images[]     image, file, target, round, banner (what the image said of its machine), boots, seconds, logs[],
               faults[] (where its TAP contradicted itself), notes[], inventory[] (what the processors said of themselves, raw:
               docs/inventory.md; where the image says it)
  points[]     id, image (section of unittests.cfg), verdict, reason, checks, seconds, repro (the command
               that repeats just this test), title, target (a name of target[], "" if it was not booted),
               log, diagnostics (YAML block and comments as they came), known (the line of spec/known, or ""), was (the
               verdict that the line excuses, or ""),
               notes[] (what the test said of the target that is neither right nor wrong),
               failed (how many of the checks), failing[] (the names of those, CASE | CHECK, as far as the image said them),
               complaints[] (the target's, of itself), facts (where it is not green: what conditions of spec/known are about),
               round (of --repeat, from 1), old (true: red, and red in the baseline too), allowed (true: flaky, which --allow-flaky
               takes for no failure), erratum (the ids of the one of spec/errata.tsv that it is: known then)
  stale[]      lines of spec/known whose test passed where they apply: id, condition, why, reference, where, target
  remarks[]    what to know of the run before its verdicts: a version of a target that was not tried
  counts       verdict -> number

  stopped      "" or why the run ended before its end (--max-failures, --time-limit)

A verdict is pass, fail, skip, known, crash, hang, missing, flaky (red, and not so when it was tried again) or notrun (the run
ended before its turn). A TAP stream that contradicted itself adds a
point with the id image.NAME and the verdict fail: a lie is red even if every test in it said ok.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Dict, List, Optional

from . import VERSION
from .errors import Problem
from .known import Deviation
from .verdict import FAIL, KNOWN, NOT_RUN, PASS, RED, SKIP, VERDICTS

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
    was: str = ""
    notes: List[str] = field(default_factory=list)
    failed: int = 0
    failing: List[str] = field(default_factory=list)
    complaints: List[str] = field(default_factory=list)
    facts: Dict[str, str] = field(default_factory=dict)
    round: int = 1
    old: bool = False
    allowed: bool = False
    erratum: str = ""

    @property
    def red(self) -> bool:
        return self.verdict in RED

    @property
    def fails(self) -> bool:
        """Red, and not so in the baseline already."""
        return self.verdict in RED and not self.old and not self.allowed


@dataclass
class Results:
    """What is gathered during a run."""

    run: str
    command: List[str]
    order: str = ""
    seed: int = 0
    started: float = field(default_factory=time.time)
    seconds: Optional[float] = None  # None: it is still going on
    whole: bool = False
    shard: str = ""
    cut: str = ""
    baseline: str = ""
    merged: List[Dict[str, str]] = field(default_factory=list)
    targets: Dict[str, Dict[str, Any]] = field(default_factory=dict)
    images: List[Dict[str, Any]] = field(default_factory=list)
    points: List[Point] = field(default_factory=list)
    stale: List[Dict[str, str]] = field(default_factory=list)
    remarks: List[str] = field(default_factory=list)
    interrupted: bool = False
    stopped: str = ""

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
        if any(point.fails for point in self.points):
            return 1
        if counts[NOT_RUN]:
            return 2  # nobody can tell
        if counts[PASS] + counts[KNOWN] == 0 and not any(point.old for point in self.points):
            return 3
        return 1 if fail_stale and self.stale else 0

    def summary_line(self) -> str:
        counts = self.counts()
        failed = sum(point.fails for point in self.points)
        return "%d passed, %d failed, %d skipped" % (counts[PASS], failed, counts[SKIP])

    def as_dict(self, exit_status: int) -> Dict[str, Any]:
        return {
            "format": FORMAT,
            "vmxcheck": VERSION,
            "run": self.run,
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(self.started)),
            "seconds": round(time.time() - self.started if self.seconds is None else self.seconds, 3),
            "command": self.command,
            "interrupted": self.interrupted,
            "exit_status": exit_status,
            "order": self.order,
            "seed": self.seed,
            "whole": self.whole,
            "shard": self.shard,
            "cut": self.cut,
            "baseline": self.baseline,
            "merged": self.merged,
            "target": list(self.targets.values()),
            "images": self.images,
            "points": [asdict(point) for point in self.points],
            "stale": self.stale,
            "remarks": self.remarks,
            "stopped": self.stopped,
            "counts": self.counts(),
        }

    @classmethod
    def from_dict(cls, data: Dict[str, Any]) -> "Results":
        """What as_dict() made, also by an older version: what is not there has its default."""
        names = {f.name for f in fields(Point)}
        found = cls(data["run"], data["command"], data.get("order", ""), data.get("seed", 0), seconds=data["seconds"],
                    whole=data.get("whole", False), shard=data.get("shard", ""), cut=data.get("cut", ""),
                    baseline=data.get("baseline", ""), merged=data.get("merged", []),
                    targets={target["name"]: target for target in data["target"]}, images=data["images"],
                    points=[Point(**{key: value for key, value in point.items() if key in names}) for point in data["points"]],
                    stale=data["stale"], remarks=data.get("remarks", []), interrupted=data["interrupted"], stopped=data.get("stopped", ""))
        try:
            found.started = datetime.strptime(data["started"], "%Y-%m-%dT%H:%M:%S%z").timestamp()
        except ValueError:
            found.started = 0.0
        return found


def inventory_of(lines: List[str]) -> Dict[str, Any]:
    """The key of images[] for it, where there is one."""
    return {"inventory": lines} if lines else {}


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
    """results.json, whole or not at all; then `latest` points to it, and `latest-whole` if nothing was left out."""
    part = folder / "results.json.part"
    try:
        part.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
        part.replace(folder / "results.json")
        whole = data["whole"] and not data["shard"] and not data["interrupted"] and not data.get("stopped")
        for name in ["latest"] + (["latest-whole"] if whole else []):
            link = folder.parent / (".%s.%d" % (name, os.getpid()))
            link.symlink_to(folder.name)
            link.replace(folder.parent / name)
    except OSError as error:
        raise Problem("results cannot be kept in %s: %s" % (folder, error.strerror)) from None


def prune(base: Path, number: int) -> None:
    """Of the runs in a folder keep the newest, and those that `latest` and `latest-whole` are."""
    runs = sorted((path for path in base.iterdir() if re.fullmatch(r"[0-9]{8}-[0-9]{6}(-[0-9]+)?", path.name) and not path.is_symlink()),
                  key=lambda path: tuple(int(part) for part in path.name.split("-")))
    kept = {(base / name).resolve() for name in ("latest", "latest-whole")}
    for path in runs[:-number]:
        if path.resolve() not in kept:
            shutil.rmtree(path, ignore_errors=True)


def read(path: Path) -> Dict[str, Any]:
    """A results.json, or the one of a run's folder, or of the last run in a folder of runs."""
    for place in (path, path / "results.json", path / "latest" / "results.json"):
        if place.is_file():
            break
    else:
        raise Problem("%s: no results.json there" % path)
    try:
        data: Dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
        if data["format"] != FORMAT or not isinstance(data["points"], list):
            raise Problem("%s: its format is not %d" % (place, FORMAT))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Problem("%s: not the results of a run: %s" % (place, error)) from None
    return data


def load(path: Path) -> Results:
    try:
        return Results.from_dict(read(path))
    except (KeyError, TypeError) as error:
        raise Problem("%s: not the results of a run: %s" % (path, error)) from None


def read_latest(base: Path, name: str = "latest") -> Dict[str, Any]:
    """The last run's results.json; {} if there is none."""
    return read(base / name) if (base / name / "results.json").exists() else {}
