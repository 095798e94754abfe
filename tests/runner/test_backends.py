# SPDX-License-Identifier: BSD-2-Clause
"""Backends: what each says of a machine (fake trees of /proc, /sys, /dev), who takes which image, and the commands."""
import os
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Dict, Optional, Sequence
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent))
import support  # noqa: E402,F401
from vmxcheck import images  # noqa: E402
from vmxcheck.backends import Chooser  # noqa: E402
from vmxcheck.launch import Boot  # noqa: E402
from vmxcheck.process import output_of  # noqa: E402
from vmxcheck.config import Section  # noqa: E402
from vmxcheck.errors import Problem  # noqa: E402
from vmxcheck.settings import Settings  # noqa: E402

PLAIN = Section("plain", 1, "plain")
VMX = Section("vmx", 5, "vmx", needs=frozenset(("vmx",)))
QEMU = """#!/bin/sh
case "$*" in
*help*) printf 'Available CPUs:\\nx86 Nehalem  (alias)\\nx86 max\\n\\nRecognized CPUID flags:\\n  vmx\\n' ;;
*) echo "QEMU emulator version 7.2.22 (fake)" ;;
esac
"""
BOCHS = """#!/bin/sh
case "$*" in
*cpu*) printf 'tigerlake\\ncore2_penryn_t9600\\n' ;;
*) printf '==\\n  Bochs x86 Emulator 2.7\\n==\\n  -rc filename\\n' ;;
esac
"""


class Machine(unittest.TestCase):
    """A folder that looks like a machine."""

    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory(prefix="vmxcheck-test-")
        self.addCleanup(temporary.cleanup)
        self.root = Path(temporary.name)
        self.variables = {"QEMU": self.program("qemu", QEMU), "BOCHS": self.program("bochs", BOCHS)}
        output_of.cache_clear()

    def program(self, name: str, text: str) -> str:
        path = self.root / name
        path.write_text(text)
        path.chmod(0o755)
        return str(path)

    def file(self, path: str, text: str = "") -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def with_vmx(self, nested: Optional[str] = None) -> None:
        self.file("proc/cpuinfo", "processor : 0\nflags\t\t: fpu vme vmx sse\n")
        self.file("dev/kvm")
        if nested is not None:
            self.file("sys/module/kvm_intel/parameters/nested", nested + "\n")

    def chooser(self, names: Sequence[str] = (), cpu: Optional[str] = None, **environment: str) -> Chooser:
        variables = {**self.variables, **environment}
        return Chooser(Settings(self.root, {}, {k: v for k, v in variables.items() if v}), names, cpu, self.root)

    def chosen(self, section: Section, names: Sequence[str] = (), **environment: str) -> str:
        backend, why = self.chooser(names, **environment).choose(section)
        return backend.name if backend else why


class Auto(Machine):
    def test_no_vmx(self) -> None:
        self.file("proc/cpuinfo", "flags : fpu sse\n")
        self.file("dev/kvm")
        self.assertEqual((self.chosen(PLAIN), self.chosen(VMX)), ("qemu-tcg", "bochs"))
        self.assertIn("no VMX", str(self.chooser().problem("qemu-kvm")))

    def test_vmx_without_nesting(self) -> None:
        for nested in (None, "N", "0"):
            self.with_vmx(nested)
            self.assertEqual((self.chosen(PLAIN), self.chosen(VMX)), ("qemu-kvm", "bochs"), nested)

    def test_vmx_with_nesting(self) -> None:
        for nested in ("Y", "1"):
            self.with_vmx(nested)
            self.assertEqual((self.chosen(PLAIN), self.chosen(VMX)), ("qemu-kvm", "qemu-kvm"))

    def test_flags_that_only_look_like_vmx(self) -> None:
        self.with_vmx("Y")
        self.file("proc/cpuinfo", "model name : vmx\nflags : novmx vmx2\nvmx flags : vmx\n")
        self.assertEqual(self.chosen(VMX), "bochs")

    def test_no_device(self) -> None:
        self.with_vmx("Y")
        (self.root / "dev/kvm").unlink()
        self.assertIn("no /dev/kvm", str(self.chooser().problem("qemu-kvm")))
        self.file("dev/kvm")
        with mock.patch("os.access", lambda path, mode: not str(path).endswith("dev/kvm") and Path(path).exists()):
            self.assertIn("join the group kvm", str(self.chooser().problem("qemu-kvm")))

    def test_no_qemu(self) -> None:
        self.variables["QEMU"] = ""
        with mock.patch("shutil.which", lambda name: None):
            self.assertEqual(self.chosen(PLAIN), "bochs")

    def test_nothing(self) -> None:
        self.variables = {}
        with mock.patch("shutil.which", lambda name: None), self.assertRaises(Problem) as caught:
            self.chosen(VMX)
        for part in ("image `vmx` needs vmx", "bochs: bochs is not installed (Debian package bochs)", "qemu-kvm: this machine"):
            self.assertIn(part, str(caught.exception))

    def test_restricted_by_the_section(self) -> None:
        self.assertEqual(self.chosen(Section("x", 1, "x", backends=("bochs",))), "bochs")
        with self.assertRaisesRegex(Problem, "qemu-tcg has no VMX"):
            self.chosen(Section("x", 1, "x", needs=frozenset(("vmx",)), backends=("qemu-tcg",)))


