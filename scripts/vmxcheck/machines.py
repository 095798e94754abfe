# SPDX-License-Identifier: BSD-2-Clause
"""The hostile machines (docs/machines.md): the images of the check build on machines that are stranger than the one at hand.

tests/machines/axes.cfg has the axes. Each point of an axis is a run like any other; its verdicts are compared with those of
the same images on the machine as it is. An axis is green if nothing differs but by a SKIP that names the axis's feature, and
if the test that is wrong on purpose comes out otherwise at one of its points at least.

Each run has one processor of this machine, and as many of them go on at once as there are.
"""

from __future__ import annotations

import configparser
import re
import subprocess
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Set, Tuple

from . import compare, results, table
from .build import make
from .config import Section, load as load_config
from .errors import NothingToTest, Problem
from .paths import TOP, own_command
from .verdict import FAIL, KNOWN, PASS, RED, SKIP

FOLDER = TOP / "tests" / "machines"
BUILD = Path("build") / "check"
WRONG = "hostile"  # the image of the tests that are wrong on purpose
DEFAULT_ON = "bochs:tigerlake"
DEFAULT_IMAGES = "guest capability controls instruction exec event apic memory vmcs exit abort* sipi shadow entry load"
_KEYS = ("what", "points", "images", "on", "skips", "wrong", "short", "short_images", "apart")


@dataclass(frozen=True)
class Axis:
    """One section of axes.cfg."""

    name: str
    what: str
    points: List[str]
    short: List[str]  # the points of the short selection; none: the axis is not in it
    images: List[str]  # globs over the sections of unittests.cfg
    short_images: List[str]
    on: List[str]  # BACKEND:CPU, BACKEND/VERSION:CPU
    skips: str  # what the reason of a SKIP matches that the axis may bring
    wrong: str  # the id of the test that is wrong on purpose; "" where none can be
    apart: str  # why it is run by its name alone; "": it is one of all


@dataclass(frozen=True)
class Difference:
    """A verdict that is another one than on the machine as it is."""

    point: str
    image: str
    id: str
    before: str
    after: str
    reason: str


def told(differences: Sequence[Difference]) -> List[str]:
    """What differs, for people: why an image ended first; what many tests have in common once, and likewise what many points have."""
    together: Dict[Tuple[str, str, str, str], List[Difference]] = {}
    for one in differences:
        together.setdefault((one.point, one.image, one.after, one.reason), []).append(one)
    alone: Dict[Tuple[str, str, str, str, str], List[str]] = {}
    lines = []
    for (point, image, after, reason), those in together.items():
        if len(those) > 1:
            names = ", ".join(one.id for one in those[:3]) + (" and %d more" % (len(those) - 3) if len(those) > 3 else "")
            lines.append((reason, "[%s] %s: -> %s: %s: %s" % (point, image, after, reason, names)))
        else:
            alone.setdefault((image, those[0].id, those[0].before, after, reason), []).append(point)
    for (image, identity, before, after, reason), points in alone.items():
        lines.append((reason, "[%s] %s %s: %s -> %s: %s" % (" | ".join(points), image, identity, before or "-", after, reason)))
    return [line for _, line in sorted(lines, key=lambda pair: not pair[0].startswith("Bail out!"))]


@dataclass
class Tally:
    """What came of an axis."""

    points: int = 0
    same: int = 0
    skipped: int = 0
    not_judged: int = 0
    seconds: float = 0.0
    different: List[Difference] = field(default_factory=list)
    faults: List[str] = field(default_factory=list)  # of the axis itself

    @property
    def green(self) -> bool:
        return not self.different and not self.faults


def read_axes(path: Path = FOLDER / "axes.cfg") -> List[Axis]:
    parser = configparser.ConfigParser(interpolation=None, comment_prefixes=("#",), delimiters=("=",), strict=True)
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except (OSError, configparser.Error) as error:
        raise Problem("%s: %s" % (path, error)) from None
    axes = []
    for name in parser.sections():
        keys = parser[name]
        unknown = [key for key in keys if key not in _KEYS]
        if unknown or "what" not in keys or "points" not in keys:
            raise Problem("%s: [%s] has %s" % (path.name, name, "the unknown key `%s`" % unknown[0] if unknown else "no `what` or no `points`"))
        images = keys.get("images", DEFAULT_IMAGES).split()
        axes.append(Axis(name, keys["what"], _split(keys["points"]), _split(keys.get("short", "")), images,
                         keys.get("short_images", "").split() or images, keys.get("on", DEFAULT_ON).split(),
                         keys.get("skips", ""), keys.get("wrong", ""), keys.get("apart", "")))
    return axes


