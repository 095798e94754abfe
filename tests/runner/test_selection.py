# SPDX-License-Identifier: BSD-2-Clause
"""Patterns over test ids, the words for the image's command line, and the ROM that carries them."""
import sys
import tempfile
import unittest
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parent))
import support  # noqa: E402,F401
from vmxcheck import catalogue as catalogue_module, coverage, images, selection  # noqa: E402
from vmxcheck.catalogue import Row  # noqa: E402
from vmxcheck.errors import NothingToTest, Problem  # noqa: E402

TESTS = dict.fromkeys(("exit.rdtsc", "exit.rdtsc.offset", "exit.rdtscp.offset", "exit.cr0.mask", "cap.basic.size"), "t")


class Patterns(unittest.TestCase):
    def found(self, *patterns: str) -> list:  # type: ignore[type-arg]
        return list(selection.PatternSet(selection.split_patterns(patterns), TESTS).filter(TESTS))

    def test_kinds(self) -> None:
        self.assertEqual(self.found(), list(TESTS))
        self.assertEqual(self.found("exit.rdtsc"), ["exit.rdtsc"])  # exact before front
        self.assertEqual(self.found("exit.cr0"), ["exit.cr0.mask"])
        self.assertEqual(self.found("exit.rdtsc*"), ["exit.rdtsc", "exit.rdtsc.offset", "exit.rdtscp.offset"])
        self.assertEqual(self.found("*.offset,cap"), ["exit.rdtsc.offset", "exit.rdtscp.offset", "cap.basic.size"])
        self.assertEqual(self.found("exit.cr[0-4].*"), ["exit.cr0.mask"])

    def test_nothing(self) -> None:
        for pattern in ("exit.rd", "EXIT*", "exit.cr0.mask.x", "cap.basic.siz?e"):
            with self.assertRaises(NothingToTest) as caught:
                self.found("exit.cr0.mask", pattern)
            self.assertIn("`%s`" % pattern, str(caught.exception))
            self.assertEqual(caught.exception.status, 3)

    def test_no_pattern(self) -> None:
        for pattern in ("", "a b", "a,,b"):
            with self.assertRaises(Problem):
                self.found(pattern)


class Words(unittest.TestCase):
    def test_everything_needs_no_word(self) -> None:
        self.assertEqual(selection.command_lines("seed=1", TESTS, TESTS), [["seed=1", *TESTS]])
        self.assertEqual(selection.command_lines("", TESTS, TESTS, "smp=2"), [["smp=2", *TESTS]])

    def test_a_part_by_number(self) -> None:
        part = dict.fromkeys(list(TESTS)[1:3], "t")
        self.assertEqual(selection.command_lines("x=1 run=exit.* skip=a", TESTS, part, "order=random seed=3"),
                         [["x=1 order=random seed=3 tests=1-2", *part]])
        # The numbers are those of the image, whatever of it the section has.
        self.assertEqual(selection.command_lines("run=exit.*", part, part, "", TESTS), [["tests=1-2", *part]])
        self.assertEqual(selection.command_lines("", TESTS, TESTS, "", (), list(part)[:1])[0][0], "skip=" + list(part)[0])
        self.assertEqual(selection.command_lines("", TESTS, part, "", (), list(part)), [])

    def test_numbers(self) -> None:
        for places, text in (([0], "0"), ([4, 7, 8, 9], "4,7-9"), (list(range(1, 79, 2)), "x" + 19 * "a" + "2"), (list(range(1500)), "0-1499")):
            self.assertEqual(selection.numbers(places), text)
            everything = {"t.%d" % n: "t" for n in range(1500)}
            self.assertEqual(list(selection.configured(everything, "tests=%s smp=2" % text)), ["t.%d" % n for n in places])
        self.assertEqual(list(selection.configured(TESTS, "tests=0-1 skip=" + list(TESTS)[0])), list(TESTS)[1:2])
        for wrong in ("tests=0-", "tests=xq", "tests=a", "tests=0,,1", "tests=-1", "tests=0-99999999999"):
            self.assertEqual(selection.configured(TESTS, wrong), {}, wrong)

    def test_the_sections_own_words(self) -> None:
        self.assertEqual(list(selection.configured(TESTS, "run=exit.* skip=*.offset,exit.cr0.*")), ["exit.rdtsc"])

    def test_any_selection_is_one_boot(self) -> None:
        tests = {"area.subject.test_number_%04d" % n: "t" for n in range(2048)}
        random = Random(7)
        for count in (1, 2, 100, 400, 1000, 2047):
            wanted = {identity: "t" for identity in tests if identity in set(random.sample(sorted(tests), count))}
            (line, *ids), = selection.command_lines("seed=1 apic=x2apic", tests, wanted, "machine=emulated smp=2")
            self.assertEqual(ids, list(wanted))
            self.assertLess(len(line) + selection.ROOM_FOR_RESTART, images.ROM_SPACE)
            self.assertEqual(selection.configured(tests, line), wanted)


