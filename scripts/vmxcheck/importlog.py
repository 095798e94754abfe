# SPDX-License-Identifier: BSD-2-Clause
"""import LOG...: what the serial port of a machine said, judged as a run is.

A log is what somebody captured: firmware, boot loaders and their escape codes, time stamps in front of the lines, several boots
of several images one after the other. What is behind a report's end is noise; whatever is missing or garbled in a report is red.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import sys
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

from . import compare, errata, images, judging, reports, results as results_module, summary
from .config import Section, load as load_config
from .errors import Problem
from .images import Image
from .inventory.raw import banner_facts
from .known import KnownTable, version_number
from .output import complain
from .paths import TOP, results_base
from .report import Report
from .results import Point, Results
from .selection import CHOOSING, configured
from .style import Style
from .target import spec
from .verdict import CRASH, EXITED, HANG, Ledger, Outcome

MOST_BYTES = 256 << 20  # of one log
NAMED = 5  # ids that are named where many are missing

_ESCAPES = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()*+][0-9A-Za-z]|[ #%][0-9A-Za-z@]|[=>78cDEHMNOZ])")
_MARKS = re.compile(rb"^\[-- .* --\]\n", re.MULTILINE)  # of conserver
_HEADER = re.compile(rb"^(.*?)TAP version 13[ \t]*$", re.MULTILINE)
_TAP_LIKE = re.compile(rb"^(?:(?:not )?ok \d+ - [A-Za-z0-9_.-]+|# begin [A-Za-z0-9_.-]+)", re.MULTILINE)
_BANNER = re.compile(rb"^# vmxcheck .*?\bimage=([A-Za-z0-9_.-]+)", re.MULTILINE)
_WORDS = re.compile(rb"^# command line: (.*)$", re.MULTILINE)
_OURS = re.compile(rb"^(?:#|(?:not )?ok |1\.\.|  |Bail out!|TAP version).*\n?", re.MULTILINE)
_JOURNAL = re.compile(rb"^# journal: .*?\b([a-z0-9_]+(?:\.[a-z0-9_]+)+)", re.MULTILINE)
_ENDED = re.compile(rb"^# end$", re.MULTILINE)
_VERDICT = re.compile(rb"^(?:not )?ok .*\n", re.MULTILINE)
_CHECKSUM = re.compile(rb"^# crc32: ([0-9a-f]{8}) of ([0-9]{1,6}) verdicts$", re.MULTILINE)


@dataclass
class Boot:
    """One report of one image."""

    log: str
    line: int
    text: bytes
    image: str
    words: str
    headless: bool = False  # its first line was lost

    @property
    def ended(self) -> bool:
        return bool(_ENDED.search(self.text))

    @property
    def checksum(self) -> str:
        """Of all lines with a verdict, as the image computes it."""
        lines = _VERDICT.findall(self.text)
        return "%08x of %d verdicts" % (zlib.crc32(b"".join(lines)), len(lines))

    @property
    def said_checksum(self) -> str:
        """What the image says; empty: it did not come to that."""
        found = list(_CHECKSUM.finditer(self.text))
        return "%s of %s verdicts" % (found[-1].group(1).decode(), found[-1].group(2).decode()) if found else ""

    @property
    def place(self) -> str:
        return "%s:%d" % (self.log, self.line)

    def word(self, key: str) -> str:
        found = [word[len(key) + 1:] for word in self.words.split() if word.startswith(key + "=")]
        return found[-1] if found else ""

    @property
    def after(self) -> str:
        """The test behind which it goes on: because it was told so, or because it found that in its journal."""
        head = self.text.partition(b"\n# begin ")[0]
        found = _JOURNAL.search(head)
        return self.word("after") or (found.group(1).decode() if found else "")

    @property
    def lasting_words(self) -> List[str]:
        """All but where it is to go on."""
        return [word for word in self.words.split() if not word.startswith("after=")]


@dataclass
class Share:
    """What was asked of one image, over as many boots as it took."""

    section: Section
    image: Image
    ledger: Ledger
    boots: List[Boot] = field(default_factory=list)
    round: int = 1
    open: bool = True  # another boot may go on with it


# ---- from bytes to boots

def clean(data: bytes) -> bytes:
    """Without what terminals and their recorders add: escape codes, ends of lines, marks."""
    data = _ESCAPES.sub(b"", _from_lava(data))
    data = re.sub(rb"\r+\n", b"\n", data)
    return _MARKS.sub(b"", data)


def _from_lava(data: bytes) -> bytes:
    """LAVA's log of a job has an object a line; what the device said is of the level `target`."""
    if not re.match(rb'\s*(- )?\{"dt": "', data):
        return data
    said = []
    for line in data.splitlines():
        try:
            entry = json.loads(line[2:] if line.startswith(b"- ") else line)
            if entry["lvl"] == "target":
                said.append(str(entry["msg"]).replace('\\"', '"'))
        except (ValueError, KeyError, TypeError):
            continue  # a line of the dispatcher that is none
    return "\n".join(said).encode() + b"\n"


