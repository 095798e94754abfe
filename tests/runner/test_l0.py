# SPDX-License-Identifier: BSD-2-Clause
"""L0 without L0: frames and findings with hostile input, the boot disk, kernels from a fake apt, the options."""
import io
import struct
import sys
import tempfile
import time
import unittest
from pathlib import Path
from typing import List
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent))
import support  # noqa: E402,F401
from vmxcheck import verdict  # noqa: E402
from vmxcheck.options import run_parser  # noqa: E402
from vmxcheck.errors import Problem  # noqa: E402
from vmxcheck.l0 import disk, kernel  # noqa: E402
from vmxcheck.l0.machine import BOOT_CPU_SECONDS, BOOT_PATIENCE, HEADER_SIZE, IMAGE_AT, MAILBOX, PATIENCE  # noqa: E402
from vmxcheck.l0.machine import Guest, Job, Machine, finding_in  # noqa: E402
from vmxcheck.l0.options import L0Options  # noqa: E402
from vmxcheck.verdict import Ledger  # noqa: E402

JOB = Job(b"ELF!", "run=a.*", 2, 64, 3.5, "own")
WARNING = "WARNING: CPU: 0 PID: 61 at arch/x86/kvm/vmx/nested.c:4588 nested_vmx_vmexit+0x1/0x2 [kvm_intel]"


def frame(kind: str, text: bytes) -> bytes:
    return b"\x02" + kind.encode() + struct.pack("<H", len(text)) + text


class FakeEmulator:
    """Bochs, as far as a Machine knows it: chunks that come, and an end."""

    def __init__(self, *arguments: object) -> None:
        self.chunks: List[bytes] = []
        self.exited = False
        self.killed = False
        self.process_id = 0
        self.needs_polling = False

    def read(self) -> bytes:
        return self.chunks.pop(0) if self.chunks else b""

    def output(self) -> str:
        return "what Bochs said\n"

    def descriptors(self) -> List[int]:
        return []

    def kill(self) -> None:
        self.killed = True

    close = kill


