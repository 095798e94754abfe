# SPDX-License-Identifier: BSD-2-Clause
"""unittests.cfg: what to boot, with what, where. One section a run of an image."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, FrozenSet, List, Optional, Tuple

from . import ini
from .errors import Problem

BACKENDS = ("bochs", "qemu-tcg", "qemu-kvm", "kvm-on-bochs")
NEEDS = ("vmx",)
NOT_BY_DEFAULT = "nodefault"  # the group of what runs only when it is asked for
SELF = "self"  # the group of what tests the suite itself
LONG = "long"  # the group of what runs only when it is asked for where walks are brief
DEFAULT_TIMEOUT = 30.0
MOST_CPUS = 16  # MAX_CPUS of lib/x86/selectors.h


@dataclass(frozen=True)
class Section:
    """One section of unittests.cfg."""

    name: str
    line: int
    file: str  # build/x86/FILE.elf, .rom, .tests
    arguments: str = ""
    smp: int = 1
    memory: int = 64  # MiB
    topology: str = ""  # of QEMU's -smp, behind the number
    groups: FrozenSet[str] = frozenset()
    timeout: Optional[float] = None  # seconds
    needs: FrozenSet[str] = frozenset()
    backends: Tuple[str, ...] = ()  # empty: any
    boots: str = "one"  # or "each": a boot for each test

    @property
    def own_test(self) -> bool:
        """A section for the tests of the suite itself."""
        return SELF in self.groups

    @property
    def by_default(self) -> bool:
        return NOT_BY_DEFAULT not in self.groups


def _number(low: int, high: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", value) or not low <= int(value) <= high:
            raise ValueError("a whole number from %d to %d is needed" % (low, high))
        return int(value)

    return parse


def _seconds(value: str) -> float:
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", value) or float(value) <= 0:
        raise ValueError("a number of seconds above 0 is needed")
    return float(value)


def _file(value: str) -> str:
    name = re.sub(r"\.(elf|rom|flat)$", "", value)
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        raise ValueError("the name of an image is needed, such as `tsc` for build/x86/tsc.elf")
    return name


def _words(allowed: Tuple[str, ...]) -> Callable[[str], Tuple[str, ...]]:
    def parse(value: str) -> Tuple[str, ...]:
        words = tuple(value.split())
        for word in words:
            if allowed and word not in allowed:
                raise ValueError("`%s` is not one of: %s" % (word, ", ".join(allowed)))
        return words

    return parse


def _one_of(*allowed: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in allowed:
            raise ValueError("it is one of: %s" % ", ".join(allowed))
        return value

    return parse


def _set(allowed: Tuple[str, ...]) -> Callable[[str], FrozenSet[str]]:
    return lambda value: frozenset(_words(allowed)(value))


_QEMU = "QEMU's words are smp, memory and topology; --qemu-args and --cpu for all else, of the whole run"
_OF_KVM_UNIT_TESTS = {
    "qemu_params": _QEMU, "extra_params": _QEMU, "test_args": "`arguments` has the words of an image", "accel": "`backends` says where it runs",
    "machine": "--qemu-args '-machine NAME' says it for the whole run", "check": "`needs` says what a backend must have",
    "disabled_if": "`needs` says what a backend must have, and a test skips itself where a feature is not there",
    "arch": "all images are x86-64: leave it out",
}

_KEYS: Dict[str, Callable[[str], object]] = {
    "file": _file,
    "arguments": str,
    "smp": _number(1, MOST_CPUS),
    "memory": _number(16, 4096),
    "topology": str,
    "groups": _set(()),
    "timeout": _seconds,
    "needs": _set(NEEDS),
    "backends": _words(BACKENDS),
    "boots": _one_of("one", "each"),
}


def parse(text: str, name: str = "unittests.cfg") -> List[Section]:
    """The sections in their order; Problem with file and line at the first thing that is not understood."""
    return [Section(**{"file": block.name, **block.values, "name": block.name, "line": block.line})  # type: ignore[arg-type]
            for block in ini.parse(text, name, _KEYS, ("arguments",), _OF_KVM_UNIT_TESTS)]


def load(path: Path) -> List[Section]:
    try:
        return parse(path.read_text(encoding="utf-8"), path.name)
    except OSError as error:
        raise Problem("%s: %s" % (path, error.strerror)) from None
    except UnicodeDecodeError:
        raise Problem("%s: not UTF-8 text" % path) from None
