# SPDX-License-Identifier: BSD-2-Clause
"""QEMU's software x86: plain guests; it has no VMX."""

from __future__ import annotations

from typing import FrozenSet

from .qemu import Qemu


class QemuTcg(Qemu):
    name = "qemu-tcg"

    @property
    def default_cpu(self) -> str:
        return "max"
    accelerator = "tcg"

    def features(self) -> FrozenSet[str]:
        return frozenset(("smp",))