class Frames(unittest.TestCase):
    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory(prefix="vmxcheck-test-")
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)
        with mock.patch("vmxcheck.l0.machine.Emulator", FakeEmulator):
            self.machine = Machine(None, self.folder)  # type: ignore[arg-type]
        self.bochs: FakeEmulator = self.machine.emulator  # type: ignore[assignment]
        self.guest = Guest(self.machine, JOB)

    def come(self, *chunks: bytes) -> None:
        self.bochs.chunks += chunks

    def all_of(self) -> bytes:
        data = b""
        for _ in range(20):
            data += self.guest.read()
        return data

    def test_the_mailbox_has_the_job(self) -> None:
        data = (self.folder / MAILBOX).read_bytes()
        self.assertEqual(data[:8], b"VMXJOB1\0")
        self.assertEqual(struct.unpack_from("<6I", data, 8), (1, 4, 3500, 2, 64, 0))
        self.assertEqual(data[64:72], b"run=a.*\0")
        self.assertEqual(data[IMAGE_AT:IMAGE_AT + 5], b"ELF!\0")
        self.assertEqual(len(data) % (16 * 63 * 512), 0)
        with self.assertRaises(Problem):
            self.machine.start(Job(b"", "x" * HEADER_SIZE, 1, 64, 1, "own"))

    def test_frames_cut_anywhere(self) -> None:
        stream = (b"Bochs says\n" + frame("H", b"kernel=6.1\nkvm_intel.nested=Y\n") + frame("S", b"1") + frame("O", b"TAP ")
                  + b"noise" + frame("P", b"3") + frame("O", b"version 13\n\x02O") + frame("E", b"exit by its own request"))
        for size in (1, 2, 3, 5, 7, len(stream)):
            with self.subTest(size=size):
                self.setUp()
                self.come(*(stream[i:i + size] for i in range(0, len(stream), size)))
                self.assertEqual(self.all_of(), b"TAP version 13\n\x02O")
                self.assertEqual(self.machine.hello, {"kernel": "6.1", "kvm_intel.nested": "Y"})
                self.assertEqual((self.guest.exited, self.guest.how, self.guest.words), (True, None, "by its own request"))

    def test_another_jobs_frames_are_not_ours(self) -> None:
        self.come(frame("O", b"old") + frame("E", b"error old") + frame("S", b"1") + frame("O", b"new"))
        self.assertEqual(self.all_of(), b"new")
        self.assertFalse(self.guest.exited)

    def test_a_limit_is_a_hang(self) -> None:
        self.come(frame("S", b"1") + frame("E", b"limit no progress for 4 s"))
        self.all_of()
        self.assertEqual((self.guest.exited, self.guest.how), (True, verdict.LIMIT))

    def test_findings_come_in_their_place(self) -> None:
        self.come(frame("S", b"1") + frame("O", b"before") + frame("K", b"<4>" + WARNING.encode())
                  + frame("K", b"<4>kvm: something else") + frame("O", b"behind"))
        self.assertEqual((self.guest.read(), self.guest.findings()), (b"before", []))
        self.assertEqual(self.guest.read(), b"")
        self.assertEqual(self.guest.findings(), ["WARNING: at arch/x86/kvm/vmx/nested.c:4588 nested_vmx_vmexit+0x1/0x2 [kvm_intel]"])
        self.assertEqual((self.guest.read(), self.guest.findings()), (b"behind", []))
        self.assertIn("something else", self.guest.output())

    def test_what_is_a_finding(self) -> None:
        for text in (WARNING, "kernel BUG at mm/slub.c:1", "BUG: unable to handle page fault", "general protection fault, x",
                     "[    3.0] Kernel panic - not syncing: x", "kvm_intel: vmwrite failed: field=1 val=2 err=12"):
            self.assertIsNotNone(finding_in(text), text)
        for text in ("kvm [61]: vcpu0, guest rIP: 0x1 ignored rdmsr: 0x1d9", "Call Trace:", "Modules linked in: kvm_intel"):
            self.assertIsNone(finding_in(text), text)

    def test_l0_dies(self) -> None:
        self.come(frame("H", b"kernel=6.1"), frame("S", b"1") + frame("O", b"x"))
        self.assertEqual(self.all_of(), b"x")
        (self.folder / "console").write_text("[    4.2] Kernel panic - not syncing: Fatal exception\nend\n")
        self.bochs.exited = True
        self.assertEqual(self.guest.read(), b"")
        self.assertEqual(self.guest.words, "L0 died: Kernel panic - not syncing: Fatal exception")
        self.assertEqual(self.guest.findings(), ["Kernel panic - not syncing: Fatal exception"])
        self.assertIn("what Bochs said", self.guest.output())
        self.assertFalse(self.machine.alive)

    def test_a_parameter_that_kvm_does_not_take(self) -> None:
        for parameters, words in (
                (["kvm_intel.ept=0"], "KVM did not take kvm_intel.ept=0, it is Y: the processor may lack what it needs; leave it out"),
                (["kvm_intel.ept=1"], ""),
                (["kvm_intel.x=1"], "this kernel's KVM has no parameter kvm_intel.x: leave it out")):
            self.setUp()
            self.machine._parameters = parameters
            self.come(frame("H", b"kernel=6.1\nkvm_intel.ept=Y"))
            self.all_of()
            self.assertEqual((self.guest.exited, self.guest.words, self.machine.alive), (bool(words), words, not words))
            self.assertEqual((self.machine.failure, self.machine.refused), (words, bool(words)))

    def test_a_kvm_that_does_not_load(self) -> None:
        self.come(frame("H", b"kernel=6.1\nproblem=module kvm_intel cannot be loaded: Operation not supported\n"
                        b"problem=there is no /dev/kvm\n"))
        self.all_of()
        self.assertEqual((self.machine.failure, self.machine.refused),
                         ("module kvm_intel cannot be loaded: Operation not supported", False))

    def test_l0_never_came(self) -> None:
        (self.folder / "console").write_text("Linux version 6.1\n")
        self.assertEqual(self.machine.failure, "")
        self.bochs.exited = True
        self.all_of()
        self.assertEqual(self.guest.words, "L0 did not boot: Linux version 6.1")
        self.assertEqual(self.machine.failure, "L0's kernel does not boot: Linux version 6.1")
        (self.folder / "console").unlink()
        self.assertEqual(self.machine.failure, "L0's kernel does not boot: it says nothing")
        self.bochs.output = lambda: "0i[] x\n0p[RFB   ] >>PANIC<< no port is free\n"  # type: ignore[method-assign]
        self.assertEqual(self.machine.failure, "L0's kernel does not boot: Bochs: no port is free")

    def test_a_boot_that_leads_nowhere_ends_by_the_time_of_bochs_own(self) -> None:
        now = time.monotonic()
        for used, left in ((0.0, BOOT_CPU_SECONDS), (BOOT_CPU_SECONDS - 2, 2.0), (BOOT_CPU_SECONDS, 0.0)):
            with mock.patch.object(self.machine, "cpu_seconds", lambda used=used: used):
                self.assertAlmostEqual(self.guest.alive_until - now, left, delta=5.0 if used == 0 else 1.0)
        self.machine.sign_of_life = now - BOOT_PATIENCE
        self.assertLess(self.guest.alive_until, now + 1)
        self.come(frame("H", b"kernel=6.1"))
        self.all_of()
        self.assertGreater(self.guest.alive_until, now + PATIENCE - 1)
        self.assertEqual(self.machine.failure, "")

    def test_only_a_job_that_goes_on_takes_l0_with_it(self) -> None:
        self.come(frame("H", b"kernel=6.1") + frame("S", b"1") + frame("E", b"exit x"))
        self.all_of()
        self.guest.close()
        self.assertFalse(self.bochs.killed)
        second = Guest(self.machine, JOB)
        second.close()
        self.assertTrue(self.bochs.killed)
        self.assertFalse(self.machine.alive)

    def test_a_pulse_is_a_sign_of_life(self) -> None:
        self.come(frame("H", b"kernel=6.1"))
        self.all_of()
        self.machine.sign_of_life -= 10 * PATIENCE
        before = self.guest.alive_until
        self.come(frame("P", b"1"))
        self.all_of()
        self.assertGreater(self.guest.alive_until, before)