def _split(text: str) -> List[str]:
    """Points are separated by `|`; `plain` is the machine as it is but for the axis's own `on`."""
    return [" ".join(point.split()) for point in text.split("|") if point.strip()]


def read_not_judged(path: Path = FOLDER / "not-judged.tsv") -> List[Tuple[str, str, str]]:
    """(axis, or axis and point, as globs; glob over ids; why)."""
    return [(axis, identity, why) for axis, identity, why in table.read(path, "axis", "id", "why")]


def _text(section: Section) -> str:
    """A section as unittests.cfg has it."""
    lines = ["[%s]" % section.name, "file = %s" % section.file, "smp = %d" % section.smp, "memory = %d" % section.memory]
    lines += ["arguments = %s" % section.arguments] if section.arguments else []
    lines += ["groups = %s" % " ".join(sorted(section.groups - {"nodefault", "long"}))] if section.groups - {"nodefault", "long"} else []
    lines += ["timeout = %g" % section.timeout] if section.timeout else []
    lines += ["needs = %s" % " ".join(sorted(section.needs))] if section.needs else []
    lines += ["boots = %s" % section.boots] if section.boots != "one" else []
    lines += ["topology = %s" % section.topology] if section.topology else []
    return "\n".join(lines) + "\n"


def apply(section: Section, point: str) -> Section:
    """The section on the machine of that point: words for the image, and smp=, memory=, topology=, timeout= for the machine."""
    words = [] if point == "plain" else point.split()
    for word in list(words):
        key, _, value = word.partition("=")
        if key in ("smp", "memory", "topology", "timeout"):
            words.remove(word)
            kind = {"topology": str, "timeout": float}.get(key, int)
            section = replace(section, **{key: kind(value)})
        elif key in ("pad", "images", "tests", "without"):
            words.remove(word)
    return replace(section, arguments=" ".join([section.arguments, *words]).strip())


def _word(point: str, key: str) -> str:
    """The value of `key=VALUE` in a point; "" if it is not there."""
    found = re.search(r"(?:^| )%s=(\S+)" % key, point)
    return found.group(1) if found else ""


def _words(point: str, key: str) -> List[str]:
    """The parts of `key=A,B`."""
    return [part for part in _word(point, key).split(",") if part]


def _on(on: str, point: str) -> str:
    """The target of a point: `without=A,B` switches features of its processor off."""
    return ",-".join([on, *_words(point, "without")])


def _build(point: str) -> Path:
    pad = _word(point, "pad")
    return BUILD / ("pad" + pad) if pad else BUILD


def _red(data: Dict[str, Any]) -> Set[str]:
    return {point["id"] for point in data["points"] if point["verdict"] in RED}


@dataclass
class Run:
    """What came of one, and what it took."""

    data: Dict[str, Any]
    seconds: float


@dataclass
class Started:
    """An axis whose runs are on their way."""

    axis: Axis
    runs: List[Tuple[str, str, List[Section], "Future[Run]"]]  # on, point, sections, run
    wrong: Optional["Future[bool]"]


