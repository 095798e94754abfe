# SPDX-License-Identifier: BSD-2-Clause
"""`--bochs 3.1`, `--qemu 11.1`: an emulator of the Debian release that has that version.

What comes out is a program in the cache that starts it through its own loader, with its own libraries: nothing is
installed, and nothing of this machine's is used.
"""

from __future__ import annotations

import fcntl
import re
import shlex
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, List, Tuple

from ..errors import Problem
from .debian import RELEASES, find

LIBRARIES = "usr/lib/x86_64-linux-gnu"
LOADERS = ("usr/lib64/ld-linux-x86-64.so.2", "lib64/ld-linux-x86-64.so.2", LIBRARIES + "/ld-linux-x86-64.so.2",
           "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")


@dataclass(frozen=True)
class Recipe:
    """An emulator's packages, and how its program is started from the folder that they are unpacked in."""

    package: str
    example: str  # of a version
    data: Tuple[str, ...]  # packages that are no libraries and that it needs all the same
    programs: Tuple[str, ...]  # the first that exists
    environment: Tuple[Tuple[str, str], ...] = ()
    arguments: Tuple[str, ...] = ()
    preload: Tuple[str, ...] = ()  # of LIBRARIES, where they exist


RECIPES = {
    # One of its plug-ins wants SDL from the start and does not say so.
    "bochs": Recipe("bochs", "3.1", ("bochsbios",), ("usr/bin/bochs-bin", "usr/bin/bochs"),
                    (("BXSHARE", "usr/share/bochs"), ("LTDL_LIBRARY_PATH", LIBRARIES + "/bochs/plugins")),
                    preload=("libSDL3.so.0",)),
    "qemu": Recipe("qemu-system-x86", "11.1", ("qemu-system-data", "seabios", "ipxe-qemu"), ("usr/bin/qemu-system-x86_64",),
                   (("QEMU_MODULE_DIR", LIBRARIES + "/qemu"),),
                   ("-L", "usr/share/qemu", "-L", "usr/share/seabios", "-L", "usr/lib/ipxe/qemu")),
}


def get(kind: str, version: str, cache: Path, say: Callable[[str], None]) -> Path:
    """The program that starts that version of RECIPES[kind]; from the cache if it is there."""
    folder = cache / "emulators" / ("%s-%s" % (kind, version))
    program = folder / kind
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with open(cache / "emulators" / "lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two runs at once fetch it once
            if not program.exists():
                _make(kind, version, cache, folder, say)
    except OSError as error:
        raise Problem("the cache %s cannot be used: %s; name another folder with --cache" % (cache, error)) from None
    return program


def _make(kind: str, version: str, cache: Path, folder: Path, say: Callable[[str], None]) -> None:
    recipe = RECIPES[kind]
    if not re.fullmatch(r"\d+(\.\d+)*", version):
        raise Problem("--%s %s: it is a version, such as %s" % (kind, version, recipe.example))
    release = find(recipe.package, version, RELEASES, cache, say)
    # Of what it depends on the libraries are enough: no service, font or desktop is of any use here.
    packages = [package for package in release.closure(recipe.package)
                if package.startswith("lib") or package.partition("=")[0] == recipe.package]
    packages += [name for name in recipe.data if release.version(name)]
    with tempfile.TemporaryDirectory(prefix="unpack-", dir=folder.parent) as temporary:
        part = Path(temporary) / "tree"
        part.mkdir()
        release.unpack(packages, part)
        (part / kind).write_text(_starter(kind, recipe, part, folder))
        (part / kind).chmod(0o755)
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)


def _starter(kind: str, recipe: Recipe, tree: Path, folder: Path) -> str:
    """A shell script that will be FOLDER/KIND. Paths are the cache's own, so it says them as they are."""
    found = [name for name in recipe.programs if (tree / name).exists()]
    loaders = [name for name in LOADERS if (tree / name).exists()]
    if not found or not loaders:
        raise Problem("the package %s has no %s that can be started from a folder" % (recipe.package, kind))

    def place(name: str) -> str:
        return shlex.quote(str(folder / name)) if not name.startswith("-") else name

    libraries = ":".join(str(folder / name) for name in (LIBRARIES, LIBRARIES + "/pulseaudio", "lib/x86_64-linux-gnu", "usr/lib"))
    words: List[str] = [place(loaders[0])]
    preload = [place(LIBRARIES + "/" + name) for name in recipe.preload if (tree / LIBRARIES / name).exists()]
    words += ["--preload", " ".join(preload)] if preload else []
    words += ["--library-path", shlex.quote(libraries), place(found[0])]
    words += [place(argument) for argument in recipe.arguments]
    lines = ["#!/bin/sh", "# Made by vmxcheck: %s of another Debian release, with its own libraries." % kind]
    lines += ["export %s=%s" % (key, place(value)) for key, value in recipe.environment]
    return "\n".join(lines + ["exec " + " ".join(words) + ' "$@"', ""])
