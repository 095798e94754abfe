# SPDX-License-Identifier: BSD-2-Clause
"""The options of the backend kvm-on-bochs."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import List, Optional, Tuple

from ..errors import Problem

MONITORS = ("own", "qemu")
# Parameters that cannot be tested.
_HOPELESS = {
    "nested=0": "nested VMX is what is tested here",
    "vnmi=0": "without virtual NMIs KVM does not see the IRET that ends blocking by NMI: an image gets its next NMI "
            "much too late, and each test would fail",
}
_BOOLEAN = {"y": "1", "n": "0", "on": "1", "off": "0", "true": "1", "false": "0"}


@dataclass(frozen=True)
class L0Options:
    kernel: Optional[str] = None  # a package, a .deb or a vmlinuz
    cache: Optional[Path] = None
    monitor: str = MONITORS[0]
    parameters: Tuple[str, ...] = ()  # NAME=VALUE of kvm_intel, or kvm.NAME=VALUE

    @staticmethod
    def add_to(parser: argparse.ArgumentParser) -> None:
        group = parser.add_argument_group("--backend kvm-on-bochs: Linux KVM as the hypervisor under test")
        group.add_argument("--l0-kernel", metavar="VERSION|PACKAGE|FILE",
                           help="its kernel: a version such as 7.3, a Debian package, a .deb, a vmlinuz "
                           "(default: linux-image-cloud-amd64, Linux 6.1)")
        group.add_argument("--l0-cache", type=Path, metavar="DIR", help="where kernels are kept (default: as --cache)")
        group.add_argument("--l0-vmm", choices=MONITORS, default=MONITORS[0], help="who runs the images there: our own small "
                           "monitor or this machine's QEMU")
        group.add_argument("--kvm-param", action="append", default=[], metavar="NAME=VALUE",
                           help="a parameter of kvm_intel, such as ept=0; kvm.NAME=VALUE for one of kvm")

    @classmethod
    def of(cls, options: argparse.Namespace, backends: List[str]) -> "L0Options":
        chosen = cls(options.l0_kernel, options.l0_cache or options.cache, options.l0_vmm, tuple(map(_canonical, options.kvm_param)))
        names = [word.partition("=")[0] for word in chosen.parameters]
        for name, word in zip(names, chosen.parameters):
            if word in _HOPELESS:
                raise Problem("--kvm-param %s: %s" % (word, _HOPELESS[word]))
            if names.count(name) > 1:
                raise Problem("--kvm-param %s is there more than once" % name)
        if replace(chosen, cache=options.l0_cache).words() and "kvm-on-bochs" not in backends:
            raise Problem("%s is for --backend kvm-on-bochs" % chosen.words()[0])
        return chosen

    def words(self) -> List[str]:
        """Themselves again, for the command that repeats a test."""
        words = ["--l0-kernel", self.kernel] if self.kernel is not None else []
        words += ["--l0-cache", str(self.cache)] if self.cache else []
        words += ["--l0-vmm", self.monitor] if self.monitor != MONITORS[0] else []
        for parameter in self.parameters:
            words += ["--kvm-param", parameter]
        return words

    def qualified(self) -> List[str]:
        """MODULE.NAME=VALUE for the kernel's command line."""
        return ["kvm_intel.nested=1"] + [word if "." in word.partition("=")[0] else "kvm_intel." + word
                                         for word in self.parameters]


def _canonical(word: str) -> str:
    """As conditions in spec/known have it: no module's name but kvm's, and 0 or 1 for a boolean."""
    match = re.fullmatch(r"(?:kvm_intel\.)?((?:kvm\.)?[a-z0-9_]+)=([A-Za-z0-9_.,:-]+)", word)
    if not match:
        raise Problem("--kvm-param %s: it is NAME=VALUE, such as ept=0" % (word or "''"))
    name, value = match.groups()
    return "%s=%s" % (name, _BOOLEAN.get(value.lower(), value))
