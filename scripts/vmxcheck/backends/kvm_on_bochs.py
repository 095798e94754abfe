# SPDX-License-Identifier: BSD-2-Clause
"""Linux KVM under test, with no VMX hardware: an unmodified Debian kernel (L0) boots on Bochs, and its KVM
runs the images. One boot of L0 serves a whole run; the next one comes only after L0 has died.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

from ..errors import Problem
from ..images import Image
from ..known import version_number
from ..l0 import disk, kernel, qemu
from ..l0.machine import CONSOLE, MAILBOX, Guest, Job, Machine
from ..launch import Boot, Launch
from .base import Backend
from .bochs import NO_VGA_BIOS, Bochs

MEMORY = {"own": 512, "qemu": 1024}  # MiB
# L0's clock counts instructions: IPS of them are a second. More than 429 million, and KVM finds the
# preemption timer too coarse to use.
IPS = 400_000_000
# Bochs does about 100 million instructions a second, so this many of our seconds make one of L0's.
SLOWNESS = 8.0
MOST_DEAD_BOOTS = 2
WORKING_MODELS = ("corei7_skylake_x", "corei7_haswell_4770")

_BOCHSRC = """\
config_interface: textconfig
display_library: rfb, options="timeout=0"
sound: driver=dummy
cpu: model={cpu}, count=1, ips={ips}, reset_on_triple_fault=0, ignore_bad_msrs=1
memory: guest={memory}, host={memory}
romimage: file=bios.rom
vgaromimage: file=vga.rom
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=disk, path=disk, mode=flat, cylinders=0
ata0-slave: type=disk, path={mailbox}, mode=flat, cylinders=0
boot: disk
com1: enabled=1, mode=file, dev={console}
port_e9_hack: enabled=1
panic: action=fatal
error: action=ignore
info: action=ignore
debug: action=ignore
clock: sync=none, time0=1700000000
"""

# Most of it saves time: each self-test, calibration or wait that Linux leaves out is a second of Bochs.
_COMMAND_LINE = (
    "console=ttyS0,115200 loglevel=4 rdinit=/init panic=-1 oops=panic reboot=t "
    "hpet=disable iomem=relaxed "  # for the kick (l0/kick.c)
    "tsc_early_khz=%d tsc=reliable no_timer_check nokaslr mitigations=off random.trust_cpu=on cryptomgr.notests "
    "audit=0 nowatchdog lsm= initcall_blacklist=load_system_certificate_list,trace_eval_init,init_kprobe_trace,"
    "cubictcp_register,init_evm,crypto_kdf108_init,hugetlb_init" % (IPS // 1000))

# Features that Linux shall not see, with their numbers, which is all that Linux takes before 5.18; and the first version of
# Bochs on which it may. Bochs has no MSRs of APERF and MPERF though its CPUID says so, and none to enumerate ERMS, without
# which Linux 6.1 moves memory wrongly if there is FSRM. Before 3.1 the sizes of leaf 0DH for XSAVES and XSAVEC are wrong:
# Linux does without XSAVE then, and 7.x panics.
_NEVER = (99, 0)
_CLEARED = (("aperfmperf", 124, _NEVER), ("fsrm", 580, _NEVER), ("xsaves", 323, (3, 1)), ("xsavec", 321, (3, 1)))
_FIRST_WITH_NAMES = (5, 18)
# KVM's own posted-interrupt descriptor is aligned to 64 bytes, and this Bochs wants 4 KiB: none of its VM entries succeeds.
_NO_APICV_ON, _NO_APICV = (3, 0), "kvm_intel.enable_apicv=0"
WRONG_DIVISION = "its Bochs does 64-bit IDIV wrong"  # what l0/loader.S says


class KvmOnBochs(Bochs):
    name = "kvm-on-bochs"
    at_once = 1
    slow = True

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._options = self.settings.l0
        self._kernel: Optional[kernel.Kernel] = None
        self._machine: Optional[Machine] = None
        self._boots = 0
        self._dead_boots = 0
        self._hello: Dict[str, str] = {}
        self._boot_seconds = 0.0
        self._cpu_seconds = 0.0

    @property
    def default_cpu(self) -> str:
        return WORKING_MODELS[0]

    @property
    def shutdown_ends(self) -> bool:
        return self._options.monitor == "qemu"

    @property
    def _built(self) -> Path:
        return self.settings.top / "build" / "l0"

    def _bios(self) -> Optional[Path]:
        """The images need none, but Linux wants what it tells of the machine."""
        folders = [self.settings.environment.get("BXSHARE", ""), str(Path(self._tool).parent.parent / "share/bochs"),
                   "/usr/share/bochs", "/usr/local/share/bochs"]
        found = [self.root / folder.lstrip("/") / "BIOS-bochs-latest" for folder in folders if folder]
        return next((path for path in found if path.exists()), None)

    def other_model(self, reason: str) -> Optional[Backend]:
        return None  # another L0 takes longer to boot than its few tests are worth

    def available(self) -> Optional[str]:
        problem = super().available()
        if problem:
            return problem
        if not self._bios():
            return "Bochs' own BIOS is not installed (Debian package bochsbios)"
        if not (self._built / "init").exists() or not (self._built / "loader.bin").exists():
            return ("%s is not built: it is linked with a static C library (Debian package libc6-dev); then run ./configure "
                    "and make" % (self._built / "init"))
        if self._options.monitor == "qemu":
            return self.settings.tool("QEMU", "qemu-system-x86_64").problem("qemu-system-x86_64", "qemu-system-x86")
        return None

    def prepare(self) -> None:
        if not self._kernel:
            cache = kernel.cache_folder(self._options.cache, self.settings.environment)
            self._kernel = kernel.get(self._options.kernel, cache, lambda text: print("kvm-on-bochs: " + text, file=sys.stderr))
            for given, word in zip(("nested=1", *self._options.parameters), self._options.qualified()):
                why = self._kernel.refuses(word)
                if why:
                    raise Problem("--kvm-param %s: %s" % (given, why))

    def version(self) -> str:
        return self._kernel.release if self._kernel else "unknown"

    def table(self) -> Tuple[str, str]:
        return "kvm", super().table()[1]

    def conditions(self) -> Dict[str, str]:
        return {"kvm": " ".join(sorted(self._options.parameters)), "bochs": super().version()}

    def facts(self) -> Dict[str, str]:
        """What the run found out about its target, for the results."""
        if self._machine:
            self._cpu_seconds += self._machine.cpu_seconds()
        parameters = " ".join("%s=%s" % item for item in sorted(self._hello.items()) if item[0].startswith("kvm"))
        return {"kernel": self._hello.get("kernel", self.version()), "kvm_parameters": parameters,
                "vmm": self._options.monitor, "bochs": super().version(), "l0_boots": str(self._boots),
                "l0_boot_cpu_seconds": "%.1f" % self._boot_seconds, "l0_cpu_seconds": "%.1f" % self._cpu_seconds}

    # ---- running

    def file(self, image: Image) -> Path:
        return image.elf

    def command(self, boot: Boot) -> Launch:
        raise Problem("kvm-on-bochs starts no process for an image: it is a job of L0")

    def start(self, boot: Boot, starting: Callable[[Launch], None]) -> Any:
        if self._machine and not self._machine.alive:
            self.stop()
        if not self._machine:
            self._machine = self._boot()
        limit = 0.0 if boot.limit == float("inf") else boot.limit / SLOWNESS
        try:
            image = boot.image.elf.read_bytes()
        except OSError as error:
            raise Problem("%s: %s; run make" % (boot.image.elf, error.strerror)) from None
        return Guest(self._machine, Job(image, boot.command_line, boot.smp, boot.memory, limit, self._options.monitor))

    def stop(self) -> None:
        if not self._machine:
            return
        self._cpu_seconds += self._machine.cpu_seconds()
        self._hello = self._machine.hello or self._hello
        self._boot_seconds = self._machine.boot_seconds or self._boot_seconds
        self._dead_boots += not self._machine.hello
        self._machine.close()
        shutil.rmtree(self._machine.folder, ignore_errors=True)
        self._machine = None

    def unusable(self) -> Optional[str]:
        failure = self._machine.failure if self._machine else ""
        if not self._machine or not failure:
            return None
        remedy = ("; take another Bochs: --bochs 3.0, or BOCHS=PATH" if failure == WRONG_DIVISION
                  else "; known to work is --cpu " + " or ".join(WORKING_MODELS) if self.cpu not in WORKING_MODELS
                  else "; try it without --kvm-param" if self._options.parameters else "; take another kernel with --l0-kernel")
        return "kvm-on-bochs with --cpu %s and Linux %s: %s%s" % (self.cpu, self.version(), failure,
                                                                  "" if self._machine.refused else remedy)

    def _for_this_bochs(self) -> List[str]:
        """Words of L0's command line."""
        bochs = version_number(super().version())
        by_name = version_number(self.version()) >= _FIRST_WITH_NAMES
        cleared = [name if by_name else str(number) for name, number, first in _CLEARED if bochs < first]
        return ["clearcpuid=" + ",".join(cleared)] + ([_NO_APICV] if bochs == _NO_APICV_ON else [])

    def _boot(self) -> Machine:
        if self._dead_boots >= MOST_DEAD_BOOTS:
            raise Problem("L0 does not come up")
        self.prepare()
        assert self._kernel
        self._boots += 1
        memory = MEMORY[self._options.monitor]
        folder = Path(tempfile.mkdtemp(prefix="vmxcheck-l0-"))
        files = {"init": (self._built / "init").read_bytes()}
        files.update({path.name: path.read_bytes() for path in self._kernel.modules()})
        if self._options.monitor == "qemu":
            files.update(qemu.files(self.settings.tool("QEMU", "qemu-system-x86_64").path or ""))
        disk.write(folder / "disk", (self._built / "loader.bin").read_bytes(), self._kernel.vmlinux.read_bytes(),
                   disk.initramfs(files), " ".join([_COMMAND_LINE, *self._for_this_bochs(), *self._options.qualified()]), memory << 20)
        (folder / "bochsrc").write_text(_BOCHSRC.format(cpu=self.cpu, ips=IPS, memory=memory, mailbox=MAILBOX, console=CONSOLE))
        (folder / "vga.rom").write_bytes(NO_VGA_BIOS)
        bios = self._bios()
        assert bios
        shutil.copyfile(bios, folder / "bios.rom")
        return Machine(Launch(self.arguments(folder)), folder, self._options.qualified())
