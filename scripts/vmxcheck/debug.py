# SPDX-License-Identifier: BSD-2-Clause
"""--gdb ID: one test in a debugger, at its first line."""

from __future__ import annotations

import argparse
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Dict, List, Optional

from . import elf
from .backends import Chooser
from .backends.bochs import Bochs
from .config import Section
from .errors import NothingToTest, Problem
from .images import Image
from .launch import Boot
from .output import emit
from .selection import command_lines, configured
from .settings import Settings


def start(options: argparse.Namespace, settings: Settings, sections: List[Section], images: Dict[str, Image], top: Path) -> int:
    """Start the debugger and wait for its end."""
    identity = options.gdb
    section = _section(identity, sections, images, options.image)
    image = images[section.file]
    names = [name for word in options.backend for name in word.split(",") if name != "auto"]
    backend, why = Chooser(settings, names, options.cpu).choose(section)
    if backend is None:
        raise Problem("--gdb %s: %s" % (identity, why))
    symbols = image.folder / (image.name + ".elf64")
    place = elf.places(symbols).get(identity)
    if place is None:
        raise Problem("--gdb: %s has no test %s: it must be built here (an installed suite has no symbols)" % (symbols, identity))
    smp = " smp=%d" % section.smp if section.smp > 1 and "smp=" not in section.arguments else ""
    available = configured(image.tests, section.arguments)
    # Named even where it is the only test, so that it is all that runs.
    arguments = " ".join([section.arguments, smp, backend.words(section.arguments)])
    words = command_lines(arguments, {**available, "": ""}, {identity: ""}, "", image.tests)[0][0]
    with _Signals(), tempfile.TemporaryDirectory(prefix="vmxcheck-gdb-") as name:
        folder = Path(name)
        argv = backend.command(Boot(image, words, section.smp, section.memory, folder)).argv
        emit(sys.stdout, "%s is in %s:%d (%s at %#x), image %s on %s %s" % (
            identity, place.file, place.line, place.symbol or "its body", place.address, section.name, backend.target(), backend.cpu))
        if isinstance(backend, Bochs):
            if not backend.has_debugger():
                raise Problem("--gdb: this Bochs is built without its debugger")
            if "-rc" not in argv:
                argv += backend.debugger(folder)
            return _bochs(argv, folder, symbols, place)
        return _qemu(argv, folder, symbols, place, top)


def _section(identity: str, sections: List[Section], images: Dict[str, Image], names: List[str]) -> Section:
    for section in sections:
        if names and section.name not in names:
            continue
        if (names or section.by_default or identity.startswith("self.")) and identity in configured(
                images[section.file].tests, section.arguments):
            return section
    raise NothingToTest("--gdb: no test is called `%s`%s; --list names all tests"
                        % (identity, " in " + ", ".join(names) if names else ""))


def _qemu(argv: List[str], folder: Path, symbols: Path, place: elf.Place, top: Path) -> int:
    """QEMU stands still before the first instruction, and waits at a socket in a private folder."""
    socket = folder / "gdb"
    words = argv + ["-S", "-chardev", "socket,id=gdb,path=%s,server=on,wait=off" % socket, "-gdb", "chardev:gdb"]
    attach = ["gdb", "-q", str(symbols), "-ex", "set pagination off", "-ex", "directory %s" % top, "-ex", "target remote %s" % socket,
              "-ex", "hbreak *%#x" % place.address, "-ex", "continue"]
    emit(sys.stdout, "The machine waits for gdb. In another terminal:\n\n  %s\n\nThe serial port follows; Ctrl-C ends the machine.\n"
         % shlex.join(attach))
    return _wait(words, folder)


def _bochs(argv: List[str], folder: Path, symbols: Path, place: elf.Place) -> int:
    """Bochs' own debugger: a prompt in this terminal."""
    table = sorted((value, name) for name, value in elf.symbols(symbols).items() if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name))
    (folder / "symbols").write_text("".join("%x %s\n" % entry for entry in table))
    (folder / "continue").write_text('ldsym global "symbols"\nlb %#x\nc\n' % place.address)
    serial = folder / "serial"
    serial.unlink()  # a plain file takes its place
    emit(sys.stdout, "Bochs' debugger stops at the test, with symbols: s steps, n steps over calls, c goes on, r shows registers, bt the stack,\n"
          "u /10 disassembles, info symbols looks names up, help says more, q ends. The serial port's text comes at the end.\n")
    status = _wait(argv, folder, subprocess.DEVNULL)  # its log
    if serial.exists():
        emit(sys.stdout, "\nThe serial port:\n" + serial.read_text(encoding="utf-8", errors="replace"))
    return status


def _wait(argv: List[str], folder: Path = Path("."), errors: Optional[int] = None) -> int:
    """In the foreground: Ctrl-C is for the debugger. What ends us in another way ends it, too."""
    try:
        process = subprocess.Popen(argv, cwd=folder, stderr=errors)
    except OSError as error:
        raise Problem("%s: %s" % (argv[0], error.strerror)) from None
    try:
        process.wait()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    return 0


class _Signals:
    """From before there is a folder until it is gone: a second signal behind the first must not leave it."""

    def __enter__(self) -> None:
        self._before = {number: signal.signal(number, signal.SIG_IGN if number == signal.SIGINT else self._leave)
                        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _leave(self, number: int, frame: object) -> None:
        for other in self._before:
            signal.signal(other, signal.SIG_IGN)
        raise SystemExit(128 + number)