class Complaints(unittest.TestCase):
    def test_the_test_in_flight_is_red(self) -> None:
        ledger = Ledger({"a.one": "x", "a.two": "y"})
        ledger.begin_boot(["a.one", "a.two"], 0, "log")
        ledger.feed(b"TAP version 13\n1..2\n# begin a.one\nok 1 - a.one: x\n# begin a.two\n", 1)
        ledger.complain("WARNING: at x.c:1")
        ledger.feed(b"ok 2 - a.two: y\n# end\n", 2)
        self.assertIsNone(ledger.end_boot(verdict.EXITED, "", 9, 3))
        one, two = ledger.finish()
        self.assertEqual((one.verdict, two.verdict), ("pass", "fail"))
        self.assertEqual(two.reason, "the target complained: WARNING: at x.c:1")

    def test_a_crash_says_both(self) -> None:
        ledger = Ledger({"a.one": "x"})
        ledger.begin_boot(["a.one"], 0, "log")
        ledger.feed(b"TAP version 13\n1..1\n# begin a.one\n", 1)
        ledger.complain("BUG: y")
        ledger.end_boot(verdict.EXITED, "L0 died", 9, 3)
        outcome, = ledger.finish()
        self.assertEqual(outcome.verdict, "crash")
        self.assertIn("(L0 died)", outcome.reason)
        self.assertIn("complained: BUG: y", outcome.reason)

    def test_before_the_first_test_it_is_the_images(self) -> None:
        ledger = Ledger({"a.one": "x"})
        ledger.begin_boot(["a.one"], 0, "log")
        ledger.complain("WARNING: z")
        self.assertEqual(len(ledger.faults), 1)


