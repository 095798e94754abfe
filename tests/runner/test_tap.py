# SPDX-License-Identifier: BSD-2-Clause
"""The TAP reader: what it understands, in any portions, and that no lie gets past it."""
import random
import sys
import unittest
from pathlib import Path
from typing import List

sys.path.insert(0, str(Path(__file__).resolve().parent))
import support  # noqa: E402,F401
from vmxcheck.tap import Bail, Begin, Comment, End, Event, Fault, Plan, Point, Reset, TapReader  # noqa: E402

GOOD = b"""SeaBIOS\r
TAP version 13
# vmxcheck 0.1 image=x
1..3
# begin a.b
ok 1 - a.b: a title: with a colon, and # a hash
  ---
  checks: 512
  ...
# begin a.c
# said by the test
not ok 2 - a.c: other
  ---
  at: x86/t.c:1
  more:
    - checks: 99
  checks: 12
  ...
# begin a.d
ok 3 - a.d: third # SKIP needs MSR[57]
# end
noise
"""


def read(data: bytes, step: int = 0) -> List[Event]:
    reader = TapReader()
    step = step or len(data) or 1
    events: List[Event] = []
    for at in range(0, len(data), step):
        events += reader.feed(data[at:at + step])
    return events + reader.close()


def stream(text: str) -> bytes:
    return b"TAP version 13\n" + text.encode()


class Understood(unittest.TestCase):
    def test_failed_checks(self) -> None:
        text = "1..2\n# begin a.b\n# said\n# failed: bit 10, x | read(\"y\")\n# failed+ 4 12 11\n# failed+ 6 0 \n# failed too: 9 more\n" \
               "not ok 1 - a.b: a\n# begin a.c\n# failed: z\n"
        names = ["bit 10, x | read(\"y\")", "bit 11 | read(\"y\")", "bit 11"]
        for step in (0, 1, 7):
            point = [event for event in read(stream(text), step) if isinstance(event, Point)][0]
            self.assertEqual((point.failing, point.comments), (names, ["# said", "# failed too: 9 more"]))
        reader = TapReader()
        reader.feed(stream(text))
        self.assertEqual(reader.failing_in_flight(), ["z"])
        for line in ("# failed+ 0 0 x", "# failed: abc\n# failed+ 2 2 x"):
            events = read(stream("1..1\n# begin a.b\n%s\nnot ok 1 - a.b: a\n# end\n" % line))
            self.assertIn("goes by another", [event for event in events if isinstance(event, Fault)][0].text)

    def test_everything(self) -> None:
        events = read(GOOD)
        self.assertEqual([type(e) for e in events],
                         [Comment, Plan, Begin, Point, Begin, Comment, Point, Begin, Point, End])
        points = [e for e in events if isinstance(e, Point)]
        self.assertEqual([(p.id, p.ok, p.directive, p.checks) for p in points],
                         [("a.b", True, "", 512), ("a.c", False, "", 12), ("a.d", True, "SKIP", 0)])
        self.assertEqual(points[0].title, "a title: with a colon, and # a hash")
        self.assertEqual(points[1].comments, ["# said by the test"])
        self.assertIn("at: x86/t.c:1", points[1].yaml)
        self.assertEqual(points[2].reason, "needs MSR[57]")

    def test_portions_do_not_matter(self) -> None:
        whole = read(GOOD)
        for step in (1, 2, 3, 7, 64):
            self.assertEqual(read(GOOD, step), whole)

    def test_carriage_returns(self) -> None:
        self.assertEqual([e for e in read(GOOD.replace(b"\n", b"\r\n")) if isinstance(e, Fault)], [])

    def test_a_point_without_a_block_counts_one_check(self) -> None:
        events = read(stream("1..1\n# begin a\nok 1 - a: t\n# end\n"))
        self.assertEqual([e.checks for e in events if isinstance(e, Point)], [1])

    def test_in_flight(self) -> None:
        reader = TapReader()
        reader.feed(stream("1..2\n# begin a\n# hm\n"))
        self.assertEqual((reader.in_flight, reader.comments_in_flight()), ("a", ["# hm"]))
        reader.feed(b"ok 1 - a: t\n# begin b\n")
        self.assertEqual(reader.in_flight, "b")

    def test_nothing_before_the_header(self) -> None:
        self.assertEqual(read(b"ok 1 - a\nnot ok 2\n1..7\n"), [])

    def test_todo_is_read(self) -> None:
        point = [e for e in read(stream("1..1\n# begin a\nnot ok 1 - a: t # TODO later\n# end\n")) if isinstance(e, Point)][0]
        self.assertEqual((point.ok, point.directive, point.reason), (False, "TODO", "later"))

    def test_bail_out(self) -> None:
        self.assertEqual(read(stream("Bail out! why\n")), [Bail("why")])


