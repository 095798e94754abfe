# SPDX-License-Identifier: BSD-2-Clause
"""Which targets: a file whose sections are targets, or products of them; or all that the machine has."""

from __future__ import annotations

import argparse
import configparser
import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Tuple

from ..backends import CLASSES
from ..config import BACKENDS
from ..errors import NothingToTest, Problem
from ..known import version_number
from ..l0.kernel import cache_folder
from ..l0.options import MONITORS
from ..settings import Settings

DEFAULT = "default"
KEYS = ("backend", "version", "cpu", "kernel", "kvm-param", "vmm", "walks", "sections", "tests")
_FOR_KVM = ("kernel", "kvm-param", "vmm")
_EMULATOR = {"bochs": "bochs", "kvm-on-bochs": "bochs", "qemu-tcg": "qemu", "qemu-kvm": "qemu"}


@dataclass(frozen=True)
class Target:
    """A column of the matrix."""

    name: str
    group: str  # backend and version: what stands above its columns
    label: str  # the rest of its name
    options: Tuple[str, ...]  # of the run
    patterns: Tuple[str, ...] = ()  # of its tests; none: all



def read(path: Path, settings: Settings) -> List[Target]:
    """The targets of a file, in its order; Problem in one line at what is not understood."""
    parser = configparser.ConfigParser(interpolation=None, comment_prefixes=("#",), inline_comment_prefixes=(" #",),
                                       delimiters=("=",), strict=True, default_section="")
    try:
        parser.read_string(path.read_text(encoding="utf-8"), path.name)
    except OSError as error:
        raise Problem("--matrix %s: %s (`default` is every emulator that is here)" % (path, error.strerror)) from None
    except UnicodeDecodeError:
        raise Problem("--matrix %s: not UTF-8 text" % path) from None
    except configparser.Error as error:
        raise Problem("--matrix %s" % " ".join(str(error).split())) from None
    found: Dict[str, Target] = {}
    for name in parser.sections():
        where = "%s: [%s]" % (path.name, name)
        for target in _product(where, dict(parser[name]), settings):
            if target.name in found:
                raise Problem("%s: the target `%s` is there already" % (where, target.name))
            found[target.name] = target
    if not found:
        raise NothingToTest("--matrix %s: there is no section in it" % path)
    return list(found.values())


def _product(where: str, keys: Dict[str, str], settings: Settings) -> List[Target]:
    for key in keys:
        if key not in KEYS:
            raise Problem("%s: unknown key `%s`: the keys are %s" % (where, key, ", ".join(KEYS)))
        if not keys[key].strip():
            raise Problem("%s: `%s` has no value" % (where, key))
    backend = keys.get("backend", "")
    if backend not in BACKENDS:
        raise Problem("%s: %s: the backends are %s" % (where, "unknown backend `%s`" % backend if backend else "it has no `backend`",
                                                       ", ".join(BACKENDS)))
    for key in _FOR_KVM:
        if key in keys and backend != "kvm-on-bochs":
            raise Problem("%s: `%s` is for the backend kvm-on-bochs" % (where, key))
    if keys.get("walks", "auto") not in ("auto", "whole", "brief"):
        raise Problem("%s: bad value `%s` for walks: auto, whole or brief" % (where, keys["walks"]))
    if keys.get("vmm", MONITORS[0]) not in MONITORS:
        raise Problem("%s: bad value `%s` for vmm: %s" % (where, keys["vmm"], " or ".join(MONITORS)))
    for version in keys.get("version", "").split():
        if not re.fullmatch(r"\d+(\.\d+)+", version):
            raise Problem("%s: bad value `%s` for version: such as 3.1" % (where, version))
    parameters = [tuple(word for word in one.split() if word != "-") for one in keys.get("kvm-param", "-").split("|")]
    versions, models, kernels = (keys.get(name, "").split() or [""] for name in ("version", "cpu", "kernel"))
    return [_target(backend, *one, keys, settings) for one in itertools.product(versions, models, kernels, parameters)]


def _target(backend: str, version: str, cpu: str, kernel: str, parameters: Tuple[str, ...], keys: Dict[str, str],
            settings: Settings) -> Target:
    words = ["--backend", backend]
    emulator = _EMULATOR[backend]
    fetched = bool(version) and version_number(version) != version_number(_installed(backend, settings))
    words += ["--" + emulator, version] if fetched else []
    words += ["--cpu", cpu] if cpu else []
    words += ["--l0-kernel", kernel] if kernel else []
    words += [word for parameter in parameters for word in ("--kvm-param", parameter)]
    words += ["--l0-vmm", keys["vmm"]] if "vmm" in keys else []
    words += ["--walks", keys["walks"]] if "walks" in keys else []
    words += [word for section in keys.get("sections", "").split() for word in ("--image", section)]
    if backend == "kvm-on-bochs":
        group = "kvm" + ("-" + kernel if kernel else "")
        rest = ["bochs-" + version] if version else []
    else:
        group = backend + "-" + (version or _installed(backend, settings))
        rest = []
    rest += [cpu] if cpu else []
    rest += parameters
    rest += [keys[key] for key in ("vmm", "walks") if key in keys]
    return Target(" ".join([group, *rest]), group, " ".join(rest), tuple(words), tuple(keys.get("tests", "").split()))


def _installed(backend: str, settings: Settings) -> str:
    """Major and minor of the machine's own emulator; "" if there is none."""
    own = CLASSES["qemu-tcg" if backend.startswith("qemu") else "bochs"](settings)
    return ".".join(map(str, version_number(own.version()))) if not own.available() else ""


def here(settings: Settings, options: argparse.Namespace) -> List[Target]:
    """Every version of Bochs and QEMU that is installed or in the cache. Nothing is downloaded."""
    cache = cache_folder(options.cache, settings.environment)
    found: List[Target] = []
    for backend, kind in (("bochs", "bochs"), ("qemu-tcg", "qemu")):
        versions = [path.parent.name[len(kind) + 1:] for path in cache.glob("emulators/%s-*/%s" % (kind, kind))]
        versions += [_installed(backend, settings)]
        numbers = {version_number(version): version for version in versions if version_number(version)}  # the machine's own wins
        found += [_target(backend, numbers[number], "", "", (), {}, settings) for number in sorted(numbers)]
    if not CLASSES["qemu-kvm"](settings).available():
        found.append(_target("qemu-kvm", "", "", "", (), {}, settings))
    if not found:
        raise NothingToTest("--matrix default: there is no emulator, neither installed nor in %s" % cache)
    return found
