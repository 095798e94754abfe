# SPDX-License-Identifier: BSD-2-Clause
"""The hostile machines (docs/machines.md): the images of the check build on machines that are stranger than the one at hand.

tests/machines/axes.cfg has the axes. Each point of an axis is a run like any other; its verdicts are compared with those of
the same images on the machine as it is. An axis is green if nothing differs but by a SKIP that names the axis's feature, and
if the test that is wrong on purpose, and passes on the machine as it is, fails at one of its points at least.
"""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

from . import compare, results
from .build import make
from .config import Section, load as load_config
from .errors import NothingToTest, Problem
from .verdict import FAIL, KNOWN, PASS, RED, SKIP

HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent
FOLDER = TOP / "tests" / "machines"
BUILD = Path("build") / "check"
WRONG = "hostile"  # the image of the tests that are wrong on purpose
DEFAULT_ON = "bochs:tigerlake"
DEFAULT_IMAGES = "guest capability controls instruction exec event apic memory vmcs exit abort* sipi shadow entry load"
_KEYS = ("what", "points", "images", "on", "skips", "wrong", "short", "short_images")


@dataclass(frozen=True)
class Axis:
    """One section of axes.cfg."""

    name: str
    what: str
    points: List[str]
    short: List[str]  # the points of the short selection; none: the axis is not in it
    images: List[str]  # globs over the sections of unittests.cfg
    short_images: List[str]
    on: List[str]  # BACKEND:CPU
    skips: str  # what the reason of a SKIP matches that the axis may bring
    wrong: str  # the id of the test that is wrong on purpose; "" where none can be


@dataclass
class Tally:
    """What came of an axis."""

    points: int = 0
    same: int = 0
    skipped: int = 0
    not_judged: int = 0
    seconds: float = 0.0
    different: List[str] = field(default_factory=list)

    @property
    def green(self) -> bool:
        return not self.different


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
                         keys.get("skips", ""), keys.get("wrong", "")))
    return axes


def _split(text: str) -> List[str]:
    """Points are separated by `|`; `plain` is the machine as it is but for the axis's own `on`."""
    return [" ".join(point.split()) for point in text.split("|") if point.strip()]


def read_not_judged(path: Path = FOLDER / "not-judged.tsv") -> List[Tuple[str, str, str]]:
    """(axis, glob over ids, why)."""
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            columns = line.split("\t")
            if len(columns) != 3 or not all(column.strip() for column in columns):
                raise Problem("%s:%d: a line is axis, id, why, separated by one TAB each" % (path.name, number))
            rows.append((columns[0], columns[1], columns[2]))
    return rows


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
        elif key == "pad":
            words.remove(word)
    return replace(section, arguments=" ".join([section.arguments, *words]).strip())


def _pad(point: str) -> str:
    found = re.search(r"(?:^| )pad=(\d+)", point)
    return found.group(1) if found else ""


