# SPDX-License-Identifier: BSD-2-Clause
"""A target of one's own, with a fake hypervisor: each way of the serial port, each way to go wrong, each mistake in its description."""
import os
import shlex
import signal
import sys
import termios
import threading
import time
import tty
import unittest
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "runner"))
from support import Project, alive  # noqa: E402

VMM = Path(__file__).resolve().parent / "fake_vmm.py"
ALL_PASS = {"t.one": "pass", "t.two": "pass", "t.two.b": "pass", "u.three": "pass"}


class Target(Project):
    def setUp(self) -> None:
        super().setUp()
        self.vmm = self.script("my-vmm", "#!%s -S\n%s" % (sys.executable, VMM.read_text()))
        self.section()
        self.before = os.getcwd()
        self.addCleanup(os.chdir, self.before)
        os.chdir(self.folder)

    def section(self, arguments: str = "", **keys: str) -> None:
        values = {"arguments": arguments, "timeout": "5", **keys}
        lines = ["[fake]"] + ["%s = %s" % item for item in values.items()]
        (self.folder / "unittests.cfg").write_text("\n".join(lines) + "\n")

    def targets(self, **keys: str) -> None:
        values = {"command": "./my-vmm --kernel {elf} --append {words}", **keys}
        lines = ["%s = %s" % (key.replace("_", "-"), value) for key, value in values.items() if value]
        (self.folder / "targets.cfg").write_text("\n".join(["# mine", "[mine]", *lines]) + "\n")

    def command(self, more: str = "", *words: str, **environment: str) -> SimpleNamespace:
        return self.run_tests("--command", "./my-vmm --kernel {elf} --append {words} " + more, *words, **environment)

    def green(self, run: SimpleNamespace) -> None:
        self.assertEqual((run.status, self.verdicts(run)), (0, ALL_PASS), run.out + run.err)
        self.assertEqual(run.results["images"][0]["boots"], 1)
        self.assertEqual(run.results["images"][0]["notes"], [])


class Serial(Target):
    def test_stdout(self) -> None:
        started = time.monotonic()
        run = self.command()
        self.green(run)
        self.assertEqual(run.results["points"][0]["target"], "my-vmm")
        self.assertLess(time.monotonic() - started, 5)  # it halts, and is not waited for

    def test_file(self) -> None:
        self.green(self.command("--serial file:{serial}"))

    def test_a_file_of_its_own_place(self) -> None:
        place = self.folder / "console.log"
        place.write_text("TAP version 13\n# begin t.one\nnot ok 1 - t.one: of an earlier boot\n")
        self.targets(command="sh -c 'sleep 0.1; exec ./my-vmm --kernel \"$VMXCHECK_ELF\" --append \"$VMXCHECK_WORDS\" --serial file:/dev/stdout "
                             ">>console.log'", serial="file:console.log")
        self.green(self.run_tests("--target", "mine"))
        place.unlink()
        self.green(self.run_tests("--target", "mine"))

    def test_fifo(self) -> None:
        self.green(self.command("--serial file:{serial}", "--serial", "fifo"))

    def test_pty(self) -> None:
        self.green(self.command("--serial file:{serial}", "--serial", "pty"))

    def test_unix(self) -> None:
        self.green(self.command("--serial unix-listen:{serial}", "--serial", "unix"))

    def test_unix_listen(self) -> None:
        self.green(self.command("--serial unix:{serial}", "--serial", "unix-listen"))

    def test_tcp(self) -> None:
        self.green(self.command("--serial tcp-listen:{port}", "--serial", "tcp"))

    def test_tcp_listen(self) -> None:
        self.green(self.command("--serial tcp:{port}", "--serial", "tcp-listen:127.0.0.1:{port}"))

    def test_tty(self) -> None:
        """The other end of a serial line, here of a pseudo-terminal."""
        master, slave = os.openpty()
        self.addCleanup(os.close, master)
        self.addCleanup(os.close, slave)
        self.addCleanup(lambda: tty.setraw(slave))
        os.mkfifo(self.folder / "line")
        line = os.open(self.folder / "line", os.O_RDWR)

        def carry() -> None:
            while data := os.read(line, 1000):
                os.write(master, data)
                if b"# end" in data:
                    return

        carrier = threading.Thread(target=carry, daemon=True)
        carrier.start()
        self.targets(command="./my-vmm --kernel {elf} --append {words} --serial file:line",
                     serial="tty:%s,9600,-parenb" % os.ttyname(slave), words="machine=real")
        self.green(self.run_tests("--target", "mine"))
        mode = termios.tcgetattr(slave)
        self.assertEqual((mode[3] & termios.ICANON, mode[4]), (0, termios.B9600))
        log = (self.folder / "results/latest/logs/fake.mine.log").read_text(encoding="latin-1")
        self.assertIn("# command line: machine=real\n", log)

    def test_a_command_that_shows_it(self) -> None:
        """A machine that is started by a command that returns; its console can be had only when it is there."""
        self.targets(command="./my-vmm --kernel {elf} --append {words} --serial unix-listen:{folder}/line --detach pid",
                     serial="command: sh -c 'test -t 0 || exit 3; echo Connected to the console; exec %s -S %s {folder}/line'"
                     % (sys.executable, self.script("show", SHOW)), returns="yes", end="sh -c 'kill $(cat pid); echo over >>ended'")
        self.green(self.run_tests("--target", "mine"))
        self.assertEqual((self.folder / "ended").read_text(), "over\n")
        self.assert_gone(int((self.folder / "pid").read_text()))

    def assert_gone(self, number: int) -> None:
        for _ in range(100):
            if not alive(number):
                return
            time.sleep(0.01)
        self.fail("process %d is left behind" % number)


