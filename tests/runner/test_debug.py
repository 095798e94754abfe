# SPDX-License-Identifier: BSD-2-Clause
"""--keep, --gdb and explain: what one does after a failure."""
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from support import TOP, Project, alive  # noqa: E402
from vmxcheck import elf  # noqa: E402

BUILD = TOP / "build" / "x86"
PROGRAM = str(TOP / "run_tests.sh")


def program(*words: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    environment = {key: value for key, value in os.environ.items() if key not in ("QEMU", "BOCHS", "ACCEL", "TIMEOUT")}
    return subprocess.run([PROGRAM, *words], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60,
                          env=environment, check=False)


class Keeping(Project):
    def test_what_is_kept_boots_again(self) -> None:
        self.configure("die", "pass")
        run = self.run_tests("--keep")
        files = self.folder / "results" / "latest" / "files"
        self.assertEqual(sorted(p.name for p in files.iterdir()), ["die.bochs", "die.bochs.2", "pass.bochs"])
        self.assertEqual(sorted(p.name for p in (files / "die.bochs.2").iterdir()), ["bochsrc", "continue", "image.rom", "run", "vga.rom"])
        self.assertIn(b"after=t.two", (files / "die.bochs.2" / "image.rom").read_bytes())
        subprocess.run([str(files / "die.bochs.2" / "run")], env=self.environment, stdout=subprocess.DEVNULL, check=False)
        log = self.folder / "results" / "latest" / "logs" / "die.bochs.2.log"
        self.assertEqual((files / "die.bochs.2" / "serial").read_bytes(), log.read_bytes())
        self.assertEqual(run.status, 1)
        self.run_tests()
        self.assertFalse((self.folder / "results" / "latest").resolve().joinpath("files").exists())

    @unittest.skipUnless(shutil.which("qemu-system-x86_64"), "qemu-system-x86_64 is not installed")
    def test_with_qemu(self) -> None:
        if not (BUILD / "fault.elf").exists():
            self.skipTest("build/x86/fault is not built: run make")
        done = program("--keep", "-q", "--config", str(TOP / "tests" / "suite" / "fault.cfg"), "--results", str(self.folder / "r"),
                       "--backend", "qemu-tcg", "self.first")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        script = next((self.folder / "r" / "latest" / "files").rglob("run"))
        again = subprocess.run([str(script)], stdout=subprocess.PIPE, text=True, check=False)
        self.assertIn("ok 1 - self.first", again.stdout)
        self.assertTrue((script.parent / "image.elf").exists())


@unittest.skipUnless((BUILD / "fault.elf64").exists(), "build/x86/fault is not built: run make")
class Debugging(unittest.TestCase):
    config = ("--config", str(TOP / "tests" / "suite" / "fault.cfg"))

    def test_places(self) -> None:
        places = elf.places(BUILD / "fault.elf64")
        self.assertEqual(list(places), ["self.first", "self.middle", "self.last"])
        for identity, place in places.items():
            self.assertIn('"%s"' % identity, (TOP / place.file).read_text().splitlines()[place.line - 1])
            self.assertRegex(place.symbol, r"^test_\d+$")
        self.assertEqual(elf.places(BUILD / "fault.rom"), {})
        self.assertEqual(elf.places(BUILD / "nowhere"), {})

    @unittest.skipUnless(shutil.which("bochs"), "bochs is not installed")
    def test_bochs_stops_at_the_test_with_symbols(self) -> None:
        done = program(*self.config, "--backend", "bochs", "--gdb", "self.middle", stdin="bt\nc\nq\n")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"self\.middle is in tests/images/fault\.c:\d+ \(test_\d at 0x[0-9a-f]+\), image \S+ on bochs-")
        self.assertRegex(done.stdout, r"\(0\) Breakpoint 1, .*\n.*\n.*\(test_\d\+0+\)")
        self.assertRegex(done.stdout, r"\(run_selected\+")  # the stack, with names
        self.assertIn("# begin self.middle\n", done.stdout)

    @unittest.skipUnless(shutil.which("gdb") and shutil.which("qemu-system-x86_64"), "gdb or qemu-system-x86_64 is not installed")
    def test_gdb_attaches_to_qemu_as_told(self) -> None:
        process = subprocess.Popen([PROGRAM, *self.config, "--backend", "qemu-tcg", "--gdb", "self.middle"], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
        assert process.stdout
        try:
            text = b""
            while b"Ctrl-C ends" not in text:
                self.assertTrue(select.select([process.stdout], [], [], 20)[0], text)
                text += os.read(process.stdout.fileno(), 4096)
            command = re.search(r"^  (gdb .*)$", text.decode(), re.MULTILINE)
            assert command
            words = shlex.split(command.group(1))
            socket = Path(next(word for word in words if word.startswith("target remote")).split()[-1])
            for _ in range(500):
                if socket.exists():
                    break
                time.sleep(0.01)
            done = subprocess.run([*words, "-batch", "-ex", "bt 2", "-ex", "kill"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
            self.assertRegex(done.stdout, r"Breakpoint 1, test_\d ")
            self.assertRegex(done.stdout, r"#1 .* run_test \(")
            self.assertEqual(process.wait(20), 0)
            self.assertFalse(socket.exists())
        finally:
            process.stdout.close()
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    @unittest.skipUnless(shutil.which("qemu-system-x86_64"), "qemu-system-x86_64 is not installed")
    def test_nothing_is_left_when_it_is_ended(self) -> None:
        with tempfile.TemporaryDirectory(prefix="vmxcheck-test-") as scratch:
            process = subprocess.Popen([PROGRAM, *self.config, "--backend", "qemu-tcg", "--gdb", "self.first"], stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, env={**os.environ, "TMPDIR": scratch})
            for _ in range(1000):
                if list(Path(scratch).glob("*/gdb")):
                    break
                time.sleep(0.01)
            children = Path("/proc/%d/task/%d/children" % (process.pid, process.pid)).read_text().split()
            self.assertEqual(len(children), 1)
            process.terminate()
            self.assertEqual(process.wait(10), 128 + signal.SIGTERM)
            self.assertEqual(list(Path(scratch).iterdir()), [])
            self.assertFalse(alive(int(children[0])))

    def test_what_cannot_be_debugged(self) -> None:
        for words, status, part in ((["--gdb", "self.nosuch"], 3, "no test is called `self.nosuch`"),
                                    (["--gdb", "self.first", "--backend", "xen"], 2, "unknown backend")):
            done = program(*self.config, *words)
            self.assertEqual((done.returncode, done.stdout), (status, ""))
            self.assertIn(part, done.stderr)


class Explaining(Project):
    def test_a_requirement(self) -> None:
        done = program("explain", "entry.guest.seg.ar.s", "--results", str(self.folder))
        self.assertEqual(done.returncode, 0, done.stderr)
        for part in ("entry.guest.seg.ar.s\n  S=0 in CS", "section   Checks on Guest Segment Registers\n", "area      entry.guest, priority 2\n",
                     "results   none in "):
            self.assertIn(part, done.stdout)
        if (BUILD / "entry.elf64").exists():
            place = re.search(r"tested    (\S+):(\d+) in image entry: ", done.stdout)
            assert place
            self.assertIn("entry.guest.seg.ar.s", (TOP / place.group(1)).read_text().splitlines()[int(place.group(2)) - 1])

    def test_known_and_last_results(self) -> None:
        self.add_image("fake", "exec.extint.hlt\ta\nt.two\tb\n")
        text = self.bochs.read_text()
        self.bochs.write_text(re.sub(r"TESTS = .*", 'TESTS = {"exec.extint.hlt": "a", "t.two": "b"}', text, count=1))
        self.configure("pass", "fail")
        self.run_tests()
        self.run_tests("--image", "pass", "--cpu", "core2_penryn_t9600")
        done = program("explain", "exec.extint.hlt", "--results", str(self.folder / "results"))
        self.assertRegex(done.stdout, r"known     bochs \(version=<3.1,failed=1\): An interrupt that exits from HLT saves")
        self.assertEqual(len(re.findall(r"(?m)^(?:results)? +pass +(?:pass|fail), bochs-2.7 (?:tigerlake|core2_penryn_t9600) ", done.stdout)), 3)

    def test_what_there_is_not(self) -> None:
        done = program("explain", "exec.extint.hl")
        self.assertEqual((done.returncode, done.stdout), (3, ""))
        self.assertIn("near: exec.extint.hlt", done.stderr)
        self.assertIn("not yet", program("explain", "smm.dualmonitor").stdout)


if __name__ == "__main__":
    unittest.main()
