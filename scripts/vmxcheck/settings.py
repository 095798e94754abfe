# SPDX-License-Identifier: BSD-2-Clause
"""Where the tools are: environment before config.mk before PATH."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, Mapping, Optional, Tuple

from .errors import Problem
from .l0.options import L0Options


@dataclass(frozen=True)
class Tool:
    """A program, and who named it (None: found in PATH or not at all)."""

    path: Optional[str]
    named_by: Optional[str] = None

    @property
    def source(self) -> str:
        """In front of what is wrong with it."""
        return "%s=%s" % (self.named_by, self.path) if self.named_by else str(self.path)

    def problem(self, name: str, package: str) -> Optional[str]:
        """Why it cannot be run, in words, or None."""
        if not self.path:
            return "%s is not installed (Debian package %s)" % (name, package)
        source = self.source + ": "
        if not os.path.exists(self.path):
            return source + "no such file"
        if not os.path.isfile(self.path) or not os.access(self.path, os.X_OK):
            return source + "not a program that can be run"
        return None


@dataclass(frozen=True)
class Settings:
    """What config.mk and the environment say."""

    top: Path
    config_mk: Dict[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    l0: L0Options = L0Options()
    qemu_args: Tuple[str, ...] = ()  # behind the words of the suite's own QEMU

    @classmethod
    def load(cls, top: Path, environment: Mapping[str, str]) -> "Settings":
        values: Dict[str, str] = {}
        try:
            for line in (top / "config.mk").read_text(encoding="utf-8").splitlines():
                key, equals, value = line.partition("=")
                if equals and not key.startswith("#"):
                    values[key.strip()] = value.strip()
        except OSError:
            pass  # not configured: PATH has to do
        return cls(top, values, environment)

    def tool(self, key: str, command: str) -> Tool:
        named = self.environment.get(key, "")
        if named:
            # It is started in another folder than the one where it was named.
            found = shutil.which(named) if "/" not in named else os.path.abspath(named)
            return Tool(found or named, key)
        configured = self.config_mk.get(key, "")
        if configured and os.access(configured, os.X_OK):
            return Tool(configured)
        return Tool(shutil.which(command))

    @property
    def accel(self) -> Optional[str]:
        value = self.environment.get("ACCEL", "")
        if value not in ("", "tcg", "kvm"):
            raise Problem("ACCEL=%s: it is tcg or kvm" % value)
        return value or None

    def timeout(self, option: Optional[str]) -> Optional[float]:
        """--timeout, then TIMEOUT, as timeout(1) takes them; 0 is no limit. None: nobody said."""
        for name, value in (("--timeout ", option), ("TIMEOUT=", self.environment.get("TIMEOUT") or None)):
            if value is None:
                continue
            return seconds(value, name.rstrip(), name[-1:] if name.endswith("=") else " ") or float("inf")
        return None


def seconds(text: str, name: str, between: str = " ") -> float:
    """A time as timeout(1) takes it."""
    match = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,6})?)([smh]?)", text)
    if not match:
        raise Problem("%s%s%s: a number of seconds is needed (0: no limit)" % (name.rstrip("="), between, text))
    return float(match.group(1)) * {"": 1, "s": 1, "m": 60, "h": 3600}[match.group(2)]