class Files(unittest.TestCase):
    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory(prefix="vmxcheck-test-")
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)

    def test_tests(self) -> None:
        (self.folder / "x.tests").write_text("a.b\tone\na.c\ttwo words\n")
        self.assertEqual(images.load(self.folder, "x").tests, {"a.b": "one", "a.c": "two words"})
        with self.assertRaisesRegex(Problem, "image `y` is not built: .*y.tests is missing; run make"):
            images.load(self.folder, "y")
        (self.folder / "x.tests").write_text("a.b\tone\na.b\ttwo\n")
        with self.assertRaisesRegex(Problem, "x.tests:2: test `a.b` twice"):
            images.load(self.folder, "x")

    def patched(self, rom: bytes, line: str) -> bytes:
        (self.folder / "x.rom").write_bytes(rom)
        return images.patched_rom(images.Image("x", self.folder, {}), line)

    def test_rom(self) -> None:
        rom = b"\xf4" * 100 + images.ROM_MARKER + bytes(1008) + b"\xea" * 16
        done = self.patched(rom, "run=a")
        self.assertEqual((len(done), done[:116], done[116:122], done[-16:]), (len(rom), rom[:116], b"run=a\0", b"\xea" * 16))
        self.assertEqual(self.patched(rom, ""), rom)
        self.assertIn(b"x" * 1007 + b"\0", self.patched(rom, "x" * 1007))
        with self.assertRaisesRegex(Problem, "has 1008 bytes, its ROM has place for 1007"):
            self.patched(rom, "x" * 1008)
        for broken in (b"\xf4" * 2000, rom + rom, images.ROM_MARKER + bytes(1007)):
            with self.assertRaisesRegex(Problem, "VMXCHECK-CMDLINE"):
                self.patched(broken, "run=a")


class Coverage(unittest.TestCase):
    def test_table(self) -> None:
        catalogue = {i: Row(i, i[0]) for i in ("a.1", "a.2", "a.3", "b.1", "b.2")}
        results = {"run": "r", "points": [{"id": i, "verdict": v} for i, v in (
            ("a.1", "pass"), ("a.1", "skip"), ("a.2", "hang"), ("a.2", "pass"), ("b.1", "known"), ("old", "pass"))]}
        tested = ["a.1", "a.2", "b.1", "strange"]
        self.assertEqual(coverage.table(catalogue, tested, coverage.last_verdicts(results)),
                         [("a", [3, 2, 1, 1, 0, 0, 1]), ("b", [2, 1, 0, 0, 0, 1, 1]), ("all", [5, 3, 1, 1, 0, 1, 2])])
        text = coverage.text(catalogue, tested, results, True)
        self.assertIn("not in the catalogue: 1 tests\n  strange", text)
        self.assertTrue(text.endswith("not yet tested:\n  a.3\n  b.2"))

    def test_the_projects_own_catalogue(self) -> None:
        self.assertGreater(len(catalogue_module.read(support.TOP / "spec" / "catalogue.tsv")), 900)


if __name__ == "__main__":
    unittest.main()