class Forced(Machine):
    def test_restricts(self) -> None:
        self.assertEqual(self.chosen(PLAIN, ["bochs"]), "bochs")
        self.assertEqual(self.chosen(PLAIN, ["bochs", "qemu-tcg"]), "bochs")
        self.assertEqual(self.chosen(VMX, ["qemu-tcg", "bochs"]), "bochs")

    def test_what_it_cannot_run_is_no_choice(self) -> None:
        self.assertEqual(self.chosen(VMX, ["qemu-tcg"]), "qemu-tcg has no VMX")
        self.assertIn("qemu-tcg is not for it", self.chosen(Section("x", 9, "x", backends=("bochs",)), ["qemu-tcg"]))

    def test_what_is_forced_must_be_there(self) -> None:
        for names, environment, part in (
                (["qemu-kvm"], {}, "has no VMX"), (["xen"], {}, "unknown backend `xen`"),
                (["qemu-tcg"], {"QEMU": "/nowhere/qemu"}, "QEMU=/nowhere/qemu: no such file"),
                (["bochs"], {"BOCHS": "/etc/passwd"}, "BOCHS=/etc/passwd: not a program"),
                (["bochs"], {"BOCHS": "/bin/true"}, "does not say that it is Bochs"),
                (["qemu-tcg"], {"QEMU": "/bin/true"}, "does not say that it is QEMU"),
                (["qemu-tcg"], {"ACCEL": "kvm"}, "contradicts ACCEL=kvm"), ([], {"ACCEL": "kvm"}, "has no VMX"),
                ([], {"ACCEL": "hvf"}, "ACCEL=hvf: it is tcg or kvm")):
            with self.assertRaises(Problem) as caught:
                self.chooser(names, **environment)
            self.assertIn(part, str(caught.exception))

    def test_a_tool_that_the_user_named_is_not_replaced_in_silence(self) -> None:
        with self.assertRaisesRegex(Problem, "QEMU=/nowhere/qemu: no such file"):
            self.chosen(PLAIN, QEMU="/nowhere/qemu")

    def test_accel(self) -> None:
        self.with_vmx("N")
        self.assertEqual(self.chosen(PLAIN, ACCEL="tcg"), "qemu-tcg")
        self.assertEqual(self.chosen(PLAIN, ACCEL="kvm"), "qemu-kvm")
        self.assertEqual(self.chosen(VMX, ACCEL="kvm"), "bochs")

    def test_cpu_goes_to_who_knows_it(self) -> None:
        chooser = self.chooser(cpu="core2_penryn_t9600")
        self.assertEqual([chooser.choose(s)[0].cpu for s in (PLAIN, VMX)], ["max", "core2_penryn_t9600"])  # type: ignore
        self.assertEqual(self.chooser(cpu="Nehalem").choose(PLAIN)[0].cpu, "Nehalem")  # type: ignore[union-attr]
        with self.assertRaisesRegex(Problem, "processor model `i486dx`; there are:\n  bochs: tigerlake"):
            self.chooser(cpu="i486dx")


