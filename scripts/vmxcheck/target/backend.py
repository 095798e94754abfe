# SPDX-License-Identifier: BSD-2-Clause
"""A target as a backend, and the chooser that takes it for every image."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import Any, Callable, Dict, FrozenSet, List, Optional, Tuple

from ..backends.base import Backend
from ..config import Section
from ..errors import Problem
from ..images import Image, patched
from ..launch import Boot, Launch
from ..output import complain
from ..process import dies_with_us, output_of
from ..settings import Settings
from . import ports
from .machine import Machine
from .spec import ARTIFACTS, FIELDS, MADE_ONE_BY_ONE, Target, deaf, fill


class TargetBackend(Backend):
    ends_by_itself = False

    def __init__(self, settings: Settings, target: Target) -> None:
        super().__init__(settings)
        self._target = target
        self.name = target.name
        self.at_once = target.at_once
        self._version: Optional[str] = None

    @property
    def default_cpu(self) -> str:
        return self._target.cpu

    def cpu_models(self) -> List[str]:
        return []

    def command(self, boot: Boot) -> Launch:
        raise Problem("target %s: it is started with its serial port" % self.name)

    def available(self) -> Optional[str]:
        return self._target.problem()

    def features(self) -> FrozenSet[str]:
        return self._target.features

    def words(self, arguments: str = "") -> str:
        given = [word for word in self._target.words.split() if word.partition("=")[0] + "=" not in arguments]
        return " ".join(given + ([] if "machine=" in self._target.words + arguments else ["machine=emulated"]))

    def version(self) -> str:
        if self._version is None:
            text = self._target.version
            if text.startswith("command:"):
                said = output_of(*shlex.split(text[8:])) or ""
                found = re.search(r"\d+\.\d[^\s,()]*", said)
                if not found:
                    raise Problem("target %s: version: `%s` names no version" % (self.name, text[8:].strip()))
                text = found.group(0)
            self._version = text
        return self._version

    def table(self) -> Tuple[str, str]:
        match = re.match(r"\d+\.\d+", self.version())
        return self.name, match.group(0) if match else self.version()

    def target(self) -> str:
        return "-".join(part for part in self.table() if part)

    def known_file(self) -> Optional[Path]:
        return self._target.known

    def limit(self) -> Optional[float]:
        return self._target.timeout

    def repro(self) -> List[str]:
        return list(self._target.repro)

    def needs_file(self, image: Image) -> Optional[str]:
        for name in ARTIFACTS:
            if self._target.uses(name) and not _artifact(image, name).exists():
                path = os.path.relpath(_artifact(image, name))
                return "image `%s` has no {%s}: %s is missing; `%s` makes it" % (
                    image.name, name, path, "make " + path if name in MADE_ONE_BY_ONE else "make")
        return None

    # ---- a boot

    def _values(self, boot: Boot) -> Dict[str, Callable[[], str]]:
        """What the placeholders stand for: looked up when they are used."""
        port: List[str] = []

        def free() -> str:
            if not port:
                port.append(str(ports.free_port()))
            return port[0]

        def artifact(name: str) -> str:
            source, place = _artifact(boot.image, name).resolve(), boot.folder / ("image" + ARTIFACTS[name])
            if not place.exists() and name in ("rom", "iso"):  # nobody else can hand the words over
                place.write_bytes(patched(source, boot.image.name, boot.command_line))
            elif not place.exists():
                place.symlink_to(source)  # a name without blanks, of this boot alone
            return str(place)

        values: Dict[str, Callable[[], str]] = {name: lambda name=name: artifact(name) for name in ARTIFACTS}  # type: ignore[misc]
        smp, memory = str(boot.smp), str(max(boot.memory, self._target.memory))
        values.update({
            "words": lambda: boot.command_line, "image": lambda: boot.image.name, "smp": lambda: smp, "processors": lambda: smp,
            "memory": lambda: memory, "cpu": lambda: self.cpu, "port": free, "folder": lambda: str(boot.folder)})
        return values

    def start(self, boot: Boot, starting: Callable[[Launch], None]) -> Any:
        values = self._values(boot)
        environment = dict(os.environ)
        port = ports.opened(self._target, boot.folder, lambda name: values[name](), environment)
        try:
            values["serial"] = lambda: port.place if port else ""
            for name in FIELDS:
                if name not in ARTIFACTS or _artifact(boot.image, name).exists():
                    if name not in ("port", "iso") or self._target.uses(name):  # what costs something
                        environment["VMXCHECK_" + name.upper()] = values[name]()
            argv = [*dies_with_us(), *self._filled(self._target.command, values)]
            starting(Launch(argv))
            return Machine(argv, self._target, environment, port, lambda: self._filled(self._target.end, values))
        except BaseException:
            if port:
                port.close()
            raise

    @staticmethod
    def _filled(command: str, values: Dict[str, Callable[[], str]]) -> List[str]:
        return [fill(word, lambda name: values[name]()) for word in shlex.split(command)]

    def last_words(self, output: str) -> str:
        return ""  # the machine has said them


def _artifact(image: Image, name: str) -> Path:
    return image.folder / (image.name + ARTIFACTS[name])


class TargetChooser:
    """Gives each section the target."""

    def __init__(self, settings: Settings, target: Target) -> None:
        self._backend = TargetBackend(settings, target)
        problem = self._backend.available()
        if problem:
            raise Problem("target %s cannot run: %s" % (target.name, problem))
        if deaf(target):
            complain("warning: " + deaf(target))
        self._target = target

    def choose(self, section: Section) -> Tuple[Optional[Backend], str]:
        if section.backends and self._target.name not in section.backends:
            return None, "%s is not for it (unittests.cfg:%d)" % (self._target.name, section.line)
        needs = set(section.needs) | ({"smp"} if section.smp > 1 else set())
        missing = sorted(needs - self._target.features)
        return (None, self._backend.lacks(missing[0])) if missing else (self._backend, "")
