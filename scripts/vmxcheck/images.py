# SPDX-License-Identifier: BSD-2-Clause
"""The built images: their files, the tests in them, and a ROM with a command line patched in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Dict

from .errors import Problem

ROM_MARKER = b"VMXCHECK-CMDLINE"
ROM_SPACE = 1008
LONGEST_COMMAND_LINE = ROM_SPACE - 1
EVERYTHING = "all"  # the image that is made of all others


@dataclass(frozen=True)
class Image:
    name: str
    folder: Path
    tests: Dict[str, str]  # id -> title, in the image's order

    @property
    def elf(self) -> Path:
        return self.folder / (self.name + ".elf")

    @property
    def rom(self) -> Path:
        return self.folder / (self.name + ".rom")

    def origin(self, identity: str) -> str:
        """The image that a test of `all` is from; of any other image: ""."""
        return _origins(self.folder).get(identity, "") if self.name == EVERYTHING else ""


def load(folder: Path, name: str) -> Image:
    path = folder / (name + ".tests")
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise Problem("image `%s` is not built: %s is missing; run make" % (name, path)) from None
    tests: Dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        identity, _, title = line.partition("\t")
        if not identity or identity in tests:
            raise Problem("%s:%d: %s; run make again" % (path, number, "test `%s` twice" % identity if identity else "no id"))
        tests[identity] = title
    return Image(name, folder, tests)


@lru_cache(maxsize=None)
def _origins(folder: Path) -> Dict[str, str]:
    names = [path.stem for path in sorted(folder.glob("*.tests")) if path.stem != EVERYTHING]
    return {identity: name for name in names for identity in load(folder, name).tests}


def patched(path: Path, name: str, command_line: str) -> bytes:
    """The bytes of a ROM or an ISO of the image with the command line in the place that is kept free for it."""
    try:
        content = bytearray(path.read_bytes())
    except OSError as error:
        raise Problem("%s: %s; run make" % (path, error.strerror)) from None
    text = command_line.encode("utf-8")
    if len(text) > LONGEST_COMMAND_LINE:
        raise Problem("the command line of image `%s` has %d bytes, its ROM has place for %d" % (name, len(text), LONGEST_COMMAND_LINE))
    at = content.find(ROM_MARKER + bytes(ROM_SPACE))
    if at < 0 or content.find(ROM_MARKER, at + 1) >= 0:
        raise Problem("%s: it must have %s with %d zero bytes behind it, once; run make" % (path, ROM_MARKER.decode(), ROM_SPACE))
    at += len(ROM_MARKER)
    content[at:at + len(text)] = text
    return bytes(content)


def patched_rom(image: Image, command_line: str) -> bytes:
    return patched(image.rom, image.name, command_line)