SHOW = """
import socket, sys
one = socket.socket(socket.AF_UNIX)
one.connect(sys.argv[1])
while data := one.recv(100):
    sys.stdout.buffer.write(data)
    sys.stdout.flush()
"""


class Faults(Target):
    def expect(self, fault: str, verdicts: dict, identity: str, *reasons: str, boots: int = 1, more: str = "") -> None:  # type: ignore[type-arg]
        self.section("fault=" + fault, timeout="0.6")
        run = self.command(more)
        self.assertEqual((run.status, self.verdicts(run)), (1, {**ALL_PASS, **verdicts}), run.out + run.err)
        for reason in reasons:
            self.assertIn(reason, self.point(run, identity)["reason"])
        self.assertEqual(run.results["images"][0]["boots"], boots)

    def test_fail(self) -> None:
        self.expect("fail", {"t.two": "fail"}, "t.two", "not ok")

    def test_mute(self) -> None:
        self.expect("mute", dict.fromkeys(ALL_PASS, "missing"), "t.one", "no TAP came", "`my-vmm` ended")

    def test_silent(self) -> None:
        self.expect("silent", dict.fromkeys(ALL_PASS, "missing"), "t.one", "no TAP came: no progress for 0.6 s")

    def test_never_written(self) -> None:
        self.section("fault=silent", timeout="0.4")
        run = self.command("--serial unix-listen:{folder}/elsewhere --log log", "--serial", "unix")
        self.assertIn("serial: No such file or directory", self.point(run, "t.one")["reason"])

    def test_crash(self) -> None:
        self.expect("crash", {"t.two": "crash"}, "t.two", "`my-vmm` ended with status 7", "it said: triple fault at 0xdead", boots=2)
        reason = next(p["reason"] for p in self.results()["points"] if p["id"] == "t.two")
        self.assertEqual(reason.count("it said"), 1, reason)

    def test_hang(self) -> None:
        self.expect("hang", {"t.two": "hang"}, "t.two", "no progress for 0.6 s", boots=2)

    def test_cut(self) -> None:
        self.expect("cut", {"t.two": "crash"}, "t.two", "in the middle of the line `ok 2 - t.t`", boots=2)

    def test_reset(self) -> None:
        self.expect("reset", {"t.two": "crash"}, "t.two", "started again from the beginning", boots=2)

    def test_more_behind_the_end(self) -> None:
        self.expect("endless", {"image.fake": "fail"}, "image.fake", "one.more is reported")

    def test_words_do_not_reach_it(self) -> None:
        run = self.run_tests("--command", "./my-vmm --kernel {elf}", "t.one")
        self.assertEqual(run.status, 1)
        self.assertIn("the plan has 4 tests where 1 were asked for", self.point(run, "image.fake")["reason"])
        self.assertIn("the command of my-vmm has no {words}", run.err)