class Matrix:
    """Runs the points; knows the reference runs that it has made already."""

    def __init__(self, jobs: int, base: Path) -> None:
        self.base = base
        self._pool = ThreadPoolExecutor(jobs)
        self.sections = load_config(TOP / "unittests.cfg")
        self.not_judged = read_not_judged()
        self.used: Set[Tuple[str, str, str]] = set()  # rows of not_judged
        self._reference: Dict[Tuple[str, str], "Future[Run]"] = {}  # by backend with model, and section

    def stop(self) -> None:
        """Begin no more runs."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    # ---- one run

    def _start(self, name: str, on: str, sections: Sequence[Section], build: Path, ids: Sequence[str] = ()) -> "Future[Run]":
        return self._pool.submit(self._run, name, on, sections, build, ids)

    def _run(self, name: str, on: str, sections: Sequence[Section], build: Path, ids: Sequence[str] = ()) -> Run:
        """results.json of these sections there."""
        target, _, cpu = on.partition(":")
        backend, _, version = target.partition("/")
        folder = self.base / re.sub(r"[^A-Za-z0-9_.=-]+", "_", name)[:120]
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "unittests.cfg"
        config.write_text("\n".join(_text(section) for section in sections), encoding="utf-8")
        command = [*own_command(), "--config", str(config), "--build", str(build),
                   "--results", str(folder), "--backend", backend, "-j", "1", "--walks", "brief", "-q", "--color", "never", *ids]
        command += ["--cpu", cpu] if cpu else []
        command += [{"bochs": "--bochs"}.get(backend, "--qemu"), version] if version else []
        started = time.monotonic()
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=TOP)
        if done.returncode not in (0, 1, 3):
            raise Problem("%s: the run ended with status %d:\n%s" % (name, done.returncode, done.stdout.decode("utf-8", "replace")[-2000:]))
        return Run(results.read(folder / "latest"), time.monotonic() - started)

    def _chosen(self, images: Sequence[str], on: str) -> List[Section]:
        plain_only = on.startswith("qemu-tcg")
        return [section for section in self.sections
                if any(fnmatchcase(section.name, glob) for glob in images) and not (plain_only and section.needs)
                and (not section.backends or on.partition(":")[0].partition("/")[0] in section.backends)]

    def _start_reference(self, on: str, sections: Sequence[Section]) -> None:
        """The machine as it is: each section is run once for each backend and model."""
        on = on.partition(",")[0]
        for section in sections:
            if (on, section.name) not in self._reference:
                self._reference[on, section.name] = self._start("as-it-is.%s.%s" % (on, section.name), on, [section], BUILD)

    def _reference_of(self, on: str, sections: Sequence[Section], globs: Sequence[str]) -> Dict[str, Any]:
        found = [self._reference[on.partition(",")[0], section.name].result().data for section in sections]
        return dict(found[0], points=[point for data in found for point in data["points"]
                                      if not globs or any(fnmatchcase(point["id"], glob) for glob in globs)])

    # ---- one axis

    def start(self, axis: Axis, short: bool) -> "Started":
        runs = []
        for on in axis.on[:1] if short else axis.on:
            for point in axis.short if short else axis.points:
                images = _words(point, "images") or (axis.short_images if short else axis.images)
                sections = self._chosen(images, on)
                if not sections:
                    raise Problem("axes.cfg: [%s]: no section matches on %s" % (axis.name, on))
                self._start_reference(on, sections)
                name = "%s.%s.%s" % (axis.name, on, point)
                runs.append((on, point, sections, self._start(name, _on(on, point), [apply(section, point) for section in sections],
                                                              _build(point), _words(point, "tests"))))
        wrong = self._pool.submit(self._bites, axis) if axis.wrong and not short else None
        return Started(axis, runs, wrong)

    def finish(self, started: "Started") -> Tally:
        tally = Tally()
        for on, point, sections, future in started.runs:
            run = future.result()
            tally.seconds += run.seconds
            self._judge(started.axis, point, self._reference_of(on, sections, _words(point, "tests")), run.data, tally)
        if started.wrong and not started.wrong.result():
            tally.faults.append("%s has one verdict at every point: the axis does not catch it" % started.axis.wrong)
        return tally

    def _bites(self, axis: Axis) -> bool:
        """Whether the test that is wrong on purpose comes out otherwise than on the machine as it is, at one point at least."""
        section = next(section for section in self.sections if section.name == WRONG)
        for on in axis.on:
            plain = self._run("as-it-is.wrong.%s.%s" % (axis.name, on), on.partition(",")[0], [section], BUILD, [axis.wrong]).data
            for point in axis.points:
                strange = self._run("wrong.%s.%s.%s" % (axis.name, on, point), _on(on, point), [apply(section, point)], _build(point), [axis.wrong])
                if _red(plain) != _red(strange.data):
                    return True
        return False

    def _judge(self, axis: Axis, point: str, reference: Dict[str, Any], data: Dict[str, Any], tally: Tally) -> None:
        changed = {(c.image, c.id): c for c in compare.changes(reference, data)}
        # What is for a processor without something (LACKS) runs where the axis takes that away.
        without = {(old["image"], old["id"]) for old in reference["points"] if "a processor without" in old["reason"]}
        tally.points += 1
        for new in data["points"]:
            change = changed.pop((new["image"], new["id"]), None)
            if not change or not new["target"] and new["verdict"] == SKIP:
                tally.same += 1
            elif self._is_not_judged(axis.name, point, new):
                tally.not_judged += 1
            elif change.after == SKIP and axis.skips and re.search(axis.skips, new["reason"]):
                tally.skipped += 1
            elif change.before in (FAIL, KNOWN) and change.after in (PASS, KNOWN):
                tally.same += 1
            elif axis.skips and (new["image"], new["id"]) in without and change.after in (PASS, KNOWN):
                tally.same += 1
            else:
                tally.different.append(Difference(point, new["image"], new["id"], change.before or "-", change.after,
                                                  new["reason"] or "see " + new["repro"]))
        for change in changed.values():
            tally.different.append(Difference(point, change.image, change.id, change.before or "-", "not reported", ""))

    def _is_not_judged(self, axis: str, point: str, new: Dict[str, Any]) -> bool:
        rows = [row for row in self.not_judged if _is_of(row, axis, point) and fnmatchcase(new["id"], row[1])]
        self.used.update(rows)
        return bool(rows)

    def unused(self, axes: Sequence[Axis]) -> List[str]:
        """Rows of not-judged.tsv that none of these axes, run whole, has a use for, and no other may have."""
        names = {axis.name for axis in axes}
        others = [axis.name for axis in read_axes() if axis.name not in names]
        return ["%s %s differs nowhere: tests/machines/not-judged.tsv has a line too many" % row[:2] for row in self.not_judged
                if row not in self.used and not any(fnmatchcase(name, row[0].partition(" ")[0]) for name in others)]


def _is_of(row: Tuple[str, str, str], axis: str, point: str) -> bool:
    """The first column is an axis, or an axis, a blank, and a point."""
    name, _, points = row[0].partition(" ")
    return fnmatchcase(axis, name) and fnmatchcase(point, points or "*")


def _make_all(axes: Sequence[Axis], short: bool, jobs: int, sections: Sequence[Section]) -> None:
    make("CHECK=1", "-j%d" % jobs)
    for axis in axes:
        files = sorted({s.file for s in sections if any(fnmatchcase(s.name, glob) for glob in axis.images)} | {WRONG})
        for pad in dict.fromkeys(_word(point, "pad") for point in (axis.short if short else axis.points)):
            if pad:
                make("CHECK=1", "-j%d" % jobs, "PAD=" + pad, "IMAGES=" + " ".join(files))


def _chosen_axes(names: Sequence[str], short: bool) -> List[Axis]:
    axes = read_axes()
    for name in names:
        if not any(fnmatchcase(axis.name, name) for axis in axes):
            raise NothingToTest("no axis is called `%s`; there are: %s" % (name, ", ".join(axis.name for axis in axes)))
    return [axis for axis in axes if (any(fnmatchcase(axis.name, name) for name in names) if names else not axis.apart) and (axis.short or not short)]


def run(names: Sequence[str], short: bool, jobs: int, base: Path, make: bool = True) -> int:
    axes = _chosen_axes(names, short)
    matrix = Matrix(jobs, base / "machines")
    if make:
        _make_all(axes, short, jobs, matrix.sections)
    try:
        return _report(matrix, [matrix.start(axis, short) for axis in axes], short)
    finally:
        matrix.stop()


def _report(matrix: Matrix, all_started: Sequence[Started], short: bool) -> int:
    """A line for each axis when it is through, in their order; the exit status."""
    passed = 0
    print("%-14s %6s %6s %7s %10s %9s %8s" % ("axis", "points", "same", "skipped", "not judged", "different", "seconds"), flush=True)
    for started in all_started:
        tally = matrix.finish(started)
        passed += tally.green
        print("%-14s %6d %6d %7d %10d %9d %8.1f" % (started.axis.name, tally.points, tally.same, tally.skipped, tally.not_judged,
                                                    len(tally.different) + len(tally.faults), tally.seconds), flush=True)
        lines = tally.faults + told(tally.different)
        for line in lines[:40]:
            print("    " + line, flush=True)
        if len(lines) > 40:
            print("    and %d more lines" % (len(lines) - 40))
    unused = [] if short else matrix.unused([started.axis for started in all_started])
    for line in unused:
        print(line, flush=True)
    failed = len(all_started) - passed + bool(unused)
    print("%d passed, %d failed, %d skipped" % (passed, failed, 0))
    return 1 if failed else 0
