# SPDX-License-Identifier: BSD-2-Clause
"""An incremental reader of the TAP 13 that an image speaks.

Feed it the bytes of the serial port as they come; it hands back events. It trusts nothing: whatever
contradicts the stream's own words (a number out of order, a second plan, a point beyond the plan, a test
that began and was never reported, a line that is no TAP at all) is a Fault, and a run with a fault is red.

A failed check is named when it fails: `# failed: NAME`, and behind another of its test `# failed+ HEAD TAIL MIDDLE`, which
is the first HEAD characters of the name before, MIDDLE, and the last TAIL characters of the name before.

What is noise: anything before the "TAP version" line (firmware), and anything after "# end" that does not
look like TAP.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import List, Optional, Set, Union

LONGEST_LINE = 64 * 1024
MOST_FAULTS = 20
MOST_COMMENTS = 60
MOST_FAILING = 10000  # of a test; an image names less than half of that
_NOTE = "# note: "
INVENTORY = "# inventory: "  # what the processor says of itself: of the machine, and of no test


@dataclass
class Point:
    """One "ok" or "not ok" line with what follows it."""

    number: Optional[int]
    id: str
    title: str
    ok: bool
    directive: str = ""  # "SKIP", "TODO" or ""
    reason: str = ""  # the directive's
    yaml: List[str] = field(default_factory=list)
    comments: List[str] = field(default_factory=list)  # said since the test began
    failing: List[str] = field(default_factory=list)  # the names of its checks that failed, as far as they were said

    @property
    def notes(self) -> List[str]:
        """What the test said of the target that is neither right nor wrong (note() of lib/tap/tap.h)."""
        return [line[len(_NOTE):].strip() for line in self.comments if line.startswith(_NOTE)]

    @property
    def checks(self) -> int:
        return self._number("checks", 0 if self.directive == "SKIP" else 1)

    @property
    def failed(self) -> int:
        """How many of the checks failed."""
        return self._number("failed", 0 if self.ok else 1)

    def _number(self, key: str, otherwise: int) -> int:
        for line in self.yaml:
            match = re.fullmatch(key + r": *([0-9]{1,18})\s*", line)
            if match:
                return int(match.group(1))
        return otherwise


@dataclass
class Begin:
    id: str


@dataclass
class Plan:
    count: int
    reason: str = ""


@dataclass
class Comment:
    text: str


@dataclass
class Bail:
    reason: str


@dataclass
class Fault:
    """The stream contradicts itself or is no TAP."""

    text: str


@dataclass
class Reset:
    """A second "TAP version" line: the image started again. Nothing behind it is read."""


@dataclass
class End:
    """The image's last line, "# end"."""


Event = Union[Point, Begin, Plan, Comment, Bail, Fault, Reset, End]

_HEADER = re.compile(r"TAP version (\d+)$")
_PLAN = re.compile(r"1\.\.(\d{1,6})(?:\s+#\s*(?:SKIP\S*\s*(.*)))?$", re.IGNORECASE)
_POINT = re.compile(r"(not )?ok\b(?:\s+(\d{1,9}))?(?:\s+-)?\s*(.*)$")
_DIRECTIVE = re.compile(r"^(.*?)\s*#\s*(SKIP|TODO)\b\S*\s*(.*)$", re.IGNORECASE)
_ID = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.\-]*)(?::\s*(.*))?$")
_FAILED = re.compile(r"# failed(?:: (.+)|\+ (\d{1,4}) (\d{1,4}) (.*))$")
_TAP_LIKE = re.compile(r"(not )?ok\b|1\.\.\d|Bail out!|# begin ")


def _short(line: str) -> str:
    """A line of unknown content, fit for a message."""
    text = "".join(c if c.isprintable() else "\\x%02x" % ord(c) for c in line[:160])
    return text[:80] + ("..." if len(text) > 80 or len(line) > 160 else "")


