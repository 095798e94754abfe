# SPDX-License-Identifier: BSD-2-Clause
"""End to end with the fake Bochs: each fault, its verdict, its message, the exit status, nothing left behind."""
import sys
import unittest
from pathlib import Path
from typing import Dict

sys.path.insert(0, str(Path(__file__).resolve().parent))
from support import Project  # noqa: E402
from vmxcheck import run as run_module  # noqa: E402
from vmxcheck import verdict  # noqa: E402

ALL_PASS = {"t.one": "pass", "t.two": "pass", "t.two.b": "pass", "u.three": "pass"}
ALL_MISSING = dict.fromkeys(ALL_PASS, "missing")


class Verdicts(Project):
    def expect(self, fault: str, status: int, verdicts: Dict[str, str], identity: str, reason: str, **keys: str):  # type: ignore
        """Run one fault; the point `identity` must have this reason in it. Points not named must pass."""
        self.configure(fault, **keys)
        run = self.run_tests()
        self.assertEqual(run.status, status, run.out + run.err)
        self.assertEqual(self.verdicts(run), {**ALL_PASS, **verdicts}, run.out)
        if identity:
            point = self.point(run, identity)
            self.assertIn(reason, point["reason"])
            if point["verdict"] != "skip":
                self.assertIn(point["repro"], run.out)
        counts = run.results["counts"]
        red = sum(counts[v] for v in verdict.RED)
        self.assertEqual(run.out.splitlines()[-1], "%d passed, %d failed, %d skipped" % (counts["pass"], red, counts["skip"]))
        self.assertEqual(run.results["exit_status"], status)
        return run

    def test_pass(self) -> None:
        run = self.expect("pass", 0, {}, "", "")
        self.assertEqual([p["checks"] for p in run.results["points"]], [7, 1, 7, 7])
        self.assertEqual(run.results["images"][0]["boots"], 1)
        self.assertEqual(run.results["images"][0]["banner"], "vmxcheck 0.1 image=fake cpus=1")
        self.assertEqual({k: run.results["target"][0][k] for k in ("backend", "version", "cpu")},
                         {"backend": "bochs", "version": "2.7", "cpu": "tigerlake"})

    def test_fail(self) -> None:
        run = self.expect("fail", 1, {"t.two": "fail"}, "t.two", "1 + 1: expected 3, actual 2")
        self.assertIn("at: x86/t.c:7", run.out)
        self.assertEqual(self.point(run, "t.two")["checks"], 5)

    def test_notes_are_shown_and_no_failure(self) -> None:
        run = self.expect("notes", 0, {}, "", "")
        self.assertEqual(self.point(run, "t.two")["notes"], ["bits 0x8 are 1", "and so is another"])
        self.assertIn("  bits 0x8 are 1  (t.two, bochs-2.7 tigerlake)", run.out)
        self.assertNotIn("notes (", self.run_tests("t.one").out)

    def test_skip(self) -> None:
        run = self.expect("skip", 0, {"t.two": "skip"}, "t.two", "needs a bit")
        self.assertIn("     1  needs a bit", run.out)

    def test_all_skipped_is_nothing_tested(self) -> None:
        run = self.expect("skip-all", 3, dict.fromkeys(ALL_PASS, "skip"), "t.one", "no one")
        self.assertIn("     2  no two", run.out)

    def test_hang(self) -> None:
        run = self.expect("hang", 1, {"t.two": "hang"}, "t.two", "no progress for 0.6 s", timeout="0.6")
        self.assertEqual(run.results["images"][0]["boots"], 2)
        self.assertGreater(self.point(run, "t.two")["seconds"], 0.55)

    def test_slow_is_no_hang(self) -> None:
        run = self.expect("slow", 0, {}, "", "", timeout="0.8")
        self.assertGreater(run.results["images"][0]["seconds"], 1.2)

    def test_a_hang_that_ignores_signals_and_has_a_child(self) -> None:
        self.expect("stubborn", 1, {"t.two": "hang"}, "t.two", "no progress", timeout="0.6")
        self.assertEqual(len(self.processes()), 3)

    def test_crash(self) -> None:
        run = self.expect("die", 1, {"t.two": "crash"}, "t.two", "triple fault; Bochs: exception()")
        self.assertEqual(self.point(run, "t.two")["diagnostics"], "# the last words")
        self.assertEqual(run.results["images"][0]["boots"], 2)
        logs = [self.folder / "results" / "latest" / "logs" / ("die.bochs%s.log" % n) for n in ("", ".2")]
        self.assertIn("# begin t.two\n# the last words\n", logs[0].read_bytes().decode("latin-1"))
        self.assertIn("1..2\n# begin t.two.b\n", logs[1].read_bytes().decode("latin-1"))
        self.assertIn("with no resolution", logs[0].with_suffix(".emulator.txt").read_text())

    def test_killed(self) -> None:
        self.expect("killed", 1, {"t.two": "crash"}, "t.two", "the image ended too early")

    def test_every_test_crashes(self) -> None:
        run = self.expect("all-crash", 1, dict.fromkeys(ALL_PASS, "crash"), "u.three", "ended too early")
        self.assertEqual(run.results["images"][0]["boots"], 4)

    def test_stops_in_a_line(self) -> None:
        self.expect("midline", 1, {"t.two": "crash"}, "t.two", "in the middle of the line `ok 2 - t.tw`")

    def test_stops_in_a_block(self) -> None:
        self.expect("cut-block", 1, {"t.two": "crash"}, "t.two", "in the middle of the line `  chec`")

    def test_dies_between_two_tests(self) -> None:
        self.expect("die-behind", 1, {"t.two": "crash"}, "t.two", "it reported pass, and behind it the image ended")

    def test_reset(self) -> None:
        self.expect("reset", 1, {"t.two": "crash"}, "t.two", "started again from the beginning")

    def test_a_restart_that_is_not_obeyed_ends(self) -> None:
        run = self.expect("deaf", 1, {"t.two": "hang", "t.two.b": "missing", "u.three": "missing", "image.deaf": "fail"},
                          "t.two.b", "given up behind", timeout="0.6")
        self.assertEqual(run.results["images"][0]["boots"], 2)
        self.assertIn("t.one runs again", self.point(run, "image.deaf")["reason"])

    def test_silence(self) -> None:
        self.expect("silent", 1, ALL_MISSING, "t.one", "no TAP came: the image ended too early (by its own request)")

    def test_silent_hang(self) -> None:
        self.expect("silent-hang", 1, ALL_MISSING, "t.one", "no TAP came: no progress for 0.6 s", timeout="0.6")

    def test_emulator_that_exits_at_once(self) -> None:
        self.expect("at-once", 1, ALL_MISSING, "t.one", "cannot find my plugins")
        self.assertEqual(len(self.processes()), 1)

    def test_port_clash_is_tried_again(self) -> None:
        run = self.expect("clash", 0, {}, "", "")
        self.assertEqual(len(self.processes()), 2)
        self.assertEqual(run.results["images"][0]["boots"], 1)

    def test_endless_output(self) -> None:
        before, run_module.MOST_OUTPUT = run_module.MOST_OUTPUT, 1000000
        self.addCleanup(setattr, run_module, "MOST_OUTPUT", before)
        run = self.expect("endless", 1, {"t.two": "crash"}, "t.two", "wrote without an end")
        self.assertLess(len(self.point(run, "t.two")["diagnostics"]), 10000)

    def test_chatty_emulator(self) -> None:
        self.expect("stdout-flood", 0, {}, "", "")
        kept = self.folder / "results" / "latest" / "logs" / "stdout-flood.bochs.emulator.txt"
        self.assertLess(kept.stat().st_size, 200000)

    def test_does_not_end_itself(self) -> None:
        before, run_module.TIME_TO_END = run_module.TIME_TO_END, 0.2
        self.addCleanup(setattr, run_module, "TIME_TO_END", before)
        run = self.expect("stay", 0, {}, "", "")
        self.assertIn("note: the image did not end itself", run.out)


