# SPDX-License-Identifier: BSD-2-Clause
"""From the events of an image's boots to one verdict a test.

The ledger knows which tests were asked for. Each of them ends with exactly one outcome, whatever the image
does: what is never reported is `missing`, and who was running when the image died is charged with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Optional, Sequence

from . import decode, tap

PASS, FAIL, SKIP, KNOWN, CRASH, HANG, MISSING = "pass", "fail", "skip", "known", "crash", "hang", "missing"
FLAKY = "flaky"  # red, and not so when it was tried again
NOT_RUN = "notrun"  # the run was stopped before its turn came: no verdict on the target, and no green run either
VERDICTS = (PASS, FAIL, SKIP, KNOWN, CRASH, HANG, MISSING, FLAKY, NOT_RUN)
WORST_FIRST = (CRASH, HANG, FAIL, FLAKY, MISSING, KNOWN, PASS, SKIP, NOT_RUN)
RED = frozenset((FAIL, CRASH, HANG, MISSING, FLAKY))

MOST_HANGS = 8  # of one image; each costs a whole time limit

STOPPED_BY_A_SIGNAL = "the run was interrupted"

# How a boot ended.
EXITED, RESET, LIMIT, FLOOD, STOPPED = "exited", "reset", "limit", "flood", "stopped"


@dataclass
class Outcome:
    """What is known about one test of one image."""

    id: str
    title: str
    verdict: str
    reason: str = ""
    checks: int = 0
    seconds: float = 0.0
    diagnostics: str = ""  # the YAML block and the comments, as they came
    log: str = ""
    failed: int = 0  # of the checks
    notes: Sequence[str] = ()
    failing: Sequence[str] = ()  # the names of checks that failed, as far as they were said
    complaints: Sequence[str] = ()  # of the target, of itself
    broke_off: bool = False  # the image gave up in its middle: whatever failed before, that is no failed check

    @property
    def unnamed(self) -> int:
        """How many checks failed beside those that have a name."""
        return max(0, self.failed - len(self.failing))


def _diagnostics(yaml: Sequence[str], comments: Sequence[str]) -> str:
    return "\n".join([*comments, *decode.explained(yaml)])


class Ledger:
    """The outcomes of one image, over as many boots as it takes."""

    def __init__(self, selected: Dict[str, str]) -> None:
        self.selected = selected
        self.outcomes: Dict[str, Outcome] = {}
        self.faults: List[str] = []
        self.banner = ""
        self.inventory: List[str] = []  # the lines of it, as the image said them
        self.boots = 0
        self.fresh: List[Outcome] = []  # new or changed, for whoever shows them when they happen: takes them away
        self._hangs = 0
        self._complaints: Dict[str, List[str]] = {}
        self._why_missing = "the image was never booted"
        self._unreported = MISSING

    def leave_out(self, outcome: Outcome) -> None:
        """What is known of one of the tests without running it, for a reason."""
        self.outcomes[outcome.id] = outcome
        self.fresh.append(outcome)

    # ---- one boot

    def begin_boot(self, ids: Sequence[str], now: float, log: str) -> None:
        """`ids`: what this boot is asked to run."""
        self.boots += 1
        self.reader = tap.TapReader()
        self._expected = [i for i in ids if i not in self.outcomes]
        self._log = log
        self._began = now
        self._new = 0
        self._bail = ""
        self._empty = ""
        self._last: Optional[str] = None  # the test whose result came last in this boot

    def feed(self, data: bytes, now: float) -> bool:
        """Read what came; True if the image got on with its work."""
        return self._take(self.reader.feed(data), now)

    def _take(self, events: Sequence[tap.Event], now: float) -> bool:
        progress = False
        for event in events:
            if isinstance(event, tap.Begin):
                self._began = now
                progress |= self._wanted(event.id)
            elif isinstance(event, tap.Point):
                progress |= self._record(event, now)
            elif isinstance(event, tap.Fault):
                self._fault(event.text)
            elif isinstance(event, tap.Plan):
                self._check_plan(event)
            elif isinstance(event, tap.Bail):
                self._bail = "Bail out! " + event.reason
            elif isinstance(event, tap.Comment) and event.text.startswith("# vmxcheck ") and not self.banner:
                self.banner = event.text[2:]
            elif isinstance(event, tap.Comment) and event.text.startswith(tap.INVENTORY):
                self.inventory.append(event.text[len(tap.INVENTORY):])
        return progress

    def complain(self, text: str) -> None:
        """The target itself says that something is wrong with it: the test in flight has found that."""
        identity = self.reader.in_flight or self._last
        if identity is None:
            self._fault("before the first test the target complained: " + text)
        elif identity in self.outcomes:
            _add_complaints(self.outcomes[identity], [text])
            self.fresh.append(self.outcomes[identity])
        else:
            self._complaints.setdefault(identity, []).append(text)

    def _fault(self, text: str) -> None:
        if text not in self.faults:
            self.faults.append(text)

    def _wanted(self, identity: str) -> bool:
        if identity not in self.selected:
            self._fault("%s runs and was not asked for" % identity)
        elif identity in self.outcomes:
            self._fault("%s runs again" % identity)
        else:
            return True
        return False

    def _check_plan(self, plan: tap.Plan) -> None:
        if plan.count == 0:
            self._empty = "the image ran nothing" + (": " + plan.reason if plan.reason else "")
        elif plan.count != len(self._expected):
            self._fault("the plan has %d tests where %d were asked for" % (plan.count, len(self._expected)))

    def _record(self, point: tap.Point, now: float) -> bool:
        verdict = FAIL if not point.ok else SKIP if point.directive == "SKIP" else PASS
        # The image's own TODO excuses nothing: only spec/known does.
        reason = point.reason if verdict == SKIP else _first_failure(point.yaml) if verdict == FAIL else ""
        outcome = Outcome(point.id, point.title, verdict, reason, point.checks, now - self._began,
                          _diagnostics(point.yaml, point.comments), self._log, point.failed, point.notes, point.failing)
        _add_complaints(outcome, self._complaints.pop(point.id, []))
        self._began = now
        if point.id not in self.selected:
            self._fault("%s is reported and was not asked for" % point.id)
            return False
        before = self.outcomes.get(point.id)
        if before is None:
            self.outcomes[point.id] = outcome
            self.fresh.append(outcome)
            self._last = point.id
            self._new += 1
            return True
        self._fault("%s is reported twice" % point.id)
        if before.verdict in (PASS, SKIP) and verdict == FAIL:
            self.outcomes[point.id] = outcome
            self.fresh.append(outcome)
        return False

    def end_boot(self, how: str, words: str, limit: float, now: float) -> Optional[str]:
        """The stream is over. The id to go on behind in another boot, or None: that was all."""
        if how != RESET:
            self._take(self.reader.close(), now)
        reader = self.reader
        if reader.ended:
            self._why_missing = self._empty or "the image ended without reporting it"
            return None
        if how == STOPPED:
            self.stop(STOPPED_BY_A_SIGNAL)
            return None
        end = self._describe_end(how, words, limit)
        if not reader.started:
            self._why_missing = "no TAP came: " + end
            return None
        culprit = reader.in_flight or (None if self._bail else self._last)
        if culprit is None:
            self._why_missing = end if self._bail else "before the first test, " + end
            return None
        if culprit == self._last:
            self._blame(self.outcomes[culprit], how, end)
        elif culprit in self.selected and culprit not in self.outcomes:
            self._charge(culprit, how, end, now)
        self._why_missing = "given up behind %s: %s" % (culprit, end)
        remaining = any(i not in self.outcomes for i in self._expected)
        return culprit if remaining and self._new and self._hangs < MOST_HANGS else None

    def _describe_end(self, how: str, words: str, limit: float) -> str:
        if self._bail:
            return self._bail
        text = {
            EXITED: "the image ended too early",
            RESET: "the image started again from the beginning",
            LIMIT: "no progress for %g s" % limit,
            FLOOD: "the image wrote without an end",
        }[how]
        if words:
            text += " (%s)" % words
        if self.reader.last_words:
            text += ", in the middle of the line `%s`" % self.reader.last_words[-80:]
        return text

    def _charge(self, identity: str, how: str, end: str, now: float) -> None:
        verdict = FAIL if self._bail else HANG if how == LIMIT else CRASH
        self._hangs += verdict == HANG
        torn = self.reader.torn
        outcome = self.outcomes[identity] = Outcome(
            identity, self.selected[identity], verdict, end, torn.checks if torn else 0, now - self._began,
            _diagnostics(torn.yaml if torn else (), torn.comments if torn else self.reader.comments_in_flight()), self._log,
            torn.failed if torn else 0, failing=torn.failing if torn else self.reader.failing_in_flight(), broke_off=bool(self._bail))
        outcome.failed = max(outcome.failed, len(outcome.failing))
        _add_complaints(outcome, self._complaints.pop(identity, []))
        self.fresh.append(outcome)
        self._new += 1

    def _blame(self, outcome: Outcome, how: str, end: str) -> None:
        """Between two tests: the one that just ended is the most likely to have broken the machine."""
        said = "it reported " + outcome.verdict
        if outcome.verdict == FAIL:
            said += " (%s)" % outcome.reason
        if outcome.verdict in (PASS, SKIP, FAIL):
            outcome.verdict = HANG if how == LIMIT else CRASH
            outcome.reason = "%s, and behind it %s" % (said, end)
        else:
            outcome.reason += "; behind it " + end
        self.fresh.append(outcome)
        self._hangs += how == LIMIT

    # ---- all boots

    def give_up(self, why: str) -> None:
        self._why_missing = why

    def stop(self, why: str) -> None:
        """The run ends before its end: what has not come to its turn is not the target's fault."""
        self._why_missing, self._unreported = why, NOT_RUN

    def finish(self) -> List[Outcome]:
        """One outcome for each test that was asked for, in the image's order."""
        for identity, title in self.selected.items():
            if identity not in self.outcomes:
                self.outcomes[identity] = Outcome(identity, title, self._unreported, self._why_missing)
        return [self.outcomes[identity] for identity in self.selected]


def _add_complaints(outcome: Outcome, complaints: Sequence[str]) -> None:
    """A target that complains has not passed, whatever the image saw of it."""
    outcome.complaints = [*outcome.complaints, *complaints]
    for text in complaints:
        outcome.diagnostics = (outcome.diagnostics + "\n# the target complained: " + text).lstrip("\n")
        if outcome.verdict in (PASS, SKIP):
            outcome.verdict = FAIL
            outcome.reason = "the target complained: " + text
        elif text not in outcome.reason:
            outcome.reason += "; the target complained: " + text


def _first_failure(yaml: Sequence[str]) -> str:
    """One line for a list of failures: the first check that failed."""
    found: Dict[str, str] = {}
    for line in yaml:
        key, colon, value = line.partition(": ")
        if colon and key in ("at", "check", "expected", "actual"):
            value = value.strip()
            if len(value) > 1 and value[0] == value[-1] == '"':
                value = value[1:-1].replace('\\"', '"').replace("\\\\", "\\")
            found.setdefault(key, value)
    if "check" not in found:
        return "the image says `not ok`"
    text = found["check"]
    if "expected" in found and "actual" in found:
        text += ": expected %s, actual %s" % (found["expected"], found["actual"])
    return text
