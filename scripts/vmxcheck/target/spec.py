# SPDX-License-Identifier: BSD-2-Clause
"""What a target is: the keys of targets.cfg, and the options of the command line that are the same."""

from __future__ import annotations

import argparse
import difflib
import os
import re
import shlex
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, Dict, FrozenSet, List, Mapping, Optional, Tuple

from .. import ini
from ..errors import Problem

FILE = "targets.cfg"
FEATURES = ("vmx", "smp")
TERM, KILL = "term", "kill"  # the ways to end a machine that are no command

# What {...} may be in a command; in the command's environment the same are VMXCHECK_ELF, VMXCHECK_WORDS, ...
ARTIFACTS = {"elf": ".elf", "elf64": ".elf64", "rom": ".rom", "bzimage": ".bzimage", "efi": ".efi", "iso": ".iso"}
MADE_ONE_BY_ONE = ("iso",)  # by `make FILE`; all others are made by `make`
FIELDS = {
    "elf": "the image, ELF32 (Multiboot 1 and 2, PVH)", "elf64": "the image, ELF64 (PVH)", "rom": "a ROM with the words in it",
    "bzimage": "the image as a Linux kernel", "efi": "the image as an EFI application", "iso": "a CD or disk with the words in it",
    "words": "the image's command line", "image": "the image's name", "smp": "processors", "processors": "the same", "memory": "MiB",
    "cpu": "the value of --cpu", "serial": "where the serial port is to go", "port": "a free TCP port", "folder": "a folder of this boot alone",
}

# Where the serial port comes from: KIND or KIND:VALUE. True: a value is needed, False: there is none, None: there may be one.
SERIALS: Dict[str, Optional[bool]] = {
    "stdout": False, "file": None, "fifo": False, "pty": False, "unix": None, "unix-listen": None, "tcp": None, "tcp-listen": None,
    "tty": True, "command": True,
}


def _serial(text: str) -> Tuple[str, str]:
    kind, colon, value = (part.strip() for part in text.partition(":"))
    if kind not in SERIALS:
        raise ValueError("it is one of: %s" % ", ".join(
            name + {True: ":...", False: "", None: "[:...]"}[needs] for name, needs in SERIALS.items()))
    if SERIALS[kind] and not value or SERIALS[kind] is False and colon or colon and not value:
        raise ValueError("%s %s" % (kind, "has no value" if SERIALS[kind] is False else "needs a value behind its `:`"))
    if kind in ("tcp", "tcp-listen") and value and not re.fullmatch(r".+:([0-9]+|\{port\})", value):
        raise ValueError("%s:HOST:PORT is needed" % kind)
    return kind, value


def _features(text: str) -> FrozenSet[str]:
    words = text.replace(",", " ").split()
    for word in words:
        if word not in FEATURES + ("none",):
            raise ValueError("`%s` is not one of: %s, or none" % (word, ", ".join(FEATURES)))
    return frozenset(words) - {"none"}


def _number(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
            raise ValueError("a whole number from %d to %d is needed" % (low, high))
        return int(text)

    return parse


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text) or float(text) <= 0:
        raise ValueError("a number of seconds above 0 is needed")
    return float(text)


def _yes(text: str) -> bool:
    if text not in ("yes", "no"):
        raise ValueError("it is yes or no")
    return text == "yes"


def _command(text: str) -> str:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ValueError("not the words of a shell: %s" % str(error).lower()) from None
    if not words:
        raise ValueError("a command is needed")
    for word in words:
        names_in(word)
    return text


def _end(text: str) -> str:
    return text if text in (TERM, KILL) else _command(text)


def _words(text: str) -> str:
    if not text.isascii() or not text.isprintable():
        raise ValueError("words of ASCII are needed")
    return text


def names_in(text: str) -> List[str]:
    """The placeholders in a text. ValueError: one that is none."""
    found = []
    for match in re.finditer(r"\{\{|\}\}|\{([^{}]*)\}|[{}]", text):
        if match.group() in ("{{", "}}"):
            continue
        if match.group(1) not in FIELDS:
            raise ValueError("`%s` is no placeholder; there are: %s ({{ and }} are braces)"
                             % (match.group(), " ".join("{%s}" % name for name in FIELDS)))
        found.append(match.group(1))
    return found


def fill(text: str, value: Callable[[str], str]) -> str:
    def one(match: "re.Match[str]") -> str:
        return match.group()[0] if match.group() in ("{{", "}}") else value(match.group(1))

    return re.sub(r"\{\{|\}\}|\{([a-z0-9]+)\}", one, text)


KEYS: Dict[str, Callable[[str], Any]] = {
    "command": _command, "serial": _serial, "features": _features, "end": _end, "returns": _yes, "at-once": _number(1, 1000), "words": _words,
    "memory": _number(16, 1 << 20), "cpu": str, "timeout": _seconds, "version": str, "known": str,
}


@dataclass(frozen=True)
class Target:
    """One target; `base` is the folder that its relative paths start from."""

    name: str
    base: Path
    command: str
    serial: Tuple[str, str] = ("", "")
    features: FrozenSet[str] = frozenset(FEATURES)
    end: str = KILL
    returns: bool = False  # the command only starts the machine: its own end is not the machine's
    at_once: Optional[int] = None  # how many of it may run; None: as many as like
    words: str = ""
    memory: int = 0  # MiB, at least
    cpu: str = ""
    timeout: Optional[float] = None
    version: str = ""
    known: Optional[Path] = None
    repro: Tuple[str, ...] = ()  # the options that name it

    @property
    def argv(self) -> List[str]:
        return shlex.split(self.command)

    def uses(self, *names: str) -> bool:
        """Whether one of the placeholders is in its commands, also by its name in the environment."""
        texts = [self.command, self.serial[1], self.end]
        return any(name in names_in(text) or "VMXCHECK_" + name.upper() in text for text in texts for name in names)

    def problem(self) -> Optional[str]:
        """Why its command cannot be started, or None."""
        program = self.argv[0]
        if "{" in program:
            return None
        if "/" in program:
            path = self.base / program
            if not path.exists():
                return "%s: no such file (relative paths start from %s)" % (program, self.base)
            if not path.is_file() or not os.access(path, os.X_OK):
                return "%s: not a program that can be run" % program
        elif not shutil.which(program):
            return "%s: no such program in PATH" % program
        return None