class Matrix:
    """Runs the points; knows the reference runs that it has made already."""

    def __init__(self, jobs: int, base: Path, say: Any = print) -> None:
        self.jobs = jobs
        self.base = base
        self.say = say
        self.sections = load_config(TOP / "unittests.cfg")
        self.not_judged = read_not_judged()
        self._reference: Dict[Tuple[str, str], Dict[str, Any]] = {}

    # ---- one run

    def _run(self, name: str, on: str, sections: Sequence[Section], build: Path, ids: Sequence[str] = ()) -> Dict[str, Any]:
        """results.json of these sections there."""
        backend, _, cpu = on.partition(":")
        folder = self.base / re.sub(r"[^A-Za-z0-9_.=-]+", "_", name)[:120]
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "unittests.cfg"
        config.write_text("\n".join(_text(section) for section in sections), encoding="utf-8")
        command = [sys.executable, "-S", str(TOP / "scripts" / "vmxcheck"), "--config", str(config), "--build", str(build),
                   "--results", str(folder), "--backend", backend, "-j", str(self.jobs), "--walks", "brief", "-q", "--color", "never", *ids]
        command += ["--cpu", cpu] if cpu else []
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=TOP)
        if done.returncode not in (0, 1, 3):
            raise Problem("%s: the run ended with status %d:\n%s" % (name, done.returncode, done.stdout.decode("utf-8", "replace")[-2000:]))
        return results.read(folder / "latest")

    def _chosen(self, images: Sequence[str], on: str) -> List[Section]:
        plain_only = on.startswith("qemu-tcg")
        return [section for section in self.sections
                if any(fnmatchcase(section.name, glob) for glob in images) and not (plain_only and section.needs)
                and (not section.backends or on.partition(":")[0] in section.backends)]

    def _reference_of(self, on: str, sections: Sequence[Section]) -> Dict[str, Any]:
        """The verdicts on the machine as it is: each section is run once for each backend and model."""
        on = on.partition(",")[0]
        missing = [section for section in sections if (on, section.name) not in self._reference]
        if missing:
            data = self._run("as-it-is.%s" % on, on, missing, BUILD)
            for section in missing:
                self._reference[(on, section.name)] = dict(data, points=[p for p in data["points"] if p["image"] == section.name])
        found = [self._reference[(on, section.name)] for section in sections]
        return dict(found[0], points=[point for data in found for point in data["points"]])

    # ---- one axis

    def axis(self, axis: Axis, short: bool) -> Tally:
        tally, started, bites = Tally(), time.monotonic(), False
        for on in axis.on[:1] if short else axis.on:
            sections = self._chosen(axis.short_images if short else axis.images, on)
            if not sections:
                raise Problem("axes.cfg: [%s]: no section matches on %s" % (axis.name, on))
            reference = self._reference_of(on, sections)
            for point in axis.short if short else axis.points:
                build = BUILD / ("pad" + _pad(point)) if _pad(point) else BUILD
                data = self._run("%s.%s.%s" % (axis.name, on, point), on, [apply(section, point) for section in sections], build)
                self._judge(axis, point, reference, data, tally)
                bites |= bool(axis.wrong) and not short and self._bites(axis, on, point, build, tally)
        if axis.wrong and not bites and not short:  # one point may be one that it does not fail at
            tally.different.append("%s passes at every point: the axis does not catch it" % axis.wrong)
        tally.seconds = time.monotonic() - started
        return tally

    def _bites(self, axis: Axis, on: str, point: str, build: Path, tally: Tally) -> bool:
        """Whether the test that is wrong on purpose fails there; it must pass on the machine as it is."""
        section = next(section for section in self.sections if section.name == WRONG)
        if (on, axis.wrong) not in self._reference:
            plain = self._run("as-it-is.wrong.%s.%s" % (axis.name, on), on.partition(",")[0], [section], BUILD, [axis.wrong])
            if not all(p["verdict"] in (PASS, SKIP) for p in plain["points"]):
                tally.different.append("%s does not pass on the machine as it is" % axis.wrong)
            self._reference[(on, axis.wrong)] = plain
        data = self._run("wrong.%s.%s.%s" % (axis.name, on, point), on, [apply(section, point)], build, [axis.wrong])
        return any(p["verdict"] in RED for p in data["points"])

    def _judge(self, axis: Axis, point: str, reference: Dict[str, Any], data: Dict[str, Any], tally: Tally) -> None:
        changed = {(c.image, c.id): c for c in compare.changes(reference, data)}
        tally.points += 1
        for new in data["points"]:
            change = changed.pop((new["image"], new["id"]), None)
            if not change or not new["target"] and new["verdict"] == SKIP:
                tally.same += 1
            elif self._is_not_judged(axis.name, new["id"]):
                tally.not_judged += 1
            elif change.after == SKIP and axis.skips and re.search(axis.skips, new["reason"]):
                tally.skipped += 1
            elif change.before in (FAIL, KNOWN) and change.after in (PASS, KNOWN):
                tally.same += 1
            else:
                tally.different.append("[%s] %s %s: %s -> %s: %s" % (point, new["image"], new["id"], change.before or "-", change.after,
                                                                    new["reason"] or "see " + new["repro"]))
        for change in changed.values():
            tally.different.append("[%s] %s %s: %s -> not reported" % (point, change.image, change.id, change.before))

    def _is_not_judged(self, axis: str, identity: str) -> bool:
        return any(fnmatchcase(axis, row[0]) and fnmatchcase(identity, row[1]) for row in self.not_judged)


def _make_all(axes: Sequence[Axis], short: bool, jobs: int, sections: Sequence[Section]) -> None:
    make("CHECK=1", "-j%d" % jobs)
    for axis in axes:
        files = sorted({s.file for s in sections if any(fnmatchcase(s.name, glob) for glob in axis.images)} | {WRONG})
        for pad in dict.fromkeys(_pad(point) for point in (axis.short if short else axis.points)):
            if pad:
                make("CHECK=1", "-j%d" % jobs, "PAD=" + pad, "IMAGES=" + " ".join(files))


def _chosen_axes(names: Sequence[str], short: bool) -> List[Axis]:
    axes = read_axes()
    for name in names:
        if not any(fnmatchcase(axis.name, name) for axis in axes):
            raise NothingToTest("no axis is called `%s`; there are: %s" % (name, ", ".join(axis.name for axis in axes)))
    return [axis for axis in axes if (not names or any(fnmatchcase(axis.name, name) for name in names)) and (axis.short or not short)]


def run(names: Sequence[str], short: bool, jobs: int, base: Path, make: bool = True) -> int:
    axes = _chosen_axes(names, short)
    matrix = Matrix(jobs, base / "machines")
    if make:
        _make_all(axes, short, jobs, matrix.sections)
    tallies: List[Tuple[Axis, Optional[Tally], str]] = []
    print("%-14s %6s %6s %7s %10s %9s %8s" % ("axis", "points", "same", "skipped", "not judged", "different", "seconds"), flush=True)
    for axis in axes:
        tally = matrix.axis(axis, short)
        tallies.append((axis, tally, ""))
        print("%-14s %6d %6d %7d %10d %9d %8.1f" % (axis.name, tally.points, tally.same, tally.skipped, tally.not_judged,
                                                    len(tally.different), tally.seconds), flush=True)
        for line in tally.different[:40]:
            print("    " + line, flush=True)
        if len(tally.different) > 40:
            print("    and %d more" % (len(tally.different) - 40))
    passed = sum(tally.green for _, tally, _ in tallies if tally)
    print("%d passed, %d failed, %d skipped" % (passed, len(tallies) - passed, 0))
    return 0 if passed == len(tallies) else 1