def boots_in(data: bytes, log: str) -> List[Boot]:
    data = clean(data)
    headers = list(_HEADER.finditer(data))
    found: List[Boot] = []
    # What stands in front of a first line, and of no other, are the last words of what was there before.
    shapes = [_prefix(header.group(1), data[header.end() + 1:]) for header in headers]
    starts = [header.start() if shape else header.start() + len(header.group(1)) for header, shape in zip(headers, shapes)] + [len(data)]
    _lost(found, data[:starts[0]], log, 1)
    for start, end, shape in zip(starts, starts[1:], shapes):
        line = data.count(b"\n", 0, start) + 1
        report, rest = _split(re.sub(shape, b"", data[start:end]) if shape else data[start:end])
        if not _ENDED.search(report):  # red, whatever comes: what a firmware says behind a reset is no fault beside that
            report = report[:max([match.end() for match in _OURS.finditer(report)], default=len(report))]
        found.append(_boot(report, log, line))
        _lost(found, rest, log, line + report.count(b"\n"))
    return found


def _split(text: bytes) -> Tuple[bytes, bytes]:
    """A report, and what comes behind its end if that is another one whose first line was lost."""
    end = _ENDED.search(text)
    if not end or not _BANNER.search(text, end.end()):
        return text, b""
    return text[:end.end() + 1], text[end.end() + 1:]


def _lost(found: List[Boot], text: bytes, log: str, line: int) -> None:
    """Results with no `TAP version` in front of them: a report all the same, whose beginning is lost."""
    first = _TAP_LIKE.search(text)
    if not first:
        return
    banner = [match for match in _BANNER.finditer(text) if match.start() < first.start()]
    start = banner[-1].start() if banner else first.start()
    boot = _boot(text[start:], log, line + text.count(b"\n", 0, start))
    boot.headless = True
    found.append(boot)


def _prefix(prefix: bytes, behind: bytes) -> Optional["re.Pattern[bytes]"]:
    """The time stamps and names that a recorder puts in front of each line, or None: the line behind has none."""
    if not prefix:
        return None
    shape = b"".join(rb"\d+" if part[:1].isdigit() else rb"[ \t]+" if part[:1].isspace() else re.escape(part)
                     for part in re.findall(rb"\d+|[ \t]+|[^\d \t]+", prefix))
    return re.compile(rb"^" + shape, re.MULTILINE) if re.match(shape + rb"#", behind) else None


def _boot(text: bytes, log: str, line: int) -> Boot:
    banner, words = _BANNER.search(text, 0, 4096), _WORDS.search(text, 0, 8192)
    return Boot(log, line, text, banner.group(1).decode() if banner else "",
                words.group(1).decode("utf-8", "replace").strip() if words else "")