class Description(Target):
    def complains(self, status: int, *texts: str, words: tuple = ("--target", "mine")) -> None:  # type: ignore[type-arg]
        run = self.run_tests(*words)
        self.assertEqual(run.status, status, run.out)
        for text in texts:
            self.assertIn(text, run.err)
        self.assertEqual(run.err.count("\n"), 1, run.err)
        self.assertNotIn("Traceback", run.err)

    def test_from_another_folder(self) -> None:
        self.targets(command="./my-vmm --kernel {elf} --append {words} --log log")
        os.chdir("/")
        self.green(self.run_tests("--target", "mine", "--targets", str(self.folder / "targets.cfg")))
        self.assertEqual((self.folder / "log").read_text().splitlines(), [str(self.folder), "machine=emulated", "machine=emulated"])
        repeat = self.run_tests("--target", "mine", "--targets", str(self.folder / "targets.cfg"), "t.one").results["points"][0]["repro"]
        self.assertIn("--target mine --targets %s" % self.folder, repeat)

    def test_a_blank_in_every_path(self) -> None:
        place = self.folder / "a b" / "c d"
        place.mkdir(parents=True)
        (self.folder / "build").rename(place / "build")
        self.vmm.rename(place / "my vmm")
        run = self.run_tests("--build", str(place / "build"), "--results", str(place / "results"), "--command",
                             "'%s/my vmm' --kernel {elf} --append {words}" % place, TMPDIR=str(place))
        self.assertEqual(run.status, 0, run.out + run.err)

    def test_known_deviations_of_its_own(self) -> None:
        self.section("fault=fail")
        line = "t.two\tfailed=1\tIt says so\tnowhere\n"
        (self.known / "mine.tsv").write_text("# tried: any\n" + line)
        self.targets()
        run = self.run_tests("--target", "mine")
        self.assertEqual((run.status, self.verdicts(run)["t.two"]), (0, "known"), run.out)
        self.assertEqual(self.command("").status, 1)  # another name, another table
        (self.folder / "mine.tsv").write_text("# tried: 1.2\n" + line)
        self.targets(known="mine.tsv", version="command:echo Version v1.2.3", cpu="fast")
        run = self.run_tests("--target", "mine")
        self.assertEqual((run.status, run.results["points"][0]["target"]), (0, "mine-1.2 fast"), run.out)
        self.targets(known="gone.tsv")
        self.complains(2, "gone.tsv: no such table of known deviations")

    def test_features(self) -> None:
        self.section(needs="vmx")
        run = self.command("", "--features", "smp")
        self.assertEqual((run.status, self.verdicts(run)), (3, dict.fromkeys(ALL_PASS, "skip")))
        self.assertEqual(self.point(run, "t.one")["reason"], "my-vmm has no VMX")
        self.green(self.command())

    def test_at_once(self) -> None:
        self.targets(command="sh -c 'mkdir busy && ./my-vmm --kernel {elf} --append \"$VMXCHECK_WORDS\"'", end="rmdir busy")
        (self.folder / "unittests.cfg").write_text("".join("[s%d]\nfile = fake\n" % n for n in range(4)))
        run = self.run_tests("--target", "mine", "-j4")
        self.assertEqual(run.status, 0, run.out)

    def test_ended_with_grace(self) -> None:
        self.targets(command="sh -c 'trap \"echo bye >said; exit\" TERM; ./my-vmm --kernel {elf} --append \"$VMXCHECK_WORDS\" & wait'", end="term")
        self.green(self.run_tests("--target", "mine"))
        self.assertEqual((self.folder / "said").read_text(), "bye\n")

    def test_an_end_that_fails_is_said(self) -> None:
        self.section("fault=hang", timeout="0.5")
        self.targets(end="sh -c 'echo no such domain; exit 5'")
        run = self.run_tests("--target", "mine")
        self.assertIn("no such domain", self.point(run, "t.two")["reason"])

    def test_interrupted_it_is_ended_too(self) -> None:
        self.section("fault=silent", timeout="50")
        self.targets(end="touch ended")
        timer = threading.Timer(0.7, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        run = self.run_tests("--target", "mine")
        self.assertEqual(run.status, 130)
        self.assertTrue((self.folder / "ended").exists())

    def test_an_artifact_that_is_not_there(self) -> None:
        self.complains(2, "image `fake` has no {iso}", "fake.iso` makes it", words=("--command", "./my-vmm --kernel {iso}"))

    def test_an_iso_has_the_words(self) -> None:
        (self.images / "fake.iso").write_bytes(b"a CD" + (self.images / "fake.rom").read_bytes())
        self.test_a_rom_has_the_words("iso")

    def test_a_rom_has_the_words(self, artifact: str = "rom") -> None:
        self.script("from-rom", "#!/bin/sh\nexec ./my-vmm --kernel \"$1\" --append \"$(tr -dc ' -~' <\"$1\" | sed 's/.*CMDLINE//')\" --log log\n")
        self.targets(command="./from-rom {%s}" % artifact)
        self.section("fault=exit")
        self.green(self.run_tests("--target", "mine", "--keep"))
        self.assertIn("fault=exit", (self.folder / "log").read_text())

    def test_mistakes(self) -> None:
        for keys, texts in (
                ({"command": ""}, ("targets.cfg:2: a target needs a command",)),
                ({"command": "./no-vmm {elf}"}, ("target mine cannot run: ./no-vmm: no such file", "relative paths start from")),
                ({"command": "no-such-vmm {elf}"}, ("no such program in PATH",)),
                ({"command": "./targets.cfg {elf}"}, ("not a program that can be run",)),
                ({"command": "./my-vmm {kernel}"}, ("targets.cfg:3: bad value", "`{kernel}` is no placeholder; there are: {elf} ")),
                ({"command": "./my-vmm 'x"}, ("not the words of a shell",)),
                ({"serial": "usb"}, ("bad value `usb` for serial: it is one of: stdout, file[:...]",)),
                ({"serial": "tty"}, ("tty needs a value",)),
                ({"serial": "tty:/dev/nosuch,17"}, ("17 is no speed",)),
                ({"serial": "tcp"}, ("serial = tcp needs {port}",)),
                ({"command": "./my-vmm {serial}", "serial": "stdout"}, ("{serial} is in the command",)),
                ({"at_once": "0"}, ("a whole number from 1",)),
                ({"returns": "maybe"}, ("it is yes or no",)),
                ({"features": "svm"}, ("`svm` is not one of: vmx, smp, or none",)),
                ({"comand": "x"}, ("unknown key `comand`: did you mean `command`?",)),
                ({"version": "command:echo nothing"}, ("names no version",))):
            with self.subTest(keys):
                self.targets(**keys)
                if "17" in str(keys):
                    run = self.run_tests("--target", "mine")
                    self.assertIn(texts[0], run.out)
                else:
                    self.complains(2, *texts)
        self.targets()
        self.complains(2, "targets.cfg has no such target: did you mean `mine`?", words=("--target", "mime"))
        self.complains(2, "--serial needs --command or --target", words=("--serial", "stdout"))
        self.complains(2, "contradict each other", words=("--target", "mine", "--backend", "bochs"))
        self.complains(2, "it is for the backends", words=("--target", "mine", "--gdb", "t.one"))
        self.complains(2, "has no {cpu} to take it", words=("--target", "mine", "--cpu", "host"))
        (self.folder / "targets.cfg").unlink()
        self.complains(2, "there is no targets.cfg here", words=("--target", "mine"))

    def test_the_words_of_the_document(self) -> None:
        """What docs/targets.md shows can be read, all of it."""
        from vmxcheck.target import spec

        text = (Path(__file__).resolve().parents[2] / "docs" / "targets.md").read_text(encoding="utf-8")
        blocks, lines = [], []
        for line in text.splitlines() + [""]:
            if line.startswith("    ") or not line.strip() and lines:
                lines.append(line[4:])
            elif lines:
                blocks.append("\n".join(lines))
                lines = []
        files = [block for block in blocks if block.lstrip().startswith("[")]
        self.assertGreater(len(files), 8)
        for block in files:
            path = self.folder / "shown.cfg"
            path.write_text(block.partition("#!/bin/sh")[0])
            self.assertTrue(spec.load(path))
        for block in blocks:
            for word in shlex.split(block.replace("\\\n", " "), comments=True) if "--command" in block else []:
                spec.names_in(word)


if __name__ == "__main__":
    unittest.main()
