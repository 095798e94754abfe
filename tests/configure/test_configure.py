# SPDX-License-Identifier: BSD-2-Clause
"""What configure promises, tried in a copy of it, with a PATH that holds only what a test puts there.

    python3 tests/run.py configure
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# What configure itself is made of; in Debian all of it is essential, so it may rely on it.
BASICS = "sh dirname mktemp rm cat cmp cp tr sed grep head true env uname".split()
BUILD_TOOLS = "gcc ld objcopy nm make python3".split()
COMPILERS = ("gcc", "clang")


class ConfigureTest(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="vmxcheck-test-")
        self.addCleanup(folder.cleanup)
        self.top = Path(folder.name)
        self.bin = self.top / "bin"
        self.bin.mkdir()
        self.source = self.top / "source"
        (self.source / "scripts").mkdir(parents=True)
        for name in ("configure", "VERSION"):
            shutil.copy(ROOT / name, self.source)
        shutil.copy(ROOT / "scripts" / "find-tools.sh", self.source / "scripts")
        self.config = self.source / "config.mk"
        for name in BASICS:
            self.take(name)

    def take(self, *names: str) -> None:
        """Put the machine's own tools in PATH."""
        for name in names:
            path = sys.executable if name == "python3" else shutil.which(name)
            if path is None:
                self.skipTest(f"this machine has no {name}")
            # A script and not a link: compilers look for their parts beside their own name. They call
            # as and ld, or (a link to ccache) themselves, by PATH, which is no business of these tests.
            path_of_its_own = f'PATH="/usr/bin:/bin:{os.environ["PATH"]}" ' if name in COMPILERS else ""
            self.fake(name, f'{path_of_its_own}exec "{path}" "$@"')

    def fake(self, name: str, script: str) -> Path:
        path = self.bin / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    def take_build_tools(self) -> None:
        self.take(*BUILD_TOOLS)

    def configure(self, *arguments: str, cwd: Path | None = None, path: str = "") -> subprocess.CompletedProcess[str]:
        environment = {"PATH": path or str(self.bin), "TMPDIR": str(self.top), "LOG": str(self.top / "log")}
        return subprocess.run(
            [str(self.source / "configure"), *arguments], cwd=cwd or self.top, env=environment,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)

    def keys(self) -> dict[str, str]:
        lines = [line for line in self.config.read_text().splitlines() if not line.startswith("#")]
        return dict(line.split("=", 1) for line in lines)

    def log(self) -> str:
        path = self.top / "log"
        return path.read_text() if path.exists() else ""


class Options(ConfigureTest):
    def test_wrong_usage_is_one_line_and_status_2(self) -> None:
        for arguments, word in [
            (["--frobnicate"], "--help"), (["extra"], "--help"), (["CC=clang"], "--cc=clang"),
            (["--cc"], "--cc=VALUE"), (["--cc="], "--cc=VALUE"), (["--cc", "--install-deps"], "--cc=VALUE"),
            (["--cc=./gcc"], "relative"), (["--prefix=there"], "absolute"), (["--prefix=/a b"], "space"),
            (["--prefix=/a$b"], "makefile"), (["--python=/a#b"], "makefile"),
        ]:
            with self.subTest(arguments):
                done = self.configure(*arguments)
                self.assertEqual(done.returncode, 2)
                self.assertEqual(done.stdout, "")
                self.assertEqual(len(done.stderr.splitlines()), 1)
                self.assertIn(word, done.stderr)
                self.assertFalse(self.config.exists())

    def test_help_says_every_option(self) -> None:
        done = self.configure("--help")
        self.assertEqual(done.returncode, 0)
        for option in "--cc --cross-prefix --prefix --python --install-deps --help".split():
            self.assertIn(option, done.stdout)


