# SPDX-License-Identifier: BSD-2-Clause
"""The backends, and which of them takes which image."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple, Type

from ..config import BACKENDS, Section
from ..errors import Problem
from ..settings import Settings
from .base import Backend
from .bochs import Bochs
from .kvm_on_bochs import KvmOnBochs
from .qemu_kvm import QemuKvm
from .qemu_tcg import QemuTcg

_ALL: Tuple[Type[Backend], ...] = (Bochs, QemuTcg, QemuKvm, KvmOnBochs)
CLASSES = {cls.name: cls for cls in _ALL}

# The best first. What needs VMX: silicon before software. A plain guest: the same, and TCG before Bochs (faster).
_FOR_VMX = ("qemu-kvm", "bochs")
_FOR_PLAIN = ("qemu-kvm", "qemu-tcg", "bochs")
_VARIABLES = {"bochs": "BOCHS", "kvm-on-bochs": "BOCHS", "qemu-tcg": "QEMU", "qemu-kvm": "QEMU"}


class Chooser:
    """Gives each section its backend. `names` restricts the choice; empty: auto."""

    def __init__(self, settings: Settings, names: Sequence[str] = (), cpu: Optional[str] = None,
                 root: Path = Path("/")) -> None:
        for name in names:
            if name not in BACKENDS:
                raise Problem("unknown backend `%s`: the backends are %s" % (name, ", ".join(BACKENDS)))
        self.settings = settings
        self.forced = tuple(names)
        self._made: Dict[str, Backend] = {name: cls(settings, None, root) for name, cls in CLASSES.items()}
        self._problems: Dict[str, Optional[str]] = {}
        excluded = {"tcg": "qemu-kvm", "kvm": "qemu-tcg"}.get(settings.accel or "")
        self.allowed = [n for n in (names or BACKENDS) if n != excluded]
        if not self.allowed:
            raise Problem("--backend %s contradicts ACCEL=%s" % (",".join(names), settings.accel))
        if cpu:
            self._set_cpu(cpu)
        for name in self._insisted():
            problem = self.problem(name)
            if problem:
                raise Problem("backend %s cannot run: %s" % (name, problem))

    def _insisted(self) -> List[str]:
        """What the user named must work: falling back in silence would test something else."""
        names = list(self.forced and self.allowed)
        if self.settings.accel == "kvm":
            names.append("qemu-kvm")
        return names

    def _set_cpu(self, cpu: str) -> None:
        """The model goes to the backends that have one of this name; the others keep their own."""
        usable = [self._made[name] for name in self.allowed if not self.problem(name)]
        takers = [backend for backend in usable if cpu.partition(",")[0] in backend.cpu_models()]
        for backend in takers:
            backend.named_cpu = cpu
        if not takers:
            known = ["  %s: %s" % (backend.name, " ".join(backend.cpu_models())) for backend in usable]
            raise Problem("no backend here has a processor model `%s`; there are:\n%s" % (cpu, "\n".join(known)))

    def problem(self, name: str) -> Optional[str]:
        if name not in self._problems:
            self._problems[name] = self._made[name].available()
            tool = self.settings.environment.get(_VARIABLES[name])
            if tool and str(self._problems[name]).startswith(_VARIABLES[name] + "="):
                raise Problem(str(self._problems[name]))  # another one in its place would test something else
        return self._problems[name]

    def choose(self, section: Section) -> Tuple[Optional[Backend], str]:
        """The backend for a section; or None and why. None is a skip when the user restricted the backends,
        and an error (Problem) when the machine lacks what the section needs."""
        needs = set(section.needs) | ({"smp"} if section.smp > 1 else set())
        order = self.forced or (_FOR_VMX + ("qemu-tcg",) if "vmx" in needs else _FOR_PLAIN)
        absent, unable = [], []
        for name in order:
            if name not in self.allowed:
                continue
            if section.backends and name not in section.backends:
                unable.append("%s is not for it (unittests.cfg:%d)" % (name, section.line))
                continue
            problem = self.problem(name)
            if problem:
                absent.append("%s: %s" % (name, problem))
                continue
            backend = self._made[name]
            missing = sorted(needs - backend.features())
            if not missing:
                return backend, ""
            unable.append(backend.lacks(missing[0]))
        if self.forced or not absent and not unable:
            return None, "; ".join(unable) or "no backend is allowed"
        raise Problem("image `%s`%s has no backend here:\n  %s"
                      % (section.name, " needs " + ", ".join(sorted(needs)) + " and" if needs else "",
                         "\n  ".join(absent + unable)))