def read(path: Path) -> bytes:
    try:
        data = sys.stdin.buffer.read(MOST_BYTES + 1) if str(path) == "-" else path.read_bytes()
        data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except (OSError, EOFError) as error:
        raise Problem("%s: %s" % (path, getattr(error, "strerror", None) or error)) from None
    if len(data) > MOST_BYTES:
        raise Problem("%s: more than %d MiB" % (path, MOST_BYTES >> 20))
    return data


# ---- from boots to verdicts

class Importer:
    def __init__(self, options: argparse.Namespace, name: str) -> None:
        self._name = name  # of the target
        self._build = (options.build or TOP / "build") / "x86"
        self._sections = load_config(options.config or TOP / "unittests.cfg")
        self.shares: List[Share] = []
        self.problems: List[str] = []

    def take(self, boots: Sequence[Boot]) -> None:
        """The boots of all logs, those of one log in their order. A boot that goes on with another may come before it."""
        ends = {id(boot): "the log ends here" if follows is None or follows.log != boot.log else
                "it started again" if follows.image == boot.image else "another image follows"
                for boot, follows in zip(boots, [*boots[1:], None])}
        waiting = list(boots)
        while waiting:
            left = [boot for boot in waiting if not self._take(boot, ends[id(boot)], False)]
            if len(left) == len(waiting):  # what they go on with is in no log
                self._take(left.pop(0), ends[id(waiting[0])], True)
            waiting = left

    def _take(self, boot: Boot, end: str, at_all_costs: bool) -> bool:
        try:
            image = self._image(boot)
        except Problem as problem:
            self.problems.append("%s: %s" % (boot.place, problem))
            return True
        share = self._share(boot, image, at_all_costs)
        if share is None:
            return False
        share.boots.append(boot)
        ledger = share.ledger
        if boot.after in ledger.outcomes and re.search(rb"(?m)^(?:not )?ok \d+ - %s:" % re.escape(boot.after.encode()), boot.text):
            del ledger.outcomes[boot.after]  # this boot knows better what came of it
        ledger.begin_boot(list(ledger.selected), 0.0, boot.log)
        if boot.headless:
            ledger.feed(b"TAP version 13\n", 0.0)
            ledger.faults.append("%s: the beginning of a report is lost" % boot.place)
        ledger.feed(boot.text if boot.text.endswith(b"\n") or not boot.ended else boot.text + b"\n", 0.0)
        ledger.end_boot(EXITED, end, 0.0, 0.0)
        if boot.said_checksum and boot.said_checksum != boot.checksum:
            ledger.faults.append("%s: the verdicts of this log have the checksum %s, and the machine said %s: a line is not as it was sent" % (
                boot.place, boot.checksum, boot.said_checksum))
        share.open = not boot.ended
        return True

    def _image(self, boot: Boot) -> Image:
        if boot.image:
            return images.load(self._build, boot.image)
        ids = set(re.findall(r"^(?:(?:not )?ok \d+ - |# begin )([A-Za-z0-9_.-]+)", boot.text.decode("latin-1"), re.MULTILINE))
        for name in dict.fromkeys(section.file for section in self._sections):
            image = images.load(self._build, name)
            if ids and ids <= set(image.tests):
                return image
        raise Problem("a report that does not say of which image it is")

    def _share(self, boot: Boot, image: Image, at_all_costs: bool) -> Optional[Share]:
        section = self._section(boot)
        if boot.after:
            for share in self.shares:
                if (share.open and share.image.name == image.name and share.boots[-1].lasting_words == boot.lasting_words
                        and boot.after in share.ledger.outcomes):
                    return share
            if not at_all_costs:
                return None
        selected = configured(image.tests, boot.words)
        if boot.after:  # what was before it is in no log
            order = list(selected)
            at = order.index(boot.after) + 1 if boot.after in selected and not boot.word("order") else 0
            selected = {identity: selected[identity] for identity in order[at:]}
        share = Share(section, image, Ledger(selected))
        overlapping = [old.round for old in self.shares if old.section.name == section.name and set(old.ledger.selected) & set(selected)]
        share.round = max(overlapping, default=0) + 1
        self.shares.append(share)
        return share

    def _section(self, boot: Boot) -> Section:
        """The section of unittests.cfg that boots it like this."""
        words = set(boot.words.split())
        fitting = []
        for section in self._sections:
            asked = [word for word in section.arguments.split() if not word.startswith(CHOOSING)]
            if section.file == boot.image and set(asked) <= words and (not section.backends or self._name in section.backends):
                fitting.append((-len(asked), not section.backends, section.name != boot.image, section))
        section = min(fitting, key=lambda one: one[:3])[3] if fitting else Section(boot.image or "unknown", 0, boot.image or "unknown")
        smp = boot.word("smp")
        return replace(section, smp=int(smp)) if re.fullmatch(r"[0-9]{1,3}", smp) else section

    def not_asked(self) -> List[str]:
        """What no log was asked for, in words."""
        said = []
        for name in dict.fromkeys(share.image.name for share in self.shares):
            mine = [share for share in self.shares if share.image.name == name]
            asked = {identity for share in mine for identity in share.ledger.selected}
            left = [identity for identity in mine[0].image.tests if identity not in asked]
            if left:
                said.append("image %s: %d of its %d tests were not asked for: %s%s" % (
                    name, len(left), len(mine[0].image.tests), ", ".join(left[:NAMED]), ", ..." if len(left) > NAMED else ""))
        seen = {share.image.name for share in self.shares}
        if images.EVERYTHING not in seen:
            left = [name for name in dict.fromkeys(s.file for s in self._sections if s.by_default) if name not in seen]
            said += ["in no log: image %s" % ", ".join(left)] if left else []
        return said