class TapReader:
    """State of one boot's stream. `in_flight` is the test that began and has not been reported."""

    def __init__(self) -> None:
        self.started = False
        self.ended = False
        self.bailed = False
        self.was_reset = False
        self.plan: Optional[int] = None
        self.in_flight: Optional[str] = None
        self.torn: Optional[Point] = None  # a point whose line or YAML block was cut off
        self.last_words = ""  # the unfinished line at the end
        self.fault_count = 0
        self.points = 0
        self._ids: Set[str] = set()
        self._line = bytearray()
        self._discarding = False
        self._point: Optional[Point] = None
        self._in_yaml = False
        self._comments: List[str] = []
        self._failing: List[str] = []
        self._events: List[Event] = []

    def feed(self, data: bytes) -> List[Event]:
        if self.was_reset:
            return []
        self._line += data
        lines: List[bytes] = []
        if b"\n" in data:
            *lines, rest = bytes(self._line).split(b"\n")
            self._line = bytearray(rest)
        for raw in lines:
            if self._discarding:
                self._discarding = False
            else:
                self._read(raw.rstrip(b"\r").decode("utf-8", "backslashreplace"))
            if self.was_reset:
                self._line.clear()
                break
        if len(self._line) > LONGEST_LINE:
            if self.started and not self._discarding:
                self._flush()
                self._fault("a line longer than %d bytes: %s" % (LONGEST_LINE, _short(self._line[:200].decode("latin-1"))))
            self._discarding = True
            self._line.clear()
        return self._take()

    def close(self) -> List[Event]:
        """No more bytes will come: judge what is left, and the plan."""
        tail = self._line.decode("utf-8", "backslashreplace")
        self._line.clear()
        self.last_words = tail if self.started and not self.ended else ""
        if self._point and (self._in_yaml or (tail and "  ---".startswith(tail))):
            self.torn, self._point = self._point, None
        self._flush()
        if self.ended:
            if self.in_flight:
                self._fault("%s began and was never reported" % self.in_flight)
            if self.plan is None:
                self._fault("no plan")
            elif self.points < self.plan:
                self._fault("the plan said %d tests and %d were reported" % (self.plan, self.points))
        return self._take()

    def comments_in_flight(self) -> List[str]:
        return list(self._comments)

    def failing_in_flight(self) -> List[str]:
        return list(self._failing)

    # ---- one line

    def _read(self, line: str) -> None:
        if not self.started:
            self._read_preamble(line)
        elif self._in_yaml:
            self._read_yaml(line)
        elif self._point and line == "  ---" and not self._point.yaml:
            self._in_yaml = True
        else:
            self._flush()
            self._read_statement(line)

    def _read_preamble(self, line: str) -> None:
        match = _HEADER.search(line)
        if match:
            self.started = True
            if match.group(1) != "13":
                self._fault("TAP version %s, not 13" % match.group(1))

    def _read_yaml(self, line: str) -> None:
        assert self._point
        if line == "  ...":
            self._in_yaml = False
            self._flush()
        elif line.startswith("  "):
            self._point.yaml.append(line[2:])
        else:
            self._in_yaml = False
            point = self._point.id
            if _HEADER.search(line):  # a reset in the middle of the block: the point is not whole
                self.torn, self._point = self._point, None
            else:
                self._flush()
                self._fault("the YAML block of %s does not end" % point)
            self._read_statement(line)

    def _read_statement(self, line: str) -> None:
        if _HEADER.search(line):
            self.was_reset = True
            self._events.append(Reset())
        elif self.ended or self.bailed:
            if _TAP_LIKE.match(line):
                self._fault("TAP after the end: %s" % _short(line))
        elif line.startswith("# begin "):
            self._begin(line[8:].strip())
        elif line == "# end":
            self.ended = True
            self._events.append(End())
        elif line.startswith("# failed") and _FAILED.match(line):
            self._read_failed(line)
        elif line.startswith("#"):
            if len(self._comments) < MOST_COMMENTS and not line.startswith(INVENTORY):
                self._comments.append(line)
            self._events.append(Comment(line))
        elif line.startswith("Bail out!"):
            self.bailed = True
            self._events.append(Bail(line[9:].strip()))
        elif line.startswith("1.."):
            self._read_plan(line)
        elif _POINT.match(line):
            self._read_point(line)
        elif line.strip():
            self._fault("not TAP: %s" % _short(line))

    def _begin(self, test: str) -> None:
        if self.in_flight:
            self._fault("%s began and was never reported" % self.in_flight)
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*", test):
            self._fault("not the id of a test: %s" % _short(test))
            return
        self.in_flight = test
        self._comments, self._failing = [], []
        self._events.append(Begin(test))

    def _read_failed(self, line: str) -> None:
        match = _FAILED.match(line)
        assert match
        name, before = match.group(1), self._failing[-1] if self._failing else ""
        if not name:
            head, tail = int(match.group(2)), int(match.group(3))
            if not before or head + tail > len(before):
                self._fault("the name of a failed check goes by another that is not there: %s" % _short(line))
                return
            name = before[:head] + match.group(4) + before[len(before) - tail:]
        if len(self._failing) < MOST_FAILING:
            self._failing.append(name)
        else:
            self._failing[-1] = name

    def _read_plan(self, line: str) -> None:
        match = _PLAN.match(line)
        if not match:
            self._fault("not a plan: %s" % _short(line))
        elif self.plan is not None:
            self._fault("a second plan: %s" % _short(line))
        else:
            self.plan = int(match.group(1))
            if self.points:
                self._fault("the plan comes after the first test")
            self._events.append(Plan(self.plan, match.group(2) or ""))

    def _read_point(self, line: str) -> None:
        match = _POINT.match(line)
        assert match
        text, directive, reason = match.group(3), "", ""
        found = _DIRECTIVE.match(text)
        if found:
            text, directive, reason = found.group(1), found.group(2).upper(), found.group(3)
        named = _ID.match(text)
        if not named:
            self._fault("a result without the id of a test: %s" % _short(line))
            self.points += 1
            return
        number = int(match.group(2)) if match.group(2) else None
        point = Point(number, named.group(1), named.group(2) or "", not match.group(1), directive, reason)
        self._judge_point(point)
        point.comments, point.failing = self._comments, self._failing
        self._comments, self._failing = [], []
        self._point = point

    def _judge_point(self, point: Point) -> None:
        self.points += 1
        if self.plan is None and self.points == 1:
            self._fault("%s is reported before the plan" % point.id)
        if self.plan is not None and self.points > self.plan:
            self._fault("%s is reported beyond the plan of %d tests" % (point.id, self.plan))
        if point.number != self.points:
            self._fault("%s is numbered %s where %d is next" % (point.id, point.number, self.points))
        if point.id in self._ids:
            self._fault("%s is reported twice" % point.id)
        if self.in_flight and self.in_flight != point.id:
            self._fault("%s is reported while %s runs" % (point.id, self.in_flight))
        elif not self.in_flight and point.directive != "SKIP":
            self._fault("%s is reported and never began" % point.id)
        self._ids.add(point.id)

    # ---- bookkeeping

    def _flush(self) -> None:
        """The point is whole: its YAML block ended, or something else follows."""
        if self._point:
            if self.in_flight == self._point.id:
                self.in_flight = None
            self._events.append(self._point)
            self._point = None

    def _fault(self, text: str) -> None:
        self.fault_count += 1
        if self.fault_count <= MOST_FAULTS:
            self._events.append(Fault(text))
        elif self.fault_count == MOST_FAULTS + 1:
            self._events.append(Fault("and more of that kind"))

    def _take(self) -> List[Event]:
        events, self._events = self._events, []
        return events