class BootDisk(unittest.TestCase):
    @staticmethod
    def vmlinux(entry: int = 0x1000010) -> bytes:
        note = struct.pack("<III4sI", 4, 4, 18, b"Xen\0", entry)
        head = b"\x7fELF".ljust(0x20, b"\0") + struct.pack("<Q", 64)
        head = head.ljust(0x36, b"\0") + struct.pack("<HH", 56, 2)
        table = struct.pack("<IIQQQQQQ", 1, 0, 0x1000, 0, 0x1000000, 700, 900, 0)
        table += struct.pack("<IIQQQQQQ", 4, 0, 0x800, 0, 0, len(note), len(note), 0)
        return ((head.ljust(64, b"\0") + table).ljust(0x800, b"\0") + note).ljust(0x1000, b"\0") + b"K" * 700

    def test_the_table_leads_to_everything(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "disk"
            disk.write(path, b"L" * 512, self.vmlinux(), b"initramfs", "console=x", 64 << 20)
            data = path.read_bytes()
        entries = [struct.unpack_from("<III", data, 512 + 12 * i) for i in range(4)]
        self.assertEqual([e[2] for e in entries], [0x9000, 0x1000000, (63 << 20) - 4096, 0x9000])
        self.assertEqual(entries[3], (0, 0x1000010, 0x9000))
        self.assertEqual(data[entries[1][0] * 512:][:700], b"K" * 700)
        self.assertEqual(data[entries[2][0] * 512:][:9], b"initramfs")
        self.assertIn(b"console=x\0", data[entries[0][0] * 512:][:0x500])
        self.assertEqual(len(data) % (16 * 63 * 512), 0)

    def test_what_cannot_be_booted(self) -> None:
        with self.assertRaisesRegex(Problem, "PVH"):
            disk.write(Path("/nowhere"), bytes(512), self.vmlinux(0), b"", "", 64 << 20)
        with self.assertRaisesRegex(Problem, "fit"):
            disk.write(Path("/nowhere"), bytes(512), self.vmlinux(), b"", "", 16 << 20)

    def test_the_archive(self) -> None:
        archive = disk.initramfs({"init": b"12345", "qemu/lib/x.so": b""})
        self.assertEqual(len(archive) % 4, 0)
        names = []
        stream = io.BytesIO(archive)
        while True:
            head = stream.read(110)
            self.assertEqual(head[:6], b"070701")
            mode, size, length = int(head[14:22], 16), int(head[54:62], 16), int(head[94:102], 16)
            name = stream.read(length)[:-1].decode()
            stream.read(-(110 + length) % 4)
            stream.read(size + -size % 4)
            if name == "TRAILER!!!":
                break
            names.append((name, mode >> 12))
        self.assertEqual(names, [("qemu", 4), ("qemu/lib", 4), ("init", 8), ("qemu/lib/x.so", 8)])


class Kernels(unittest.TestCase):
    """A fake apt in PATH, and a fake kernel in what it fetches."""

    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory(prefix="vmxcheck-test-")
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)
        self.cache = self.folder / "cache"
        (self.folder / "bin").mkdir()
        self.said: List[str] = []
        patcher = mock.patch.dict("os.environ", {"PATH": "%s:/usr/bin:/bin" % (self.folder / "bin"), "F": str(self.folder)})
        patcher.start()
        self.addCleanup(patcher.stop)
        (self.folder / "vmlinuz").write_bytes(self.bzimage())
        self.script("apt-cache", "echo 'Depends: linux-image-6.1.0-9-cloud-amd64 (= 6.1.9)'")
        self.script("apt-get", """case "$*" in
*--print-uris*) echo "'http://x.org/k.deb' k.deb 100 SHA256:$(sha256sum <$F/vmlinuz | cut -c1-64)" ;;
*) echo once >>$F/fetched; cp $F/vmlinuz k.deb ;; esac""")
        self.script("dpkg-deb", 'mkdir -p "$3/boot" "$3/lib/modules/6.1.0-9/kernel"; cp "$2" "$3/boot/vmlinuz-6.1.0-9"; '
                    'cp $F/kvm*.ko "$3/lib/modules/6.1.0-9/kernel/"')
        for name in ("kvm.ko", "kvm-intel.ko"):
            (self.folder / name).write_bytes(self.module())

    def script(self, name: str, text: str) -> None:
        path = self.folder / "bin" / name
        path.write_text("#!/bin/sh\n%s\n" % text)
        path.chmod(0o755)

    @staticmethod
    def bzimage(inside: bytes = b"\x7fELF\2" + b"kernel" * 100) -> bytes:
        import lzma

        payload = lzma.compress(inside) + b"size"
        data = bytearray(0x1000)
        data[0x1f1], data[0x1fe:0x200], data[0x202:0x206] = 4, b"\x55\xaa", b"HdrS"
        struct.pack_into("<H", data, 0x20e, 0x400)
        data[0x600:0x620] = b"6.1.0-9 (builder) #1 SMP".ljust(32, b"\0")
        struct.pack_into("<II", data, 0x248, 0x600, len(payload))
        return bytes(data).ljust(5 * 512 + 0x600, b"\0")[:5 * 512 + 0x600] + payload

    @staticmethod
    def module() -> bytes:
        names = b"\0.text\0.BTF\0"
        head = bytearray(64)
        head[:5] = b"\x7fELF\2"
        struct.pack_into("<Q", head, 0x28, 64)
        struct.pack_into("<HHH", head, 0x3a, 64, 3, 2)
        sections = [(0, 0), (7, 1000), (0, len(names))]
        table = b"".join(struct.pack("<IIQQQQ24x", name, 0, 0, 0, 64 + 192, size) for name, size in sections)
        signature = b"S" * 40 + struct.pack(">8xI", 40) + b"~Module signature appended~\n"
        return bytes(head) + table + names + signature

    def get(self, wanted: "str | None" = None) -> kernel.Kernel:
        return kernel.get(wanted, self.cache, self.said.append)

    def test_fetched_once_and_unpacked(self) -> None:
        found = self.get()
        self.assertEqual(found.release, "6.1.0-9")
        self.assertTrue(found.vmlinux.read_bytes().startswith(b"\x7fELF\2kernel"))
        module, _ = found.modules()
        data = module.read_bytes()
        self.assertTrue(data.endswith(b".BTF\0"))
        self.assertEqual(struct.unpack_from("<Q", data, 64 + 64 + 0x20)[0], 0)
        self.assertEqual(self.said, ["fetching http://x.org/k.deb"])
        self.script("apt-cache", "exit 1")
        self.assertEqual(self.get().folder, found.folder)
        self.assertEqual((self.folder / "fetched").read_text(), "once\n")
        self.assertEqual(sorted(p.name.split("-")[0] for p in self.cache.iterdir()), ["kernel", "lock", "package"])

    def test_a_file_needs_no_apt(self) -> None:
        self.script("apt-cache", "exit 1")
        (self.folder / "k.deb").write_bytes(self.bzimage())
        self.assertEqual(self.get(str(self.folder / "k.deb")).release, "6.1.0-9")
        self.assertEqual(self.get(str(self.folder / "vmlinuz")).modules(), self.get(str(self.folder / "k.deb")).modules())

    def test_modules_may_be_in_usr(self) -> None:
        self.script("dpkg-deb", 'mkdir -p "$3/boot" "$3/usr/lib/modules/6.1.0-9"; cp "$2" "$3/boot/vmlinuz-6.1.0-9"; '
                    'cp $F/kvm*.ko "$3/usr/lib/modules/6.1.0-9/"')
        self.assertEqual([path.name for path in self.get().modules()], ["kvm.ko", "kvm-intel.ko"])

    def test_a_kernel_in_several_packages(self) -> None:
        self.script("apt-cache", """case "$3" in
linux-image-cloud-amd64) echo 'Depends: linux-image-6.1.0-9 (= 6.1.9)' ;;
linux-image-6.1.0-9) echo 'Depends: linux-base (>= 4), linux-binary-6.1.0-9 (= 6.1.9), linux-modules-6.1.0-9 (= 6.1.9)' ;;
*) exit 1 ;; esac""")
        self.script("apt-get", """for name; do :; done
case "$*" in
*--print-uris*) echo "'http://x.org/$name.deb' $name.deb 100 " ;;
*) echo $name >$name.deb ;; esac""")
        self.script("dpkg-deb", """to="$3/usr/lib/modules/6.1.0-9"; mkdir -p "$to"; case "$2" in
*linux-binary*) cp $F/vmlinuz "$to/vmlinuz" ;;
*linux-modules*) cp $F/kvm*.ko "$to/" ;; esac""")
        found = self.get()
        self.assertEqual((found.release, [path.name for path in found.modules()]), ("6.1.0-9", ["kvm.ko", "kvm-intel.ko"]))
        self.assertEqual(self.said, ["fetching http://x.org/linux-%s-6.1.0-9.deb" % part for part in ("image", "binary", "modules")])
        # As files: any of them finds the others beside it.
        for part in ("binary", "modules", "image"):
            (self.folder / ("linux-%s-6.1.0-9_6.1.9_amd64.deb" % part)).write_bytes(part.encode())
        for part in ("binary", "image"):
            self.assertEqual(len(self.get(str(self.folder / ("linux-%s-6.1.0-9_6.1.9_amd64.deb" % part))).modules()), 2)
        (self.folder / "linux-modules-6.1.0-9_6.1.9_amd64.deb").unlink()
        with self.assertRaisesRegex(Problem, "kvm-intel is not in it: is its linux-modules-.* beside it"):
            self.get(str(self.folder / "linux-binary-6.1.0-9_6.1.9_amd64.deb"))
        (self.folder / "linux-binary-6.1.0-9_6.1.9_amd64.deb").unlink()
        with self.assertRaisesRegex(Problem, "is no kernel: .*no linux-binary-"):
            self.get(str(self.folder / "linux-image-6.1.0-9_6.1.9_amd64.deb"))

    def test_a_vmlinuz_needs_its_modules_unless_kvm_is_built_in(self) -> None:
        boot, modules = self.folder / "boot", self.folder / "lib/modules/6.1.0-9/kernel"
        boot.mkdir()
        (boot / "vmlinuz").write_bytes(self.bzimage())
        with self.assertRaisesRegex(Problem, "vmlinuz .* module kvm-intel is not in %s.*put it there" % modules.parent):
            self.get(str(boot / "vmlinuz"))
        modules.mkdir(parents=True)
        (modules / "kvm-intel.ko").write_bytes(self.module())
        self.assertEqual([path.name for path in self.get(str(boot / "vmlinuz")).modules()], ["kvm-intel.ko"])
        (modules / "kvm-intel.ko").unlink()
        (boot / "vmlinuz").write_bytes(self.bzimage(b"\x7fELF\2 \0kvm_intel.nested\0"))
        kernel_ = self.get(str(boot / "vmlinuz"))
        self.assertEqual((kernel_.modules(), kernel_.refuses("kvm_intel.x=1")), ([], ""))

    def test_parameters_are_looked_for_in_the_modules(self) -> None:
        types = b"\0parmtype=ept:bool\0parmtype=ple_gap:uint\0vmentry_l1d_flush\0"
        (self.folder / "kvm-intel.ko").write_bytes(self.module() + types)
        found = self.get()
        for word in ("kvm_intel.ept=0", "kvm_intel.ple_gap=12", "kvm_intel.vmentry_l1d_flush=never"):
            self.assertEqual(found.refuses(word), "", word)
        self.assertEqual(found.refuses("kvm_intel.eptx=0"), "kvm_intel of 6.1.0-9 has no such parameter; it has ept, ple_gap")
        self.assertEqual(found.refuses("kvm_intel.ept=maybe"), "its value is 0 or 1")
        self.assertIn("has no such parameter", found.refuses("kvm.ept=0"))

    def test_what_goes_wrong_is_said_in_one_line(self) -> None:
        cases = [
            ("apt-get", "case $* in *uris*) echo \"'http://x.org/k.deb' k.deb 9 SHA256:%s\";; *) echo 'E: no route'; exit 1;; esac"
             % ("0" * 64), ["linux-image-6.1.0-9-cloud-amd64", "http://x.org/k.deb", "no route", "--l0-kernel FILE.deb"]),
            ("apt-get", "case $* in *uris*) echo \"'http://x.org/k.deb' k.deb 9 SHA256:%s\";; *) echo x >k.deb;; esac"
             % ("0" * 64), ["not what apt promised"]),
            ("apt-get", "echo 'E: Unable to locate'; exit 100", ["does not say where", "Unable to locate"]),
            ("apt-cache", "echo 'E: No packages found'; exit 100", ["linux-image-cloud-amd64", "apt-get update", "No packages"]),
        ]
        for name, script, words in cases:
            with self.subTest(script):
                self.script(name, script)
                with self.assertRaises(Problem) as caught:
                    self.get()
                self.assertNotIn("\n", str(caught.exception))
                for word in words:
                    self.assertIn(word, str(caught.exception))

    def test_what_is_no_kernel(self) -> None:
        cut, empty, small = (self.folder / name for name in ("cut", "empty.deb", "small"))
        cut.write_bytes(self.bzimage()[:-30])
        empty.write_bytes(b"")
        small.write_bytes(self.bzimage(b"\x7fELF\1"))
        takes = "--l0-kernel takes a version such as"
        for wanted, word in (("/nowhere/k.deb", "No such file.*" + takes), (str(self.folder), "Is a directory.*" + takes),
                             (str(self.folder / "kvm.ko"), "not a Linux kernel.*" + takes), ("Bad Name", "neither a file nor.*" + takes),
                             ("", "'': neither a file nor"), (str(cut), "cut cannot be unpacked .*Fetch it again"),
                             (str(small), "no 64-bit vmlinux")):
            with self.assertRaisesRegex(Problem, word):
                self.get(wanted)
        self.script("dpkg-deb", "echo 'dpkg-deb: error: not a Debian format archive' >&2; exit 2")
        with self.assertRaisesRegex(Problem, r"empty.deb cannot be unpacked \(dpkg-deb: .*Fetch it again"):
            self.get(str(empty))
        self.script("dpkg-deb", 'mkdir "$3"')
        with self.assertRaisesRegex(Problem, "the package bash is no kernel: .*" + takes):
            self.get("bash")

    def test_the_cache_is_where_xdg_says(self) -> None:
        self.assertEqual(kernel.cache_folder(None, {"XDG_CACHE_HOME": "/c", "HOME": "/h"}), Path("/c/vmxcheck"))
        self.assertEqual(kernel.cache_folder(None, {"HOME": "/h"}), Path("/h/.cache/vmxcheck"))
        self.assertEqual(kernel.cache_folder(Path("/x"), {}), Path("/x"))


