# SPDX-License-Identifier: BSD-2-Clause
"""What is seen while it runs: the progress line, failures when they happen, colours, -q and -v, the end."""
import io
import os
import re
import resource
import subprocess
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from support import TOP, Project  # noqa: E402
from vmxcheck.live import Live  # noqa: E402
from vmxcheck.report import source_lines  # noqa: E402
from vmxcheck.style import Style  # noqa: E402


class Lines(Project):
    def start(self, *words: str, **environment: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([str(TOP / "run_tests.sh"), *self.arguments(*words)], env={**self.environment, **environment},
                                stdout=subprocess.PIPE)

    def terminal(self, *words: str, **environment: str) -> str:
        """Run it on a terminal of its own; what came."""
        master, slave = os.openpty()
        process = subprocess.Popen([str(TOP / "run_tests.sh"), *self.arguments(*words)], stdin=slave, stdout=slave, stderr=slave,
                                   env={**self.environment, "TERM": "xterm", **environment})
        os.close(slave)
        data = b""
        while True:
            try:
                more = os.read(master, 65536)
            except OSError:
                break
            if not more:
                break
            data += more
        os.close(master)
        process.wait()
        return data.decode("utf-8", "replace")

    def test_a_failure_is_shown_when_it_happens(self) -> None:
        self.configure("fail-wait", timeout="20")
        process = self.start("-j", "1")
        assert process.stdout
        seen = b""
        while b"repeat: " not in seen:
            line = process.stdout.readline()
            self.assertTrue(line, seen)
            seen += line
        self.assertIsNone(process.poll())
        text = seen.decode()
        for part in ("fail: t.two: the one with the fault", "[fail-wait, bochs-2.7 tigerlake]", "at: x86/t.c:7", "expected: \"3\"",
                     "actual: \"2\"", "--backend bochs t.two"):
            self.assertIn(part, text)
        (self.state / "go").touch()
        rest = process.stdout.read().decode()
        process.stdout.close()
        self.assertEqual(process.wait(), 1)
        self.assertNotIn("repeat:", rest)  # once is enough
        self.assertEqual(rest.splitlines()[-1], "3 passed, 1 failed, 0 skipped")
        self.assert_nothing_left()

    def test_progress_on_a_terminal_only(self) -> None:
        self.configure("slow", "fail", timeout="20")
        text = self.terminal()
        self.assertIn("\r\x1b[K", text)
        pictures = re.findall(r"(\d)/2 images · (\d)/8 points · (?:\x1b\[31m)?(\d) failed(?:\x1b\[0m)? · ", text)
        self.assertGreater(len(pictures), 3)
        self.assertIn("slow 1/4", text)
        self.assertIn("\x1b[31", text)
        self.assertTrue(text.rstrip().endswith("7 passed, 1 failed, 0 skipped\x1b[0m"), text[-200:])
        plain = self.run_tests()
        self.assertNotIn("\x1b", plain.out)
        self.assertNotIn("\r", plain.out)
        self.assertNotIn("2 images ·", plain.out)

    def test_no_color(self) -> None:
        self.configure("fail")
        text = self.terminal(NO_COLOR="1")
        self.assertIn("\r\x1b[K", text)  # the progress stays
        self.assertNotRegex(text, r"\x1b\[[0-9;]*m")
        self.assertNotIn("\x1b", self.terminal(TERM="dumb"))
        self.assertRegex(self.run_tests("--color", "always").out, r"\x1b\[31;1mfail\x1b\[0m: ")
        self.assertNotRegex(self.terminal("--color", "never"), r"\x1b\[[0-9;]*m")

    def test_estimate_from_the_last_durations(self) -> None:
        live = Live(io.StringIO(), Style(), 2, 3, 2, {("a", "x"): 4.0, ("a", "y"): 2.0, ("b", "z"): 2.0})
        self.assertEqual(live.estimate(0), 4.0)
        live.point(("a", "x"), False)
        live.images_done = 1
        self.assertEqual(live.estimate(1), 4.0)
        live = Live(io.StringIO(), Style(), 1, 4, 2, {})
        self.assertIsNone(live.estimate(1))
        live.point(("a", "x"), True)
        self.assertEqual((live.estimate(2.0), live.failures), (6.0, 1))
        self.assertLess(len(live.text(["image %d/9" % n for n in range(50)])), 80)

    def test_quiet_and_verbose(self) -> None:
        self.configure("fail", "skip")
        run = self.run_tests("-q")
        self.assertIn("fail: t.two: ", run.out)
        self.assertIn("repeat: ", run.out)
        for part in ("skipped:", "results:", "ok ", "verdicts:"):
            self.assertNotIn(part, run.out)
        self.assertEqual(run.out.splitlines()[-1], "6 passed, 1 failed, 1 skipped")
        self.configure("pass")
        self.assertEqual(self.run_tests("-q").out, "4 passed, 0 failed, 0 skipped\n")
        self.assertIn("pass  t.two.b: a neighbour  [pass, bochs-2.7 tigerlake]", self.run_tests("-v").out)
        self.assertIn("contradict", self.run_tests("-q", "-v").err)

    def test_the_end(self) -> None:
        self.configure("slow", "skip-all", "fail", "die")
        run = self.run_tests("-j", "4")
        self.assertIn("slowest images:", run.out)
        self.assertRegex(run.out, r"slowest images:\n +1\.\d\d s  slow ")
        self.assertIn("     2  no one\n", run.out)
        self.assertIn("verdicts: 10 passed, 1 failed, 4 skipped, 1 crash; 4 images in ", run.out)

    def test_source_line(self) -> None:
        folder = self.folder / "x86"
        folder.mkdir()
        (folder / "t.c").write_text("one\n\texpect_eq(1,\n\t\t2);\nfour\n")
        self.assertEqual(source_lines("at: x86/t.c:2", self.folder), ["2 | expect_eq(1,", "3 | 2);"])
        for line in ("at: x86/t.c:9", "at: ../x:1", "at: /etc/x:1", "check: x86/t.c:2", "at: x86/none.c:1"):
            self.assertEqual(source_lines(line, self.folder), [])


class Speed(Project):
    def test_list_is_quick(self) -> None:
        """Under 0.3 s: the processor time, which is the same on a machine that is busy with something else."""
        if not (TOP / "config.mk").exists() or not (TOP / "build" / "x86" / "guest.tests").exists():
            self.skipTest("the images are not built: run make")
        taken = []
        for _ in range(3):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([str(TOP / "run_tests.sh"), "--list"], stdout=subprocess.DEVNULL, check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        self.assertLess(min(taken), 0.3)

    def test_the_runner_adds_little_to_an_image(self) -> None:
        """Under 30 ms: runs of 2 and of 12 images against the same boots by their own scripts."""
        def wall(*words: str) -> float:
            start = time.monotonic()
            self.assertEqual(self.run_tests("-j", "1", *words).status, 0)
            return time.monotonic() - start

        self.configure("pass")
        wall("--keep")
        script = (self.folder / "results" / "latest").resolve() / "files" / "pass.bochs" / "run"
        added = []
        for _ in range(3):
            start = time.monotonic()
            for _ in range(10):
                subprocess.run([str(script)], env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
            bare = time.monotonic() - start
            added.append((wall("--repeat", "12") - wall("--repeat", "2") - bare) / 10)
        self.assertLess(min(added), 0.03)


if __name__ == "__main__":
    unittest.main()
