# SPDX-License-Identifier: BSD-2-Clause
"""What a machine may do to a run: full disks, folders that are not ours, Ctrl-C. None of it may look green.

The rest of the list is beside this file: what an image and an emulator can do wrong is in test_verdicts and
test_real, a missing or unfit emulator, a config with a typo and a pattern that matches nothing in test_cli.
"""
import json
import os
import shutil
import subprocess
import sys
import time
import unittest
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent))
from support import TOP, Project  # noqa: E402

PROGRAM = str(TOP / "run_tests.sh")
NAMESPACE = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]


def may_mount() -> bool:
    """Whether a small file system can be made, seen by nobody else."""
    if not shutil.which("unshare"):
        return False
    words = [*NAMESPACE, "sh", "-c", "mount -t tmpfs -o size=64k none /mnt"]
    return subprocess.run(words, stderr=subprocess.DEVNULL, check=False).returncode == 0


class Disk(Project):
    def on_a_small_disk(self, size: str, *words: str) -> "subprocess.CompletedProcess[str]":
        (self.folder / "results").mkdir(exist_ok=True)
        kept = self.folder / "kept"
        script = 'mount -t tmpfs -o size=%s none "$1" || exit 99; shift; "$@"; status=$?; cp -r "$0" %s; exit $status' % (size, kept)
        return subprocess.run([*NAMESPACE, "sh", "-c", script, str(self.folder / "results"), str(self.folder / "results"), PROGRAM,
                               *self.arguments(*words)], env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, timeout=60, check=False)

    @unittest.skipUnless(may_mount(), "no file system may be mounted in a namespace here")
    def test_full_while_logs_are_written(self) -> None:
        self.configure("long-line", "pass")
        done = self.on_a_small_disk("96k", "--image", "long-line", "--image", "pass")
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)  # long-line is red of itself
        self.assertIn("not kept whole: ", done.stdout)
        self.assertIn("No space left on device", done.stdout)
        self.assert_nothing_left()

    @unittest.skipUnless(may_mount(), "no file system may be mounted in a namespace here")
    def test_full_when_the_results_are_written(self) -> None:
        self.configure("pass")
        self.add_image("fake", "".join("t.%03d\t%s\n" % (n, "x" * 200) for n in range(400)))
        tests = {"t.%03d" % n: "x" for n in range(400)}
        text = self.bochs.read_text()
        start = text.index("TESTS = ")
        self.bochs.write_text(text[:start] + "TESTS = %r\n" % tests + text[text.index("\n", start):])
        done = self.on_a_small_disk("128k")
        self.assertEqual(done.returncode, 2, done.stdout[-500:] + done.stderr)
        self.assertIn("not kept whole: ", done.stdout)
        self.assertIn("No space left on device", done.stdout)
        self.assertEqual(done.stdout.splitlines()[-1], "400 passed, 0 failed, 0 skipped")
        # No half-written file may pass for the results.
        self.assertEqual(list((self.folder / "kept").rglob("results.json")), [])
        self.assert_nothing_left()

    def test_a_results_folder_that_may_not_be_written(self) -> None:
        self.configure("pass")
        results = self.folder / "results"
        results.mkdir()
        results.chmod(0o555)
        words = [PROGRAM, *self.arguments()]
        if os.geteuid() == 0:
            if not shutil.which("setpriv"):
                self.skipTest("root may write everywhere, and there is no setpriv to be somebody else")
            nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
            self.folder.chmod(0o755)
            python = shutil.which("python3", path="/usr/bin:/bin") or sys.executable  # one that others may start
            text = self.bochs.read_text()
            self.bochs.write_text("#!%s -S\n" % python + text[text.index("\n") + 1:])
            for trial in ([PROGRAM, "--version"], [str(self.bochs), "--help"]):
                if subprocess.run([*nobody, *trial], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode:
                    self.skipTest("another user cannot read this tree or start its Python")
            words = nobody + words
        done = subprocess.run(words, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)
        self.assertIn("results cannot be kept in %s: Permission denied; name another folder with --results" % results, done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1)
        self.assertEqual(self.processes(), [])

    def test_no_temporary_folder(self) -> None:
        self.configure("pass")
        done = subprocess.run([PROGRAM, *self.arguments()], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
                              env={**self.environment, "TMPDIR": "/proc/nowhere"}, cwd="/proc")
        self.assertNotIn("Traceback", done.stderr)
        self.assertIn(done.returncode, (0, 2))  # /tmp takes its place where it can


class Unusable(Project):
    """A target that turns out to be unfit when it is first used (Linux that does not boot, KVM that does not load)."""

    def run_unfit(self, *words: str) -> SimpleNamespace:
        with mock.patch("vmxcheck.backends.bochs.Bochs.unusable", lambda self: "the target is unfit: take another"):
            return self.run_tests(*words)

    def test_that_is_one_line_and_no_verdict_on_the_tests(self) -> None:
        self.configure("silent", "pass")
        run = self.run_unfit("-j", "1")
        self.assertEqual((run.status, run.out, run.results), (2, "", {}))
        self.assertRegex(run.err, r"\Arun_tests.sh: the target is unfit: take another; more is in \S+/logs\n\Z")
        self.assertEqual(len(self.processes()), 1)  # nobody tried the other image

    def test_what_came_before_is_kept(self) -> None:
        self.configure("pass", "silent")
        run = self.run_unfit("-j", "1")
        self.assertEqual(run.status, 1)
        self.assertEqual(set(self.verdicts(run, "pass").values()), {"pass"})
        self.assertEqual(set(self.verdicts(run, "silent").values()), {"missing"})


class CtrlC(Project):
    def test_on_a_terminal(self) -> None:
        """The key, not a signal to one process: all that belongs to the terminal gets it."""
        self.configure("pass", "fail", "stubborn", timeout="60")
        master, slave = os.openpty()
        process = subprocess.Popen([PROGRAM, *self.arguments("-j", "1")], stdin=slave, stdout=slave, stderr=slave,
                                   env={**self.environment, "TERM": "xterm"}, preexec_fn=_take_terminal)
        os.close(slave)
        log = "results/*/logs/stubborn.bochs.log"
        data = b""
        os.set_blocking(master, False)
        for _ in range(1000):
            try:
                data += os.read(master, 65536)
            except BlockingIOError:
                pass
            if any(b"t.two" in p.read_bytes() for p in self.folder.glob(log)):
                break
            time.sleep(0.01)
        os.write(master, b"\x03")
        os.set_blocking(master, True)
        while True:
            try:
                more = os.read(master, 65536)
            except OSError:
                break
            if not more:
                break
            data += more
        os.close(master)
        self.assertEqual(process.wait(10), 130, data)
        results = json.loads((self.folder / "results" / "latest" / "results.json").read_text())
        self.assertEqual((results["interrupted"], results["exit_status"]), (True, 130))
        self.assertEqual([results["counts"][v] for v in ("pass", "fail", "missing", "notrun")], [8, 1, 0, 3])
        self.assertIn(b"interrupted: what was found until then is kept", data)
        self.assertIn(b"8 passed, 1 failed, 0 skipped", data)
        self.assertFalse((self.folder / "results" / "latest-whole").exists())
        self.assert_nothing_left()


def _take_terminal() -> None:
    import fcntl
    import termios

    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


if __name__ == "__main__":
    unittest.main()