# ---- the command

def _target(options: argparse.Namespace) -> Tuple[str, str, str, Optional[Path]]:
    """Name, version, processor model, and the table of its own, if --target says them."""
    name = options.target or "machine"
    path = spec.find_file(options.targets, TOP)
    if path and name in (targets := spec.load(path)):
        own = targets[name]
        return name, own.version if not own.version.startswith("command:") else "", options.cpu or own.cpu, own.known
    if options.targets:
        raise Problem("--target %s: %s has no such target; there are: %s" % (name, path, ", ".join(spec.load(options.targets))))
    front, version = judging.split_name(name)
    return front, version, options.cpu or "", None


def run(options: argparse.Namespace) -> int:
    name, version, cpu, own_table = _target(options)
    table = KnownTable.load(options.known or TOP / "spec" / "known", name, version, path=own_table)
    logs = {str(path): read(path) for path in options.logs}  # all of them, before anything is written
    importer = Importer(options, name)
    found: List[Boot] = []
    for log, data in logs.items():
        boots = boots_in(data, log)
        if not boots:
            importer.problems.append("%s: no report of an image is in it (no line `TAP version 13`)" % log)
        found += boots
    importer.take(found)
    baseline = compare.Baseline(options.baseline) if options.baseline else None
    results = Results("", ["import", *map(str, options.logs)], baseline=options.baseline or "", seconds=0.0)
    label = "%s-%s" % (name, ".".join(map(str, version_number(version))) or version) if version else name
    target = ("%s %s" % (label, cpu)).strip()
    folder = results_module.create_folder(results_base(options))
    results.run = folder.name
    kept = _keep(folder, logs)
    report = Report(sys.stdout, options.verbose - options.quiet, Style.of(sys.stdout))
    banners = [share.ledger.banner for share in importer.shares if share.ledger.banner]
    results.targets[target] = {"name": target, "backend": name, "version": version, "cpu": cpu, "host": banners[0] if banners else "",
                               "walks": "brief" if any("brief" in b.words.split() for s in importer.shares for b in s.boots) else "whole",
                               "table": [name, version], "silicon": banner_facts(banners[0] if banners else "")}
    results.remarks += ([table.remark] if table.remark else []) + importer.not_asked()
    for share in importer.shares:
        points = _points(share, table, target, cpu, kept, results)
        for point in points:
            point.old = bool(baseline and point.red and baseline.red(point.image, point.id, point.target, (name, cpu)))
        results.points += points
        notes = ["%d boots: %s" % (len(share.boots), ", ".join(boot.place for boot in share.boots))] if len(share.boots) > 1 else []
        notes += ["%s: crc32 %s" % (boot.place, boot.checksum) for boot in share.boots if boot.said_checksum]
        results.images.append({
            "image": share.section.name, "file": share.image.name, "target": target, "round": share.round, "banner": share.ledger.banner,
            "boots": len(share.boots), "seconds": 0.0, "logs": list(dict.fromkeys(kept[boot.log] for boot in share.boots)),
            "faults": share.ledger.faults, "notes": notes, **results_module.inventory_of(share.ledger.inventory)})
        report.image(share.section.name, target, points, 0.0, notes)
    return _finish(options, results, report, folder, importer.problems)


