# SPDX-License-Identifier: BSD-2-Clause
"""What is handed out beside the images: the manual page, completions, self-extracting images, `make install`."""
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import List

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
from vmxcheck import manual, options  # noqa: E402

BUILD = ROOT / "build" / "x86"


class Folder(unittest.TestCase):
    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory(prefix="vmxcheck-test-")
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)

    def run_it(self, *words: str, **more: object) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=60, check=False, **more)  # type: ignore


def all_flags() -> List[str]:
    return [flag for parser in options.parsers().values() for action in parser._actions for flag in action.option_strings]


class Manual(Folder):
    def test_every_option_and_command_is_in_it(self) -> None:
        text = manual.man().replace("\\-", "-")
        for flag in all_flags():
            self.assertIn("\\fB%s\\fR" % flag, text)
        for name in options.COMMANDS:
            self.assertIn(".SS %s\n" % name, text)
        for status in options.STATUS:
            self.assertIn("\\fB%d\\fR" % status, text)

    def test_help_names_the_same(self) -> None:
        for name, parser in options.parsers().items():
            text = parser.format_help()
            for action in parser._actions:
                self.assertTrue(action.help, (name, action))
                for flag in action.option_strings:
                    self.assertIn(flag, text)
        for name in options.COMMANDS:
            self.assertRegex(options.run_parser().format_help(), r"(?m)^  %s " % name)

    @unittest.skipUnless(shutil.which("man"), "man is not installed")
    def test_man_has_nothing_to_complain_about(self) -> None:
        path = self.folder / "vmxcheck.1"
        path.write_text(manual.man())
        done = self.run_it("man", "--warnings=all", "-l", str(path), env={**os.environ, "MANPAGER": "cat", "MANWIDTH": "100", "LC_ALL": "C"})
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("--shard K/N", done.stdout)


@unittest.skipUnless(importlib.util.find_spec("shtab"), "the library shtab is not installed")
class Completion(Folder):
    def setUp(self) -> None:
        super().setUp()
        program = self.folder / "vmxcheck"
        program.write_text("#!/bin/sh\nprintf 'cap.one\\timage\\nexit.two\\timage\\nexit.two\\tother\\n'\n")
        program.chmod(0o755)
        bochs = self.folder / "bochs"
        bochs.write_text("#!/bin/sh\nprintf 'a line\\ntigerlake\\ncorei7\\n' >&2\n")
        bochs.chmod(0o755)

    @unittest.skipUnless(shutil.which("bash"), "bash is not installed")
    def test_bash(self) -> None:
        script = self.folder / "completion"
        script.write_text(manual.bash())
        for line, expected in (
                ("--sha", ["--shard"]), ("--order ", ["file", "random"]), ("--backend bo", ["bochs"]), ("mer", ["merge"]),
                ("explore --backend bo", ["bochs"]),
                ("exi", ["exit.two"]), ("-q ex", ["exit.two"]), ("ex", ["exit.two", "explain", "explore"]), ("explain c", ["cap.one"]),
                ("compare --all", ["--allow-gone"]), ("--config %s/comp" % self.folder, ["%s/completion" % self.folder]),
                ("merge %s/comp" % self.folder, ["%s/completion" % self.folder]), ("--gdb exit", ["exit.two"]),
                ("--area entry.g", ["entry.guest"]), ("--priority ", []), ("--image capa", ["capability"]), ("-g va", []),
                ("--cpu tiger", ["tigerlake"]),
                ("cap.one exi", ["exit.two"])):
            words = ["vmxcheck", *line.split(" ")]
            code = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _vmxcheck; printf "%s\\n" "${COMPREPLY[@]}"'
            done = self.run_it("bash", "-c", code, "bash", str(script), *words,
                               env={**os.environ, "PATH": "%s:%s" % (self.folder, os.environ["PATH"])})
            self.assertEqual((sorted(done.stdout.split()), done.stderr), (sorted(expected), ""), line)

    @unittest.skipUnless(shutil.which("zsh"), "zsh is not installed")
    def test_zsh(self) -> None:
        """A zsh on a terminal of its own, in which TAB is pressed."""
        (self.folder / "_vmxcheck").write_text(manual.zsh())
        driver = """
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z "PS1= PROMPT_EOL_MARK=; setopt no_list_beep no_always_last_prompt; fpath=(%(folder)s \\$fpath); path=(%(folder)s \\$path)"
zpty -w z "autoload -Uz compinit; compinit -u -d %(folder)s/dump; zstyle ':completion:*' verbose yes; print READ''Y"
zpty -r -m z line '*READY*'
for text in "$@"; do
  zpty -n -w z "$text"$'\\t'
  sleep 0.7
  zpty -n -w z $'\\x15'"print E''ND"$'\\n'
  zpty -r -m z line '*END*'
  print -r -- "==$text==$line"
done
zpty -d z
""" % {"folder": self.folder}
        (self.folder / "driver").write_text(driver)
        done = self.run_it("zsh", "-f", str(self.folder / "driver"), "vmxcheck --sha", "vmxcheck cap", "vmxcheck merge --jun",
                           "vmxcheck --image capa",
                           env={**os.environ, "TERM": "dumb", "HOME": str(self.folder)})
        for text in ("--shard", "cap.one", "--junit", "capability"):
            self.assertIn(text, done.stdout, done.stdout + done.stderr)
        self.assertNotIn("error", done.stdout)