class Finding(ConfigureTest):
    def test_nothing_there(self) -> None:
        done = self.configure()
        self.assertEqual(done.returncode, 1)
        self.assertFalse(self.config.exists())
        for package in ("gcc binutils make python3 python3-jinja2 python3-junitparser qemu-system-x86 bochs perl clang "
                        "shellcheck gdb zsh parallel chromium libc6-dev lz4").split():
            self.assertIn(f"Debian package {package}\n", done.stdout)
        self.assertEqual(len(done.stderr.splitlines()), 1)

    def test_build_tools_without_emulators(self) -> None:
        self.take_build_tools()
        done = self.configure()
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("qemu-system-x86", done.stderr)
        self.assertIn("bochs", done.stderr)
        keys = self.keys()
        self.assertEqual((keys["CC"], keys["LD"], keys["QEMU"], keys["BOCHS"], keys["CLANG"]), ("gcc", "ld", "", "", ""))
        self.assertEqual(keys["PREFIX"], "/usr/local")

    def test_each_build_tool_is_required(self) -> None:
        for name in BUILD_TOOLS:
            with self.subTest(name):
                self.take_build_tools()
                (self.bin / name).unlink()
                done = self.configure()
                self.assertEqual(done.returncode, 1)
                self.assertIn(f"no {'GNU ' if name == 'make' else ''}{name})", done.stdout)
                self.assertFalse(self.config.exists())

    def test_tools_that_do_not_do_their_work(self) -> None:
        for name, script, word in [
            ("gcc", "exit 0", "linker"),
            ("gcc", 'echo "x.c: error: bad -m64" >&2; exit 1', "bad -m64"),
            ("ld", "exit 1", "does not link elf_x86_64"),
            ("objcopy", "exit 1", "does not make elf32-i386"),
            ("nm", "exit 1", "does not list symbols"),
            ("make", "echo some other make", "no GNU make"),
            ("python3", "exit 1", "is not a whole Python"),
        ]:
            with self.subTest(name + script):
                self.take_build_tools()
                self.fake(name, script)
                done = self.configure()
                self.assertEqual(done.returncode, 1, done.stdout)
                self.assertIn(word, done.stdout)

    def test_again_changes_nothing(self) -> None:
        self.take_build_tools()
        self.configure("--prefix=/opt/x", cwd=self.source)
        before = self.config.stat().st_mtime_ns, self.config.read_text()
        done = self.configure("--prefix", "/opt/x", cwd=Path("/"))
        self.assertEqual(done.returncode, 0)
        self.assertEqual(before, (self.config.stat().st_mtime_ns, self.config.read_text()))
        self.assertEqual(self.keys()["PREFIX"], "/opt/x")

    def test_words_in_cc(self) -> None:
        self.take_build_tools()
        self.fake("cache", 'exec "$@"')
        self.assertEqual(self.configure("--cc=cache gcc").returncode, 0)
        self.assertEqual(self.keys()["CC"], "cache gcc")

    def test_cross_prefix(self) -> None:
        self.take_build_tools()
        for name in ("gcc", "ld", "objcopy", "nm"):
            (self.bin / name).rename(self.bin / f"x-{name}")
        self.assertEqual(self.configure().returncode, 1)
        self.assertEqual(self.configure("--cross-prefix=x-").returncode, 0)
        keys = self.keys()
        self.assertEqual([keys[key] for key in ("CC", "LD", "OBJCOPY", "NM")], ["x-gcc", "x-ld", "x-objcopy", "x-nm"])

    def test_own_compiler_does_not_stand_in_for_a_cross_compiler(self) -> None:
        self.take_build_tools()
        self.take("clang")
        for name in ("ld", "objcopy", "nm"):
            (self.bin / name).rename(self.bin / f"x-{name}")
        self.assertEqual(self.configure("--cross-prefix=x-").returncode, 1)

    def test_debians_python_goes_first(self) -> None:
        if not os.access("/usr/bin/python3", os.X_OK):
            self.skipTest("this machine has no /usr/bin/python3")
        self.take_build_tools()
        self.configure(path=f"{self.bin}:/usr/bin:/bin")
        self.assertEqual(self.keys()["PYTHON"], "/usr/bin/python3")
        self.configure(f"--python={self.bin}/python3", path=f"{self.bin}:/usr/bin:/bin")
        self.assertEqual(self.keys()["PYTHON"], f"{self.bin}/python3")

    def test_the_libraries_of_the_reports(self) -> None:
        self.take_build_tools()
        python = self.bin / "python3"
        for found in ("", "jinja2", "jinja2 junitparser"):
            self.fake("python3", f'case "$*" in *find_spec*) echo "{found}" ;; *) exec "{sys.executable}" "$@" ;; esac')
            done = self.configure()
            self.assertEqual(done.returncode, 0, done.stderr)
            for name in ("jinja2", "junitparser"):
                # No package is named: Debian's would not be seen by this interpreter.
                self.assertEqual(f"MISSING ({python} has no module {name}" in done.stdout, name not in found)
                self.assertNotIn(f"python3-{name}", done.stdout)

    def test_bochs_without_vmx(self) -> None:
        self.take_build_tools()
        self.fake("bochs", "echo pentium")
        done = self.configure()
        self.assertEqual((done.returncode, self.keys()["BOCHS"]), (0, ""))
        self.assertIn("built without VMX", done.stdout)
        bochs = self.fake("bochs", "echo Bochs x86 Emulator 2.7; echo tigerlake")
        done = self.configure()
        self.assertEqual((done.returncode, self.keys()["BOCHS"]), (0, str(bochs)))
        self.assertIn(f"{bochs} 2.7\n", done.stdout)


