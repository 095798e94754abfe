# SPDX-License-Identifier: BSD-2-Clause
"""QEMU with KVM, and nested VMX where the host offers it.

/dev/kvm alone proves nothing: it may stand there on a machine whose processor has no VMX. So the processor's
own flag is looked for, and for images that need VMX kvm_intel's `nested` too.
"""

from __future__ import annotations

import os
import re
from typing import FrozenSet, Optional

from .qemu import Qemu


class QemuKvm(Qemu):
    name = "qemu-kvm"

    @property
    def default_cpu(self) -> str:
        return "host"
    accelerator = "kvm"

    def _read(self, path: str) -> str:
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def available(self) -> Optional[str]:
        flags = re.search(r"^flags\s*:(.*)$", self._read("proc/cpuinfo"), re.MULTILINE)
        if not flags or "vmx" not in flags.group(1).split():
            return "this machine's processor has no VMX (no `vmx` in /proc/cpuinfo)"
        device = self.root / "dev/kvm"
        if not device.exists():
            return "there is no /dev/kvm: load the module kvm_intel"
        if not os.access(device, os.R_OK | os.W_OK):
            return "/dev/kvm is not readable and writable for this user: join the group kvm"
        return super().available()

    def _nested(self) -> bool:
        return self._read("sys/module/kvm_intel/parameters/nested").strip() in ("Y", "1")

    def features(self) -> FrozenSet[str]:
        return frozenset(("smp", "vmx")) if self._nested() else frozenset(("smp",))

    def lacks(self, feature: str) -> str:
        if feature == "vmx":
            return "KVM offers no nested VMX: load kvm_intel with nested=1"
        return super().lacks(feature)