class Commands(Machine):
    def boot(self, smp: int = 1) -> Boot:
        folder = self.root / "boot"
        folder.mkdir()
        (self.root / "i.rom").write_bytes(bytes(16) + images.ROM_MARKER + bytes(images.ROM_SPACE))
        return Boot(images.Image("i", self.root, {}), "run=a.* seed=7", smp, 96, folder)

    def test_bochs_without_features(self) -> None:
        backend = self.chooser(["bochs"], "tigerlake,-smep,-pcid").choose(VMX)[0]
        assert backend
        boot = self.boot()
        backend.command(boot)
        text = (boot.folder / "bochsrc").read_text()
        self.assertIn("model=tigerlake, count=1,", text)
        self.assertIn(', exclude_features="smep pcid"\n', text)

    def test_bochs(self) -> None:
        backend = self.chooser(["bochs"]).choose(VMX)[0]
        assert backend
        boot = self.boot(smp=2)
        launch = backend.command(boot)
        rc = dict(line.split(": ", 1) for line in (boot.folder / "bochsrc").read_text().splitlines())
        self.assertIn("model=tigerlake, count=2,", rc["cpu"])
        self.assertEqual(rc["memory"], "guest=96, host=96")
        self.assertIn(b"VMXCHECK-CMDLINErun=a.* seed=7\0", (boot.folder / "image.rom").read_bytes())
        self.assertTrue((boot.folder / str(launch.serial)).is_fifo())
        self.assertEqual(launch.argv[-6:], [self.variables["BOCHS"], "-q", "-f", "bochsrc", "-rc", "continue"])
        self.assertEqual(sum((boot.folder / "vga.rom").read_bytes()) % 256, 0)
        self.assertEqual((backend.target(), sorted(backend.features())), ("bochs-2.7", ["smp", "vmx"]))

    def test_qemu(self) -> None:
        backend = self.chooser(["qemu-tcg"]).choose(PLAIN)[0]
        assert backend
        launch = backend.command(self.boot(smp=3))
        text = " ".join(launch.argv)
        for part in ("-machine pc,accel=tcg", "-cpu max", "-smp 3", "-m 96", "-no-reboot", "-serial stdio",
                     "-kernel image.elf", "-append run=a.* seed=7"):
            self.assertIn(part, text)
        self.assertIsNone(launch.serial)
        self.assertEqual(backend.target(), "qemu-tcg-7.2")

    def test_how_bochs_ended(self) -> None:
        backend = self.chooser(["bochs"]).choose(VMX)[0]
        assert backend
        for output, words in (("x\n1p[UNMAP ] >>PANIC<< Shutdown port: shutdown requested\n", "by its own request"),
                              ("1p[CPU0 ] >>PANIC<< exception(): 3rd (13) exception with no resolution\n", "triple fault; Bochs:"),
                              ("1p[X] >>PANIC<< no such thing\n", "Bochs: no such thing"), ("sh: not found\n", "sh: not found"), ("", "")):
            self.assertIn(words, backend.last_words(output))
        self.assertTrue(backend.start_failed("0p[RFB   ] >>PANIC<< could not listen on socket"))
        self.assertFalse(backend.start_failed("1p[CPU0 ] >>PANIC<< x"))


class Environment(unittest.TestCase):
    def settings(self, config: Dict[str, str], **environment: str) -> Settings:
        return Settings(Path("/"), config, environment)

    def test_precedence_of_tools(self) -> None:
        self.assertEqual(self.settings({"QEMU": "/bin/sh"}, QEMU="/x/qemu").tool("QEMU", "cat").path, "/x/qemu")
        self.assertEqual(self.settings({"QEMU": "/bin/sh"}).tool("QEMU", "cat").path, "/bin/sh")
        with mock.patch("shutil.which", lambda name: "/found/" + name):
            self.assertEqual(self.settings({"QEMU": "/gone"}).tool("QEMU", "cat").path, "/found/cat")
            self.assertEqual(self.settings({"QEMU": ""}).tool("QEMU", "cat").path, "/found/cat")
            self.assertEqual(self.settings({}, QEMU="my-qemu").tool("QEMU", "cat").path, "/found/my-qemu")

    def test_time_limits(self) -> None:
        self.assertIsNone(self.settings({}).timeout(None))
        self.assertEqual(self.settings({}, TIMEOUT="90s").timeout(None), 90)
        self.assertEqual(self.settings({}, TIMEOUT="2m").timeout("7"), 7)
        self.assertEqual(self.settings({}, TIMEOUT="0").timeout(None), float("inf"))
        for value in ("x", "-1", "", "1d"):
            if value:
                with self.assertRaisesRegex(Problem, "TIMEOUT=%s: a number" % value):
                    self.settings({}, TIMEOUT=value).timeout(None)
            with self.assertRaisesRegex(Problem, "--timeout"):
                self.settings({}).timeout(value)

    def test_config_mk(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "config.mk").write_text("# comment\nQEMU=/q\nBOCHS=\n")
            self.assertEqual(Settings.load(Path(folder), os.environ).config_mk, {"QEMU": "/q", "BOCHS": ""})


if __name__ == "__main__":
    unittest.main()