@unittest.skipUnless((BUILD / "fault.rom").exists(), "build/x86/fault is not built: run make")
class Standalone(Folder):
    def setUp(self) -> None:
        super().setUp()
        self.bare = self.folder / "bin"
        self.bare.mkdir()
        for name in "sh sed tail gzip tar mktemp rm mkdir cat".split():
            os.symlink(str(shutil.which(name)), self.bare / name)
        os.symlink(sys.executable, self.bare / "python3")
        self.path = self.pack("fault")

    def pack(self, name: str) -> Path:
        path = self.folder / (name + ".run")
        done = self.run_it(sys.executable, str(ROOT / "scripts" / "mkstandalone"), str(BUILD), name, str(path))
        self.assertEqual(done.returncode, 0, done.stderr)
        return path

    def boot(self, *words: str, path: "Path | None" = None) -> "subprocess.CompletedProcess[str]":
        """With nothing but what every system has, and the emulators that a test put there; nothing may stay behind."""
        scratch = self.folder / "scratch"
        scratch.mkdir(exist_ok=True)
        done = self.run_it(str(path or self.path), *words, env={"PATH": str(self.bare), "TMPDIR": str(scratch)}, cwd=self.folder)
        self.assertEqual(list(scratch.iterdir()), [])
        return done

    def emulators(self, *names: str) -> None:
        for name in names:
            program = shutil.which(name)
            if not program:
                self.skipTest("%s is not installed" % name)
            os.symlink(program, self.bare / name)
            if shutil.which(name + "-bin"):  # Debian's bochs is a script that starts it
                os.symlink(str(shutil.which(name + "-bin")), self.bare / (name + "-bin"))

    def test_no_emulator(self) -> None:
        done = self.boot()
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("qemu-system-x86", done.stderr)
        self.assertTrue(done.stderr.startswith("fault.run: image `fault` has no backend here"), done.stderr)

    def test_no_python(self) -> None:
        (self.bare / "python3").unlink()
        done = self.boot()
        self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (2, "", 1))
        self.assertIn("name another with PYTHON", done.stderr)
        self.assertEqual(self.boot("--list").returncode, 0)

    def check(self, backend: str) -> None:
        """The runner's own verdicts: behind a crash it goes on, and what is known is no failure."""
        done = self.boot("--backend", backend)
        self.assertEqual((done.returncode, done.stdout.splitlines()[-1]), (0, "3 passed, 0 failed, 0 skipped"), done.stdout + done.stderr)
        self.assertEqual(self.boot("--backend", backend, "self.first").stdout.splitlines()[-1], "1 passed, 0 failed, 0 skipped")
        done = self.boot("--backend", backend, "--words", "fault=triple-fault")
        self.assertEqual((done.returncode, done.stdout.splitlines()[-1]), (1, "2 passed, 1 failed, 0 skipped"), done.stdout)
        self.assertIn("repeat: %s --words fault=triple-fault --backend %s self.middle" % (self.path, backend), done.stdout)
        known = self.folder / "known"
        known.mkdir()
        (known / (backend + ".tsv")).write_text("# tried: any\nself.middle\tverdict=crash\tIt does\t-\n")
        done = self.boot("--backend", backend, "--words", "fault=triple-fault", "--known", str(known))
        self.assertEqual((done.returncode, done.stdout.splitlines()[-1]), (0, "2 passed, 0 failed, 0 skipped"), done.stdout)
        self.assertTrue(self.boot("--backend", backend, "--tap").stdout.startswith("TAP version 13\n"))

    def test_with_qemu_alone(self) -> None:
        self.emulators("qemu-system-x86_64")
        self.check("qemu-tcg")
        self.assertEqual(self.boot().returncode, 0)
        log = self.folder / "results" / "latest" / "logs" / "fault.qemu-tcg.log"
        self.assertEqual(self.boot("import", str(log)).returncode, 0)

    def test_with_bochs_alone(self) -> None:
        self.emulators("bochs")
        self.check("bochs")
        self.assertEqual(self.boot("--cpu", "core2_penryn_t9600").returncode, 0)

    def test_an_image_that_needs_vmx(self) -> None:
        if not (BUILD / "shadow.rom").exists():
            self.skipTest("build/x86/shadow is not built: run make")
        self.emulators("qemu-system-x86_64", "bochs")
        path = self.pack("shadow")
        self.assertIn("has no VMX", self.boot("--backend", "qemu-tcg", path=path).stdout)
        done = self.boot(path=path)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_what_else_it_can(self) -> None:
        done = self.boot("--list")
        self.assertEqual([line.split("\t")[0] for line in done.stdout.splitlines()], ["self.first", "self.middle", "self.last"])
        self.assertIn("--extract FOLDER", self.boot("--help").stdout)
        self.assertIn("usage: fault.run [OPTION]", self.boot("--help-runner").stdout)
        self.assertEqual(self.boot("--extract", str(self.folder / "out")).returncode, 0)
        for name in ("fault.elf", "fault.rom"):
            self.assertEqual((self.folder / "out" / "build" / "x86" / name).read_bytes(), (BUILD / name).read_bytes())
        for words in (["--nonsense"], ["--timeout"], ["--timeout", "x"], ["--words", "run=x"], ["--extract"]):
            self.assertEqual(self.boot(*words).returncode, 2)

    def test_a_file_that_was_cut_off(self) -> None:
        self.emulators("qemu-system-x86_64")
        self.path.write_bytes(self.path.read_bytes()[:-5000])
        self.assertNotEqual(self.boot().returncode, 0)


