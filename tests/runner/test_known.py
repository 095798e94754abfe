# SPDX-License-Identifier: BSD-2-Clause
"""Known deviations: the tables, where they apply, and what a run makes of them."""
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace
from typing import List

sys.path.insert(0, str(Path(__file__).resolve().parent))
from support import TOP, Project  # noqa: E402
from vmxcheck import known, names  # noqa: E402
from vmxcheck.errors import Problem  # noqa: E402
from vmxcheck.verdict import Ledger, Outcome  # noqa: E402

FACTS = {"cpu": "tigerlake", "smp": "1", "image": "tsc"}


class Table(unittest.TestCase):
    def applies(self, condition: str) -> bool:
        return known.parse("a.b\t%s\twhy\tref\n\t*\n" % condition, "t.tsv")[0].applies(FACTS)

    def test_conditions(self) -> None:
        for condition in ("-", "cpu=tigerlake", "cpu=tiger*", "cpu=core*|tigerlake", "smp=1", "image=tsc,cpu=t*", "cpu=*"):
            self.assertTrue(self.applies(condition), condition)
        for condition in ("cpu=core2_*", "smp=2", "cpu=tigerlake,smp=2", "image=TSC", "cpu=tiger"):
            self.assertFalse(self.applies(condition), condition)

    def test_one_parameter_of_kvm_among_others(self) -> None:
        line = known.parse("a\tkvm=ept=0|unrestricted_guest=0,failed=1\tw\tr\n", "t.tsv")[0]
        anything = known.parse("a\tkvm=*,failed=1\tw\tr\n", "t.tsv")[0]
        for given, applies in (("ept=0", True), ("enable_shadow_vmcs=0 ept=0", True), ("unrestricted_guest=0 vpid=0", True),
                               ("ept=1", False), ("", False), ("kvm.ept=0", False)):
            self.assertEqual(line.applies({"kvm": given}), applies, given)
            self.assertTrue(anything.applies({"kvm": given}))

    def test_the_line_that_applies_is_found(self) -> None:
        table = known.KnownTable(known.parse("a\tsmp=2,failed=1\tno\t-\n# c\n\na\tcpu=t*,failed=1\tyes\tbug 1\n", "t.tsv"))
        line = table.find("a", FACTS)
        self.assertEqual((line.why, line.reference, line.where), ("yes", "bug 1", "t.tsv:4"))
        self.assertIsNone(table.find("a.b", FACTS))

    def test_the_line_that_excuses_is_preferred(self) -> None:
        table = known.KnownTable(known.parse("a\t-\tfails\t-\n\t*\na\tfailed=3,verdict=fail|hang\thangs\t-\n", "t.tsv"))
        for verdict, failed, why in (("fail", 9, "fails"), ("hang", 0, "hangs"), ("hang", 4, "fails"), ("crash", 0, "fails")):
            outcome = Outcome("a", "", verdict, failed=failed)
            line = table.find("a", FACTS, outcome)
            self.assertEqual(line.why, why)
            self.assertEqual(line.excuses(outcome), (verdict, failed) in (("fail", 9), ("hang", 0)))

    def test_bad_lines(self) -> None:
        for text, part in (("a\t-\twhy\n", "t.tsv:1: a line is"), ("a\t-\t\tref\n", "none of them empty"),
                           ("x\t-\tw\tr\n\na\tcpu\tw\tr\n", "t.tsv:3: bad condition `cpu`"),
                           ("a\tmemory=1\tw\tr\n", "bad condition"), ("a\tcpu=a,cpu=b\tw\tr\n", "each KEY once"),
                           ("a\tverdict=skip\tw\tr\n", "verdict is fail, crash or hang"),
                           ("a\trun=no\tw\tr\n", "run=no is for a test that hangs or crashes"), ("a\tverdict=fail,run=no\tw\tr\n", "run=no is for"),
                           ("a\tverdict=hang,run=0\tw\tr\n", "run=no is for"),
                           ("a\tfailed=0\tw\tr\n", "failed is a number"), ("a\tfailed=1|2\tw\tr\n", "failed is a number"),
                           ("a\tcpu=a|\tw\tr\n", "bad condition"),
                           ("a\t-\tw\tr\n", "t.tsv:1: it says not which checks fail"), ("a\tverdict=fail|crash\tw\tr\n", "says not which checks"),
                           ("\tx\na\t-\tw\tr\n", "t.tsv:1: a line that begins with a TAB"), ("a\t-\tw\tr\n\tx {1\n", "t.tsv:2: `x {1`: a {"),
                           ("a\t-\tw\tr\n\tx {1-}\n", "in braces are words"),
                           ("a\tversion=3\tw\tr\n", "a version is N.N"), ("a\tversion=>3.0\tw\tr\n", "a version is"), ("a - b c\n", "TAB")):
            with self.assertRaises(Problem) as caught:
                known.parse(text, "t.tsv")
            self.assertIn(part, str(caught.exception))

    def test_no_table_excuses_nothing(self) -> None:
        self.assertIsNone(known.KnownTable.load(Path("/nowhere"), "bochs", "2.7").find("a", FACTS))

    def test_versions(self) -> None:
        for condition, versions in (("3.0", ["3.0"]), ("<3.0", ["2.7"]), ("3.0..", ["3.0", "3.1", "10.0"]), ("3.1..10.0", ["3.1", "10.0"]),
                                    ("2.7|10.0", ["2.7", "10.0"])):
            line = known.parse("a\tversion=%s,failed=1\tw\tr\n" % condition, "t.tsv")[0]
            self.assertEqual([v for v in ("2.7", "3.0", "3.1", "10.0") if line.applies({"version": v})], versions, condition)
            self.assertFalse(line.applies({"version": "unknown"}))
        self.assertTrue(known.parse("a\tbochs=<3.0,failed=1\tw\tr\n", "t.tsv")[0].applies({"bochs": "2.7.1"}))

    def test_a_version_that_was_not_tried(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "kvm.tsv").write_text("# tried: 6.1 6.12 7.3\na\tfailed=1\tall\t-\n"
                                            "a\tversion=6.12,failed=1\tmiddle\t-\nb\tversion=7.3..,failed=1\tnew\t-\n")
            for version, judged_by, a, b, remark in (
                    ("6.1", "6.1", "all", None, ""), ("6.12", "6.12", "all", None, ""), ("7.3", "7.3", "all", "new", ""),
                    ("6.11", "6.1", "all", None, "kvm 6.11 was not tried: judged by what is known of 6.1 (spec/known/kvm.tsv)"),
                    ("7.10", "7.3", "all", "new", "judged by what is known of 7.3"), ("5.10", "5.10", None, None, "nothing is known of kvm 5.10"),
                    ("unknown", "unknown", None, None, "nothing is known of kvm unknown")):
                table = known.KnownTable.load(folder, "kvm", version)
                self.assertEqual(table.version, judged_by)
                self.assertEqual([line and line.why for line in (table.find("a", FACTS), table.find("b", FACTS))], [a, b], version)
                self.assertIn(remark, table.remark)
                self.assertEqual(bool(remark), bool(table.remark))

    def test_a_table_says_what_was_tried(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            for text in ("", "# tried:\n", "# tried: all\n"):
                (Path(name) / "kvm.tsv").write_text(text + "a\t-\tw\tr\n")
                with self.assertRaises(Problem):
                    known.KnownTable.load(Path(name), "kvm", "6.1")

    def test_the_projects_own_tables(self) -> None:
        for path in (TOP / "spec" / "known").glob("*.tsv"):
            known.KnownTable.load(path.parent, path.stem, "99.0")


class Names(unittest.TestCase):
    def test_patterns(self) -> None:
        for pattern, yes, no in (
                ("a | b", ["a | b"], ["a | c", "a | b ", "xa | b"]), ("a*c", ["ac", "abc", "a | c"], ["ab", "abcd"]),
                ("x {1,4-6} y", ["x 1 y", "x 5 y", "x 0x5 y"], ["x 7 y", "x 15 y", "x 5z y", "x y"]),
                ("{0x10-0x1f}", ["0x10", "0x1f", "16"], ["0x20", "0xf"]), ("{1<<4-6,ES}", ["0x10", "0x40", "ES"], ["0x80", "0x11", "ESX"]),
                ("bit {#}:", ["bit 7:", "bit 0x7:"], ["bit 7a:", "bit :", "bit x:"]), ("\\*p \\{ {#} \\}\\\\", ["*p { 1 }\\"], ["p { 1 }\\"]),
                ("a[?]", ["a[?]"], ["a?", "ab"])):
            found = names.pattern(pattern)
            self.assertEqual([name for name in yes + no if found.matches(name)], yes, pattern)
        for bad in ("{", "a}", "{}", "{a b}", "{2-1}", "{1<<0-64}", "{a*}", "{1,#}"):
            with self.assertRaises(ValueError):
                names.Pattern(bad)

    def test_few_patterns_for_just_those_names(self) -> None:
        def several(text: str, *values: object) -> List[str]:
            return [text % value for value in values]

        for given, wanted in (
                (["a"], ["a"]), (["#PF | x {*}\\"], ["#PF | x \\{\\*\\}\\\\"]),
                (several("bit %d | fault", *range(32, 64)), ["bit {32-63} | fault"]),
                (several("v %#x", *(1 << n for n in range(64))), ["v {1<<0-63}"]),
                (["v 0"] + several("v %#x", 1, 2, 3, 8, 16, 32, 64), ["v {0-0x3,1<<3-6}"]),
                ([a + b for a in several("%s, DPL ", "ES", "DS") for b in several("%d | x", 1, 3)], ["{DS,ES}, DPL {1,3} | x"]),
                (["ES 1", "ES 2", "DS 1"], ["DS 1", "ES {1,2}"]),
                (several("n %d", *(7919 * n for n in range(50))), ["n {#}"]),
                (["at 0x219040", "at 0x219080"], ["at {#}"]), (["of 0x100000", "of 0xfffffe"], ["of {0x100000,0xfffffe}"])):
            found = names.compact(given)
            self.assertEqual(found, wanted)
            self.assertTrue(all(any(names.pattern(text).matches(name) for text in found) for name in given))
            if "{#}" not in found[0]:
                self.assertEqual(sorted({name for text in found for name in names.pattern(text).expand() or []}), sorted(set(given)))


class Tool(Project):
    """run_tests.sh known."""

    def table(self, text: str) -> None:
        (self.known / "bochs.tsv").write_text("# tried: 2.7\n" + text)

    def tool(self, *words: str) -> SimpleNamespace:
        done = subprocess.run([str(TOP / "run_tests.sh"), "known", "--known", str(self.known), *words, str(self.folder / "results")],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        return SimpleNamespace(status=done.returncode, out=done.stdout, table=(self.known / "bochs.tsv").read_text().partition("\n")[2])

    def test_names_what_failed(self) -> None:
        self.configure("fail", arguments="fault=fail names=case_1,case_2")
        self.run_tests()
        line = "t.two\t-\twhy\tref\n"
        self.table(line + "u.three\tfailed=1\tother\tref\n")
        done = self.tool()
        self.assertEqual((done.status, done.table), (0, line + "u.three\tfailed=1\tother\tref\n"), done.out)
        self.assertIn("spec/known/bochs.tsv:2: t.two: 2 names in 1 patterns, before in 0\n", done.out)
        done = self.tool("--write")
        self.assertEqual(done.table, line + "\t{case_1,case_2} | 1 + 1\nu.three\tfailed=1\tother\tref\n")
        self.assertEqual(self.run_tests().status, 0)
        done = self.tool("--write")
        self.assertIn("no table changes", done.out)
        self.configure("fail", arguments="fault=fail names=case_2,case_3,q")
        self.run_tests()
        self.assertEqual(self.tool("--write").table.splitlines()[1], "\t{case_1,case_2,case_3,q} | 1 + 1")
        self.assertEqual(self.tool("--write", "--afresh").table.splitlines()[1], "\t{case_2,case_3,q} | 1 + 1")
        self.table(line + "\tcase_* | 1 + 1\n")
        self.assertEqual(self.tool("--write", "--afresh").table, line + "\tcase_* | 1 + 1\n\tq | 1 + 1\n")

    def test_everything_gives_way_to_names(self) -> None:
        self.configure("fail")
        self.run_tests()
        self.table("t.two\t-\twhy\tref\n\t*\n")
        self.assertEqual(self.tool("--write").table, "t.two\t-\twhy\tref\n\t*\n")
        self.assertEqual(self.tool("--write", "--afresh").table, "t.two\t-\twhy\tref\n\tcase_1 | 1 + 1\n")

    def test_adds_no_line(self) -> None:
        self.configure("fail", "die")
        self.run_tests()
        self.table("t.two\timage=die\twhy\tref\n")
        done = self.tool("--write")
        self.assertEqual((done.status, done.table), (1, "t.two\timage=die\twhy\tref\n"))
        self.assertIn("unexplained: t.two: fail on bochs-2.7 tigerlake: case_1 | 1 + 1\n", done.out)
        self.assertIn("unexplained: t.two: crash on bochs-2.7 tigerlake: ", done.out)

    def test_counts_where_names_do_not_tell_all(self) -> None:
        self.configure("fail", arguments="fault=fail names=case_1,case_1")
        self.run_tests()
        self.table("t.two\tcpu=*\twhy\tref\n")
        self.assertEqual(self.tool("--write").table, "t.two\tcpu=*,failed=2\twhy\tref\n\tcase_1 | 1 + 1\n")


class Run(Project):
    def known_line(self, condition: str = "-", *checks: str) -> None:
        (self.known / "bochs.tsv").write_text("# tried: 2.7\nt.two\t%s\tit adds badly\tbug 7\n" % condition
                                              + "".join("\t%s\n" % check for check in checks or ("*",)))

    def not_excused(self, condition: str, *checks: str) -> str:
        """What the run says of the line; "": it excuses."""
        self.known_line(condition, *checks)
        run = self.run_tests()
        point = self.point(run, "t.two")
        self.assertEqual(run.status, 0 if point["verdict"] == "known" else 1, run.out)
        where = "spec/known/bochs.tsv:2 "
        self.assertEqual(point["verdict"] == "known", where not in point["reason"], point["reason"])
        return point["reason"].partition(where)[2]

    def test_excused(self) -> None:
        self.configure("fail", "die", "pass")
        self.known_line("image=fail|die,verdict=fail|crash")
        run = self.run_tests("-j", "2", "--fail-stale")
        self.assertEqual(run.status, 0, run.out)
        self.assertEqual(run.results["counts"]["known"], 2)
        self.assertIn("2 known deviations\n", run.out)
        self.assertTrue(run.out.endswith("\n10 passed, 0 failed, 0 skipped\n"), run.out)
        excused = [p for p in run.results["points"] if p["verdict"] == "known"]
        self.assertEqual({p["known"] for p in excused}, {"it adds badly (bug 7)"})
        self.assertIn("expected 3, actual 2", excused[0]["reason"])

    def test_a_crash_is_not_the_failure_that_is_known(self) -> None:
        self.configure("die")
        self.known_line("image=die")
        run = self.run_tests()
        self.assertEqual(run.status, 1)
        self.assertIn("# not excused: spec/known/bochs.tsv:2 is for a fail\n", run.out)

    def test_no_more_checks_than_are_known(self) -> None:
        self.configure("fail")
        self.known_line("failed=1")
        self.assertEqual(self.run_tests().status, 0)
        self.configure("fail_twice")
        run = self.run_tests()
        self.assertEqual(run.status, 1)
        self.assertIn("# not excused: spec/known/bochs.tsv:2 is for 1 check that fails, not for 2\n", run.out)
        self.known_line("failed=2")
        self.assertEqual(self.run_tests().status, 0)

    def test_the_checks_that_it_names_and_no_others(self) -> None:
        self.configure("fail", arguments="fault=fail names=case_1,case_2,case_7")
        for checks in (["case_1 | 1 + 1", "case_2 | 1 + 1", "case_7 | 1 + 1"], ["{case_1,case_2,case_7} | 1 + 1"], ["case_*"],
                       ["case_{1-9} | {#} + 1"]):
            self.assertEqual(self.not_excused("-", *checks), "", checks)
        self.assertEqual(self.point(SimpleNamespace(results=self.results()), "t.two")["failing"],
                         ["case_1 | 1 + 1", "case_2 | 1 + 1", "case_7 | 1 + 1"])
        self.assertEqual(self.not_excused("-", "case_1 | 1 + 1", "case_7 | 1 + 1"), "does not name the check `case_2 | 1 + 1`")
        self.assertEqual(self.not_excused("-", "case_1 | 1 + 1"), "does not name the check `case_2 | 1 + 1` and 1 more")
        self.assertEqual(self.not_excused("failed=3", "case_1 | 1 + 1"), "does not name the check `case_2 | 1 + 1` and 1 more")
        self.assertEqual(self.not_excused("failed=2", "*"), "is for 2 checks that fail, not for 3")
        self.assertEqual(self.not_excused("failed=4", "*"), "")

    def test_what_failed_before_the_end(self) -> None:
        """A line for a crash or a hang excuses no check that failed before it, but by its name."""
        for fault, verdict in (("die-failing", "crash"), ("hang-failing", "hang")):
            self.configure(fault, arguments="fault=%s names=case_1,case_2" % fault, timeout="0.6")
            self.assertEqual(self.not_excused("verdict=" + verdict, "case_2 | 1 + 1"), "does not name the check `case_1 | 1 + 1`")
            self.assertEqual(self.not_excused("verdict=" + verdict, "case_{1,2} | 1 + 1"), "")
            point = self.results()["points"][1]
            self.assertEqual((point["was"], point["failed"], len(point["failing"])), (verdict, 2, 2))

    def test_an_end_behind_a_known_failure(self) -> None:
        self.configure("fail-die-behind")
        self.assertEqual(self.not_excused("-"), "is for a fail")
        self.assertEqual(self.not_excused("verdict=crash"), "")
        self.configure("bail-failing")
        self.assertEqual(self.not_excused("-"), "is for no image that gives up")

    def test_a_failure_without_a_name(self) -> None:
        self.configure("fail_twice")
        self.assertEqual(self.not_excused("-", "a"), "excuses checks by their names, and 2 failed without one")
        self.assertEqual(self.not_excused("failed=2", "a"), "")

    def test_complaints_of_the_target(self) -> None:
        line = known.parse("a\tcomplaint=*nested.c*|BUG *\tw\tr\n\tb\n", "t.tsv")[0]
        for complaints, failing, why in (([], ["b"], ""), (["WARNING: at nested.c:7"], [], ""), (["BUG x", "at nested.c"], ["b"], ""),
                                         (["WARNING: at vmx.c:7"], [], "does not name the complaint `WARNING: at vmx.c:7`"),
                                         (["BUG x", "oops"], ["b"], "does not name the complaint `oops`"),
                                         (["BUG x"], ["c"], "does not name the check `c`")):
            outcome = Outcome("a", "", "fail", failed=len(failing), failing=failing, complaints=complaints)
            self.assertEqual(line.not_excused(outcome), why)
        line = known.parse("a\tfailed=1\tw\tr\n", "t.tsv")[0]
        self.assertEqual(line.not_excused(Outcome("a", "", "fail", failed=1, complaints=["oops"])), "does not name the complaint `oops`")
        ledger = Ledger({"a": "", "b": ""})
        ledger.begin_boot(["a", "b"], 0.0, "")
        ledger.feed(b"TAP version 13\n1..2\n# begin a\n", 0.0)
        ledger.complain("oops")
        ledger.feed(b"ok 1 - a: a\n# begin b\nok 2 - b: b\n# end\n", 0.0)
        ledger.complain("again")
        self.assertEqual([(o.verdict, o.complaints) for o in ledger.finish()], [("fail", ["oops"]), ("fail", ["again"])])

    def test_only_where_it_applies(self) -> None:
        self.configure("fail")
        self.known_line("cpu=core2_*")
        self.assertEqual(self.run_tests().status, 1)
        self.assertEqual(self.run_tests("--cpu", "core2_penryn_t9600").status, 0)

    def test_what_hangs_is_not_run(self) -> None:
        self.configure("hang", timeout="60")
        self.known_line("verdict=hang,run=no")
        run = self.run_tests("--fail-stale")
        self.assertEqual(run.status, 0, run.out)
        self.assertEqual(self.verdicts(run), {"t.one": "pass", "t.two": "known", "t.two.b": "pass", "u.three": "pass"})
        point = self.point(run, "t.two")
        self.assertEqual((point["reason"], point["known"]), ("not run: it hangs", "it adds badly (bug 7)"))
        self.assertEqual(run.results["images"][0]["boots"], 1)
        self.assertTrue(run.out.endswith("\n3 passed, 0 failed, 0 skipped\n"), run.out)
        self.assertIn("ok 2 - t.two: the one with the fault # TODO it adds badly (bug 7)", self.run_tests("-t").out)

    def test_nor_among_some_of_the_tests(self) -> None:
        self.configure("hang", timeout="60")
        self.known_line("verdict=hang,run=no")
        run = self.run_tests("t.*")
        self.assertEqual(self.verdicts(run), {"t.one": "pass", "t.two": "known", "t.two.b": "pass"}, run.out)

    def test_nothing_is_booted_for_tests_that_are_not_run(self) -> None:
        self.configure("hang", timeout="60")
        self.known_line("verdict=hang,run=no")
        run = self.run_tests("t.tw[o]", "--repeat", "2")
        self.assertEqual((run.status, self.processes(), [p["verdict"] for p in run.results["points"]]), (0, [], ["known"] * 2), run.out)

    def test_it_is_run_where_it_is_named(self) -> None:
        self.configure("hang", "pass", timeout="1")
        self.known_line("verdict=hang,run=no")
        run = self.run_tests("t.two", "--image", "hang")
        self.assertEqual((run.status, self.verdicts(run)), (0, {"t.two": "known"}), run.out)
        self.assertIn("no progress for", self.point(run, "t.two")["reason"])
        run = self.run_tests("t.two", "t.two.b", "--image", "pass")
        self.assertEqual(self.verdicts(run), {"t.two": "pass", "t.two.b": "pass"})
        self.assertEqual(len(run.results["stale"]), 1)

    def test_it_is_run_where_the_line_does_not_apply(self) -> None:
        self.configure("hang", timeout="1")
        for condition, status in (("cpu=core2_*,verdict=hang,run=no", 1), ("verdict=hang", 0)):
            self.known_line(condition)
            run = self.run_tests()
            self.assertEqual(run.status, status)
            self.assertIn("no progress for", self.point(run, "t.two")["reason"])

    def test_a_section_that_skips_something_itself(self) -> None:
        self.configure("hang", arguments="fault=hang skip=t.one", timeout="60")
        self.known_line("verdict=hang,run=no")
        run = self.run_tests()
        self.assertEqual(self.verdicts(run), {"t.two": "known", "t.two.b": "pass", "u.three": "pass"}, run.out)

    def test_stale(self) -> None:
        self.configure("pass")
        self.known_line()
        run = self.run_tests()
        self.assertEqual(run.status, 0)
        self.assertIn("stale: spec/known/bochs.tsv:2: t.two passed on bochs-2.7 tigerlake", run.out)
        self.assertEqual(run.results["stale"][0]["id"], "t.two")
        run = self.run_tests("--fail-stale")
        self.assertEqual(run.status, 1)
        self.assertIn("it fails this run", run.out)
        self.assertIn("not ok 5 - known.t.two", self.run_tests("--fail-stale", "-t").out)

    def test_what_comes_and_goes_is_not_stale(self) -> None:
        self.configure("pass", "fail")
        self.known_line("verdict=pass|fail,failed=1")
        run = self.run_tests("--fail-stale")
        self.assertEqual((run.status, run.results["stale"]), (0, []), run.out)
        self.assertEqual(self.verdicts(run, "fail")["t.two"], "known")
        self.known_line("verdict=pass,failed=1")
        self.assertIn("pass beside them for what comes and goes", self.run_tests().err)

    def test_a_newer_version_is_judged_by_the_newest_that_was_tried(self) -> None:
        self.configure("fail", "pass")
        (self.known / "bochs.tsv").write_text("# tried: 2.4 2.6\nt.two\tfailed=1\tit adds badly\tbug 7\nt.one\tfailed=1\tw\tr\n")
        run = self.run_tests("--fail-stale")
        self.assertEqual((run.status, run.results["stale"]), (0, []), run.out)
        self.assertIn("note: bochs 2.7 was not tried: judged by what is known of 2.6 (spec/known/bochs.tsv)\n", run.out)
        self.assertEqual(len(run.results["remarks"]), 1)
        (self.known / "bochs.tsv").write_text("# tried: 3.0\nt.two\tfailed=1\tit adds badly\tbug 7\n")
        run = self.run_tests()
        self.assertEqual(run.status, 1)
        self.assertIn("note: nothing is known of bochs 2.7 (spec/known/bochs.tsv has 3.0)", run.out)

    def test_a_skip_is_not_stale_and_a_missing_test_not_excused(self) -> None:
        self.configure("skip")
        self.known_line()
        self.assertEqual(self.run_tests("--fail-stale").results["stale"], [])
        self.configure("silent")
        self.assertEqual(self.run_tests().results["counts"]["missing"], 4)

    def test_a_bad_table_is_an_error(self) -> None:
        self.configure("pass")
        (self.known / "bochs.tsv").write_text("# tried: 2.7\nt.two\n")
        run = self.run_tests()
        self.assertEqual((run.status, run.results), (2, {}))
        self.assertIn("bochs.tsv:2:", run.err)


if __name__ == "__main__":
    unittest.main()