class Lies(Project):
    def expect_lie(self, fault: str, verdicts: Dict[str, str], *reasons: str) -> None:
        self.configure(fault)
        run = self.run_tests()
        self.assertEqual(run.status, 1, run.out)
        self.assertEqual(self.verdicts(run), {**ALL_PASS, "image." + fault: "fail", **verdicts}, run.out)
        for reason in reasons:
            self.assertIn(reason, self.point(run, "image." + fault)["reason"])

    def test_too_large_a_plan(self) -> None:
        self.expect_lie("plan-large", {}, "the plan has 9 tests where 4 were asked for", "said 9 tests and 4 were reported")

    def test_too_small_a_plan(self) -> None:
        self.expect_lie("plan-small", {}, "beyond the plan of 2 tests")

    def test_no_plan_and_two(self) -> None:
        self.expect_lie("no-plan", {}, "no plan")
        self.expect_lie("second-plan", {}, "a second plan")

    def test_numbers(self) -> None:
        self.expect_lie("numbers", {}, "t.two is numbered 7 where 2 is next")

    def test_twice_and_the_worse_counts(self) -> None:
        self.expect_lie("twice", {"t.one": "fail", "t.two": "missing"}, "t.one is reported twice")

    def test_not_asked_for(self) -> None:
        self.expect_lie("stranger", {"t.two": "missing"}, "t.strange is reported and was not asked for")

    def test_never_reported(self) -> None:
        self.expect_lie("unfinished", {"t.two": "missing"}, "t.two began and was never reported")

    def test_garbage(self) -> None:
        self.expect_lie("garbage", {}, "not TAP: ")
        self.expect_lie("long-line", {}, "a line longer than")

    def test_after_the_end(self) -> None:
        self.expect_lie("late-point", {}, "TAP after the end")

    def test_todo_of_the_image_excuses_nothing(self) -> None:
        self.configure("todo")
        run = self.run_tests()
        self.assertEqual((run.status, self.verdicts(run)), (1, {**ALL_PASS, "t.two": "fail"}))

    def test_nothing_to_run(self) -> None:
        self.configure("none")
        run = self.run_tests()
        self.assertEqual((run.status, self.verdicts(run)), (1, ALL_MISSING))
        self.assertIn("the image ran nothing: nothing to see", run.out)

    def test_bail_out(self) -> None:
        self.configure("bail", "bail-at-once")
        run = self.run_tests()
        self.assertEqual((run.status, self.verdicts(run, "bail")), (1, {**ALL_MISSING, "t.one": "pass"}))
        self.assertEqual(self.verdicts(run, "bail-at-once"), ALL_MISSING)
        self.assertIn("Bail out! enough of it", run.out)


if __name__ == "__main__":
    unittest.main()