class Torn(unittest.TestCase):
    def test_in_a_line(self) -> None:
        reader = TapReader()
        reader.feed(stream("1..1\n# begin a\nok 1 - "))
        self.assertEqual(reader.close(), [])
        self.assertEqual((reader.in_flight, reader.last_words), ("a", "ok 1 - "))

    def test_in_a_block(self) -> None:
        for tail in ("  ---\n", "  ---\n  checks: 3\n", "  ---\n  checks: 3\n  ..", "  -"):
            reader = TapReader()
            reader.feed(stream("1..1\n# begin a\nok 1 - a: t\n" + tail))
            self.assertEqual(reader.close(), [], tail)
            self.assertEqual((reader.in_flight, reader.torn and reader.torn.id), ("a", "a"), tail)

    def test_a_whole_point_at_the_end(self) -> None:
        reader = TapReader()
        events = reader.feed(stream("1..1\n# begin a\nok 1 - a: t\n")) + reader.close()
        self.assertIsInstance(events[-1], Point)
        self.assertIsNone(reader.in_flight)
        self.assertFalse(reader.ended)

    def test_reset(self) -> None:
        for before in ("# begin a\n", "# begin a\nok 1 - a: t\n", "# begin a\nok 1 - a: t\n  ---\n  x: 1\n"):
            reader = TapReader()
            events = reader.feed(stream("1..1\n" + before + "BIOS TAP version 13\n1..1\n# begin a\nok 1 - a: t\n# end\n"))
            self.assertEqual(events[-1], Reset(), before)
            self.assertEqual(len([e for e in events if isinstance(e, Point)]), before.count("ok") - before.count("x:"))
            self.assertEqual(reader.feed(b"# end\n") + reader.close(), [])


class Lies(unittest.TestCase):
    def faults(self, text: str) -> List[str]:
        for step in (0, 1):
            found = [e.text for e in read(stream(text), step) if isinstance(e, Fault)]
        return found

    def assert_fault(self, text: str, *expected: str) -> None:
        found = self.faults(text)
        self.assertEqual(len(found), len(expected), found)
        for fault, part in zip(found, expected):
            self.assertIn(part, fault)

    def test_numbers(self) -> None:
        self.assert_fault("1..2\n# begin a\nok 2 - a: t\n# begin b\nok 2 - b: t\n# end\n", "a is numbered 2 where 1 is next")
        self.assert_fault("1..1\n# begin a\nok - a: t\n# end\n", "numbered None")

    def test_duplicates(self) -> None:
        self.assert_fault("1..2\n# begin a\nok 1 - a: t\n# begin a\nok 2 - a: t\n# end\n", "a is reported twice")

    def test_plans(self) -> None:
        self.assert_fault("1..2\n# begin a\nok 1 - a: t\n# end\n", "the plan said 2 tests and 1 were reported")
        self.assert_fault("1..0\n# begin a\nok 1 - a: t\n# end\n", "beyond the plan of 0")
        self.assert_fault("1..1\n1..1\n# begin a\nok 1 - a: t\n# end\n", "a second plan")
        self.assert_fault("# begin a\nok 1 - a: t\n# end\n", "before the plan", "no plan")
        self.assert_fault("# begin a\nok 1 - a: t\n1..1\n# end\n", "before the plan", "the plan comes after")
        self.assert_fault("1..x\n# end\n", "not a plan", "no plan")
        self.assert_fault("1..99999999999\n# end\n", "not a plan", "no plan")

    def test_begin_and_report_belong_together(self) -> None:
        self.assert_fault("1..1\n# begin a\nok 1 - b: t\n# end\n", "b is reported while a runs", "a began and was never")
        self.assert_fault("1..1\nok 1 - a: t\n# end\n", "never began")
        self.assert_fault("1..1\nok 1 - a: t # SKIP x\n# end\n")
        self.assert_fault("1..1\n# begin a\n# begin b\nok 1 - b: t\n# end\n", "a began and was never reported")
        self.assert_fault("1..0\n# begin <a>\n# end\n", "not the id")

    def test_garbage(self) -> None:
        self.assert_fault("1..1\nhello\n# begin a\nok 1 - a: t\n# end\n", "not TAP: hello")
        self.assert_fault("1..1\n# begin a\n\x00\x1bok 1\nok 1 - a: t\n# end\n", "not TAP: \\x00\\x1bok 1")
        self.assert_fault("1..1\n# begin a\nok 1\n# end\n", "without the id", "a began and was never reported")
        self.assert_fault("1..1\n# begin a\nok 1 - a: t\n  ---\n  x: 1\nstray\n# end\n", "does not end", "not TAP: stray")
        self.assert_fault("1..1\n# begin a\nok 1 - a: t\nx\n  ---\n  ...\n# end\n", "not TAP: x", "not TAP:   ---", "not TAP:   ...")

    def test_after_the_end(self) -> None:
        self.assert_fault("1..1\n# begin a\nok 1 - a: t\n# end\nnot ok 2 - b: t\n", "TAP after the end")
        self.assert_fault("1..1\n# begin a\nok 1 - a: t\n# end\nany noise\n\n")

    def test_other_version(self) -> None:
        events = read(b"TAP version 14\n1..0\n# end\n")
        self.assertEqual(events[0], Fault("TAP version 14, not 13"))

    def test_a_line_without_end(self) -> None:
        self.assert_fault("1..1\n# begin a\n" + "#" * 200000 + "\nok 1 - a: t\n# end\n", "a line longer than")

    def test_many_faults_are_cut_short(self) -> None:
        self.assertEqual(len(self.faults("1..0\n" + "x\n" * 5000 + "# end\n")), 21)

    def test_any_bytes_are_survived(self) -> None:
        generator = random.Random(7)
        pieces = [b"ok ", b"not ok ", b"1", b"..", b" - ", b"a.b", b": t", b"\n", b"\n", b"# begin ", b"# end\n", b"  ---\n",
                  b"  ...\n", b"TAP version 13\n", b"Bail out!", b"\xff\x00", b" # SKIP x", b"1..3\n", b"  checks: 3\n"]
        for _ in range(100):
            data = b"TAP version 13\n" + b"".join(generator.choice(pieces) for _ in range(60))
            self.assertEqual(read(data), read(data, 1))


if __name__ == "__main__":
    unittest.main()