class Options(unittest.TestCase):
    @staticmethod
    def options(*words: str, backends: "tuple[str, ...]" = ("kvm-on-bochs",)) -> L0Options:
        return L0Options.of(run_parser().parse_args(words), list(backends))

    def test_they_come_back_as_words(self) -> None:
        words = ["--l0-kernel", "k.deb", "--l0-cache", "/c", "--l0-vmm", "qemu", "--kvm-param", "ept=0", "--kvm-param", "kvm.tdp_mmu=0"]
        options = self.options(*words)
        self.assertEqual(options.words(), words)
        self.assertEqual(options.qualified(), ["kvm_intel.nested=1", "kvm_intel.ept=0", "kvm.tdp_mmu=0"])
        self.assertEqual(self.options().words(), [])

    def test_one_parameter_has_one_spelling(self) -> None:
        options = self.options("--kvm-param", "kvm_intel.ept=N", "--kvm-param", "kvm.tdp_mmu=off", "--kvm-param", "ple_gap=0")
        self.assertEqual(options.parameters, ("ept=0", "kvm.tdp_mmu=0", "ple_gap=0"))

    def test_misuse(self) -> None:
        with self.assertRaisesRegex(Problem, "NAME=VALUE"):
            self.options("--kvm-param", "ept")
        with self.assertRaisesRegex(Problem, "nested=0: nested VMX is what is tested"):
            self.options("--kvm-param", "nested=N")
        with self.assertRaisesRegex(Problem, "vnmi=0: without virtual NMIs"):
            self.options("--kvm-param", "kvm_intel.vnmi=0")
        with self.assertRaisesRegex(Problem, "ept is there more than once"):
            self.options("--kvm-param", "ept=0", "--kvm-param", "kvm_intel.ept=1")
        with self.assertRaisesRegex(Problem, "--kvm-param is for --backend kvm-on-bochs"):
            self.options("--kvm-param", "ept=0", backends=("bochs",))


if __name__ == "__main__":
    unittest.main()