def _keep(folder: Path, logs: Dict[str, bytes]) -> Dict[str, str]:
    kept: Dict[str, str] = {}
    for log, data in logs.items():
        name = os.path.basename(log) if log != "-" else "stdin"
        while (folder / "logs" / name).exists():
            name = "_" + name
        try:
            (folder / "logs" / name).write_bytes(data)
        except OSError as error:
            raise Problem("results cannot be kept in %s: %s" % (folder, error.strerror)) from None
        kept[log] = os.path.relpath(folder / "logs" / name)
    return kept


def _points(share: Share, table: KnownTable, target: str, cpu: str, kept: Dict[str, str], results: Results) -> List[Point]:
    points, listed = [], errata.read()
    outcomes = share.ledger.finish()
    # What is known to hang or crash there was left out by skip= for that: a run reports it, so does this.
    for identity, title in share.image.tests.items():
        facts = judging.facts_of(share.section, share.image, cpu, identity, {})
        left_out = table.not_run(identity, title, facts) if identity not in share.ledger.selected else None
        if left_out and identity in configured(share.image.tests, " ".join(w for w in share.boots[0].words.split() if not w.startswith("skip="))):
            outcomes.append(left_out)
    order = {identity: place for place, identity in enumerate(share.image.tests)}
    for outcome in sorted(outcomes, key=lambda one: order.get(one.id, 0)):
        facts = judging.facts_of(share.section, share.image, cpu, outcome.id, banner_facts(share.ledger.banner))
        _crash_or_hang(outcome, table, facts)
        words = "%s: boot image %s with `%s`" % (
            target, share.image.name,
            " ".join([w for w in share.boots[0].lasting_words if not w.startswith(CHOOSING)] + ["run=" + outcome.id]))
        point = judging.point_of(outcome, share.section.name, target, words, kept.get(outcome.log, ""), share.round)
        stale = judging.judge(point, outcome, table, facts, listed)
        if stale:
            results.add_stale(stale, target)
        points.append(point)
    if share.ledger.faults:
        point = results_module.fault_point(share.section.name, share.ledger.faults, "read the log", target, kept[share.boots[-1].log])
        point.round = share.round
        points.append(point)
    return points


def _crash_or_hang(outcome: Outcome, table: KnownTable, facts: Dict[str, str]) -> None:
    """A log that ends in a test does not say which of both it was: it is what is known of it."""
    if outcome.verdict == CRASH:
        lines = table.applying(outcome.id, facts)
        if any(HANG in line.verdicts for line in lines) and not any(CRASH in line.verdicts for line in lines):
            outcome.verdict = HANG


def _finish(options: argparse.Namespace, results: Results, report: Report, folder: Path, problems: List[str]) -> int:
    status = results.exit_status(options.fail_stale)
    if problems and status in (0, 3):
        status = 2
    data: Dict[str, Any] = results.as_dict(status)
    results_module.write(folder, data)
    where = os.path.relpath(folder / "results.json")
    try:
        reports.write(options, data)
    except Problem as error:
        problems.append(str(error))
        status = status or 2
    report.say(summary.text(results, options.fail_stale, where, report.detail, report.style))
    for problem in problems:
        complain("import: " + problem)
    return status