def _finished(name: str, base: Path, values: Mapping[str, Any], where: str, repro: Tuple[str, ...]) -> Target:
    values = {key.replace("-", "_"): value for key, value in values.items()}
    if "command" not in values:
        raise Problem("%s: a target needs a command" % where)
    if values.get("known"):
        values["known"] = (base / values["known"]).resolve()
    target = replace(Target(name, base, values.pop("command"), repro=repro), **values)
    kind = target.serial[0]
    if not kind:  # said by the command itself
        kind = "file" if target.uses("serial") else "stdout"
        target = replace(target, serial=(kind, ""))
    given = {"stdout", "tty", "command"}
    if kind in given and target.uses("serial"):
        raise Problem("%s: {serial} is in the command, and serial = %s has no such place" % (where, kind))
    if kind == "tcp" and not target.serial[1] and not target.uses("port"):
        raise Problem("%s: serial = tcp needs {port} in the command, or HOST:PORT of its own" % where)
    fixed = bool(target.serial[1]) and "{folder}" not in target.serial[1] and "{port}" not in target.serial[1]
    if target.at_once is None and (kind in ("tty", "command") or fixed or target.returns or target.end not in (TERM, KILL)):
        target = replace(target, at_once=1)  # it has one machine, one line, one name
    return target


def load(path: Path) -> Dict[str, Target]:
    """The targets of a file, by name."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise Problem("%s: %s" % (path, error.strerror)) from None
    except UnicodeDecodeError:
        raise Problem("%s: not UTF-8 text" % path) from None
    return {block.name: _finished(block.name, path.resolve().parent, block.values, "%s:%d" % (path.name, block.line),
                                  ("--target", block.name, "--targets", str(path)))
            for block in ini.parse(text, path.name, KEYS)}


def find_file(named: Optional[Path], top: Path) -> Optional[Path]:
    """--targets, else targets.cfg of the folder one stands in, else that of the suite."""
    if named:
        return named
    return next((path for path in (Path(FILE), top / FILE) if path.exists()), None)


def from_options(name: str, file: Optional[Path], top: Path, given: Mapping[str, str]) -> Target:
    """The target of the command line: `given` has keys of KEYS as text; those of a named target in targets.cfg come behind it."""
    base: Optional[Target] = None
    if not given.get("command"):
        path = find_file(file, top)
        if path is None:
            raise Problem("--target %s: there is no %s here: write one, or say how it is started with --command (docs/targets.md)" % (name, FILE))
        targets = load(path)
        if name not in targets:
            near = difflib.get_close_matches(name, targets, 1)
            raise Problem("--target %s: %s has no such target%s; there are: %s" % (
                name, path, ": did you mean `%s`?" % near[0] if near else "", ", ".join(targets) or "none"))
        base = targets[name]
    values: Dict[str, Any] = {}
    repro: List[str] = list(base.repro) if base else (["--target", name] if name else [])
    for key, text in given.items():
        try:
            values[key] = KEYS[key](text)
        except ValueError as error:
            raise Problem("--%s %s: %s" % (key, text, error)) from None
        repro += ["--" + key, text]
    if base:
        if "cpu" in values and not base.uses("cpu"):
            raise Problem("--cpu %s: the command of target %s has no {cpu} to take it" % (values["cpu"], name))
        return replace(base, repro=tuple(repro), **{key.replace("-", "_"): value for key, value in values.items()})
    if not name:
        name = re.sub(r"[^A-Za-z0-9_.-]", "-", os.path.basename(shlex.split(given["command"])[0])).strip("-.") or "target"
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        raise Problem("--target %s: a name is letters, digits, '_', '-', '.'" % name)
    target = _finished(name, Path.cwd(), values, "--command", tuple(repro))
    if target.cpu and not target.uses("cpu"):
        raise Problem("--cpu %s: the command has no {cpu} to take it" % target.cpu)
    return target


def from_command_line(options: argparse.Namespace, top: Path) -> Optional[Target]:
    """The target that --command or --target says, or None."""
    given = {key: getattr(options, key) for key in ("command", "serial", "features", "end", "cpu") if getattr(options, key)}
    if options.command or options.target:
        if options.backend:
            raise Problem("--backend and --%s contradict each other" % ("command" if options.command else "target"))
        return from_options(options.target or "", options.targets, top, given)
    for key in ("serial", "features", "end", "targets"):
        if getattr(options, key):
            raise Problem("--%s needs --command or --target" % key)
    return None


def deaf(target: Target) -> str:
    """A warning where the command passes no words to the image, or ""."""
    if target.uses("words", "rom", "iso") or "/" in target.argv[0] and _is_script(target):
        return ""
    return ("the command of %s has no {words}, so an image runs all that it has, and after a crash it cannot go on "
            "(VMXCHECK_WORDS in its environment has them)" % target.name)


def _is_script(target: Target) -> bool:
    """It may well look into its environment."""
    try:
        with open(target.base / target.argv[0], "rb") as file:
            return b"VMXCHECK_WORDS" in file.read(1 << 20)
    except OSError:
        return False