class Installing(ConfigureTest):
    """apt-get, id and sudo are fakes: they note what they were told."""

    def user(self, number: int) -> None:
        self.fake("id", f"echo {number}")

    def apt(self, install: str = ":") -> None:
        self.fake("apt-get", f'echo "apt-get $*" >>"$LOG"\ncase " $* " in *" install "*) {install} ;; esac')

    def test_never_unless_told(self) -> None:
        self.user(0)
        self.apt()
        self.configure()
        self.assertEqual(self.log(), "")

    def test_root_installs_only_what_is_missing(self) -> None:
        self.user(0)
        self.take_build_tools()
        self.take("prove")
        self.fake("shellcheck", "echo version: 0.9.0")
        self.apt(f'printf "#!/bin/sh\\necho QEMU emulator version 7.2.0\\n" >"{self.bin}/qemu-system-x86_64"; '
                 f'"{shutil.which("chmod")}" +x "{self.bin}/qemu-system-x86_64"')
        done = self.configure("--install-deps")
        update, install = self.log().splitlines()
        self.assertEqual(update, "apt-get update -q")
        self.assertIn("-y --no-install-recommends", install)
        self.assertEqual(set(install.split()) & {"gcc", "make", "python3", "perl", "shellcheck"}, set())
        self.assertLessEqual({"qemu-system-x86", "bochs", "clang"}, set(install.split()))
        self.assertIn("not usable: ", done.stderr)  # the fake brought QEMU only
        self.assertEqual(self.keys()["QEMU"], f"{self.bin}/qemu-system-x86_64")
        self.assertNotIn("install-deps", self.config.read_text())

    def test_sudo_where_not_root(self) -> None:
        self.user(1000)
        self.apt()
        self.fake("sudo", 'echo "sudo" >>"$LOG"; exec "$@"')
        self.configure("--install-deps")
        self.assertEqual([line.split()[0] for line in self.log().splitlines()], ["sudo", "apt-get"] * 2)

    def test_neither_root_nor_sudo(self) -> None:
        self.user(1000)
        self.apt()
        done = self.configure("--install-deps")
        self.assertEqual((done.returncode, len(done.stderr.splitlines()), self.log()), (1, 1, ""))
        self.assertIn("root or sudo", done.stderr)

    def test_no_apt_get(self) -> None:
        self.user(0)
        done = self.configure("--install-deps")
        self.assertEqual((done.returncode, len(done.stderr.splitlines())), (1, 1))
        self.assertIn("needs apt-get", done.stderr)

    def test_failed_installation_names_the_package(self) -> None:
        self.user(0)
        self.apt('case " $* " in *" bochs "*) exit 100 ;; esac')
        done = self.configure("--install-deps")
        self.assertEqual(done.returncode, 1)
        self.assertIn("could not install: bochs (", done.stderr)
        self.assertFalse(self.config.exists())

    def test_broken_repository_does_not_stop_it(self) -> None:
        self.user(0)
        self.fake("apt-get", 'echo "apt-get $*" >>"$LOG"\ncase $1 in update) exit 100 ;; esac')
        self.configure("--install-deps")
        self.assertIn(" install ", self.log())


if __name__ == "__main__":
    unittest.main()