class Install(Folder):
    def test_the_installed_suite(self) -> None:
        if not (ROOT / "config.mk").exists() or not (BUILD / "fault.rom").exists():
            self.skipTest("not built: run make")
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
        done = self.run_it("make", "-s", "-C", str(ROOT), "install", "DESTDIR=%s" % self.folder, "PREFIX=/usr", env=environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        for name in ("bin/vmxcheck", "share/man/man1/vmxcheck.1", "share/bash-completion/completions/vmxcheck",
                     "share/zsh/site-functions/_vmxcheck", "share/doc/vmxcheck/docs/running.md", "share/doc/vmxcheck/LICENSE",
                     "lib/vmxcheck/x86/exec/tsc.c",
                     "lib/vmxcheck/scripts/vmxcheck/templates/report.html"):
            self.assertTrue((self.folder / "usr" / name).is_file(), name)
        program = str(self.folder / "usr" / "bin" / "vmxcheck")
        self.assertTrue(re.match(r"vmxcheck \d", self.run_it(program, "--version").stdout))
        self.assertIn("Checks on Guest Segment Registers", self.run_it(program, "explain", "entry.guest.seg.ar.s", cwd=self.folder).stdout)
        if shutil.which("qemu-system-x86_64"):
            done = self.run_it(program, "--backend", "qemu-tcg", "--image", "fault", "--keep", cwd=self.folder)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertTrue((self.folder / "results" / "latest" / "results.json").exists())


if __name__ == "__main__":
    unittest.main()
