# SPDX-License-Identifier: BSD-2-Clause
"""Kernels for L0: fetched by apt, never installed, and kept unpacked in a cache.

What is kept of one: its vmlinux (decompressed here, which is quicker than on Bochs) and the modules of KVM.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import lzma
import os
import re
import shutil
import struct
import subprocess
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, List, Mapping, Optional

from ..errors import Problem
from ..provision.debian import KERNEL_RELEASES, complaint, find, run

DEFAULT = "linux-image-cloud-amd64"  # Debian 12: Linux 6.1
MODULES = ("irqbypass", "kvm", "kvm-intel")  # in the order of loading
BUILT_IN = b"kvm_intel.nested\0"  # a parameter of it, as the kernel itself names it
INSTEAD = "or name a kernel that is here: --l0-kernel FILE.deb"
CHOICES = "--l0-kernel takes a version such as 6.12, a Debian package such as %s, its .deb, or a vmlinuz" % DEFAULT
BROKEN = "is it whole? Fetch it again (apt-get download)"


@dataclass(frozen=True)
class Kernel:
    folder: Path  # vmlinux, release, MODULE.ko

    @property
    def vmlinux(self) -> Path:
        return self.folder / "vmlinux"

    @property
    def release(self) -> str:
        return (self.folder / "release").read_text().strip()

    def modules(self) -> List[Path]:
        return [path for path in (self.folder / (name + ".ko") for name in MODULES) if path.exists()]

    def refuses(self, parameter: str) -> str:
        """Why MODULE.NAME=VALUE cannot be, as far as that is known before L0 runs, or ""."""
        word, _, value = parameter.partition("=")
        module, _, name = word.partition(".")
        path = self.folder / (module.replace("_", "-") + ".ko")
        if not path.exists():
            return ""  # built in: KVM itself says it
        data = path.read_bytes()
        types = dict(re.findall(rb"\0parmtype=([a-z0-9_]+):([a-z0-9_]+)", data))
        # Some have no type, but all a name.
        if name.encode() not in types and not re.search(rb"(?<!\w)" + name.encode() + rb"\0", data):
            return "%s of %s has no such parameter; it has %s" % (module, self.release, b", ".join(sorted(types)).decode())
        if module == "kvm_intel" and types.get(name.encode()) == b"bool" and value not in ("0", "1"):
            return "its value is 0 or 1"
        return ""


def cache_folder(option: Optional[Path], environment: Mapping[str, str]) -> Path:
    if option:
        return option
    base = environment.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else Path(environment.get("HOME", "/root")) / ".cache") / "vmxcheck"


def get(wanted: Optional[str], cache: Path, say: Callable[[str], None]) -> Kernel:
    """The kernel of a version, a package, a .deb or a vmlinuz (None: the default), from the cache if it is there."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with open(cache / "lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two runs at once fetch it once
            return _get(wanted, cache, say)
    except OSError as error:
        raise Problem("the cache %s cannot be used: %s; name another folder with --l0-cache" % (cache, error)) from None


def _get(wanted: Optional[str], cache: Path, say: Callable[[str], None]) -> Kernel:
    if wanted and ("/" in wanted or wanted.endswith(".deb") or os.path.exists(wanted)):
        return _from_files(_with_companions(Path(wanted)), cache, "--l0-kernel " + wanted)
    package = DEFAULT if wanted is None else wanted
    if not re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", package):
        raise Problem("--l0-kernel %s: neither a file nor the name of a package; %s" % (package or "''", CHOICES))
    name = cache / ("package-" + package)  # which kernel the package is: so that no network is needed the next time
    if name.exists() and (cache / name.read_text().strip() / "release").exists():
        return Kernel(cache / name.read_text().strip())
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=cache) as folder:
        debs = (_of_a_release if re.fullmatch(r"\d+\.\d+", package) else _fetch)(package, Path(folder), cache, say)
        kernel = _from_files(debs, cache, "the package " + package)
    name.write_text(kernel.folder.name + "\n")
    return kernel


# ---- fetching


def _depends(stanza: str) -> List[str]:
    match = re.search(r"^Depends: (.*)$", stanza, re.MULTILINE)
    return re.findall(r"(?:^|, )([a-z0-9][a-z0-9.+-]+)", match.group(1)) if match else []


def _parts(package: str, show: Callable[[str], str]) -> List[str]:
    """
    The packages that a kernel is made of. One such as linux-image-cloud-amd64 is empty and depends on the kernel of the
    day; from Linux 6.19 on that is empty too, and depends on linux-binary-RELEASE and linux-modules-RELEASE.
    """
    depends = _depends(show(package))
    real = next((name for name in depends if re.match(r"linux-image-[0-9]", name)), package)
    if re.match(r"linux-image-[0-9]+\.[0-9]+\.[0-9]", package):
        real = package
    depends = depends if real == package else _depends(show(real))
    return [real] + [name for name in depends if re.match(r"linux-(binary|modules)-[0-9]", name)]


def _fetch(package: str, folder: Path, _cache: Path, say: Callable[[str], None]) -> List[Path]:
    """By this machine's own apt."""
    def show(name: str) -> str:
        status, output = run(["apt-cache", "show", "--no-all-versions", name])
        if status:
            raise Problem("the kernel package %s is not known to apt (%s): run apt-get update as root, %s"
                          % (name, complaint(output), INSTEAD))
        return output

    return [_fetch_one(name, folder, say) for name in _parts(package, show)]


def _fetch_one(package: str, folder: Path, say: Callable[[str], None]) -> Path:
    status, output = run(["apt-get", "download", "--print-uris", package])
    match = re.search(r"^'(\S+)' (\S+\.deb) \d+ (?:SHA256:([0-9a-f]{64}))?", output, re.MULTILINE)
    if status or not match:
        raise Problem("apt does not say where the kernel package %s is (%s): run apt-get update as root, %s"
                      % (package, complaint(output), INSTEAD))
    address, _, checksum = match.groups()
    say("fetching %s" % address)
    before = set(folder.glob("*.deb"))
    status, output = run(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package], folder)
    found = set(folder.glob("*.deb")) - before
    if status or not found:
        raise Problem("the kernel package %s cannot be fetched from %s (%s): is there a network? Run apt-get update as root, %s"
                      % (package, address, complaint(output), INSTEAD))
    deb = found.pop()
    if checksum and hashlib.sha256(deb.read_bytes()).hexdigest() != checksum:
        raise Problem("%s is not what apt promised: its SHA256 is not %s" % (address, checksum))
    return deb


def _of_a_release(version: str, folder: Path, cache: Path, say: Callable[[str], None]) -> List[Path]:
    """The kernel of the Debian release that has that version of Linux."""
    release = find(DEFAULT, version, KERNEL_RELEASES, cache, say)
    return release.download(_parts(DEFAULT, release.show), folder)


# ---- unpacking


def _with_companions(path: Path) -> List[Path]:
    """A .deb of a kernel in several packages, and the others of it beside it."""
    match = re.match(r"linux-(?:image|binary|modules)-([^_]+)_", path.name)
    if path.suffix != ".deb" or not match:
        return [path]
    return sorted({path, *(other for part in ("binary", "modules")
                           for other in path.parent.glob("linux-%s-%s_*.deb" % (part, match.group(1))))})


def _from_files(paths: List[Path], cache: Path, what: str) -> Kernel:
    """One vmlinuz, or the .debs of one kernel. `what`: it, as the user knows it."""
    stamp = hashlib.sha256()
    try:
        for path in paths:
            stamp.update(path.read_bytes())
    except OSError as error:
        raise Problem("%s: %s; %s" % (what, error.strerror, CHOICES)) from None
    kernel = Kernel(cache / ("kernel-" + stamp.hexdigest()[:16]))
    if (kernel.folder / "release").exists():
        return kernel
    with tempfile.TemporaryDirectory(prefix="unpack-", dir=cache) as temporary:
        part = Path(temporary) / "kernel"
        part.mkdir()
        if paths[0].suffix == ".deb":
            tree = Path(temporary) / "tree"
            for path in paths:
                status, output = run(["dpkg-deb", "-x", str(path), str(tree)])
                if status:
                    raise Problem("%s cannot be unpacked (%s): %s" % (what, complaint(output), BROKEN))
            images = [found for places in ("boot/vmlinuz-*", "usr/lib/modules/*/vmlinuz", "lib/modules/*/vmlinuz")
                      for found in sorted(tree.glob(places))]
            if not images:
                raise Problem("%s is no kernel: there is neither boot/vmlinuz-* nor usr/lib/modules/*/vmlinuz in it%s; %s" % (
                    what, ", and no linux-binary-*.deb of it beside it" if paths[0].name.startswith("linux-") else "", CHOICES))
            _unpack(images[0], _module_folders(tree), part, what,
                    "not in it: is its linux-modules-*.deb beside it? Or name the package, and apt fetches all of it")
        else:
            folders = _module_folders(paths[0].resolve().parent.parent)
            # An installed kernel may be usr/lib/modules/RELEASE/vmlinuz itself.
            _unpack(paths[0], [*folders, paths[0].resolve().parent.parent], part, what,
                    "not in %s: put it there, or name the kernel's .deb" % (folders[0] / _release(paths[0].read_bytes(), what)))
        shutil.rmtree(kernel.folder, ignore_errors=True)
        part.rename(kernel.folder)
    return kernel


def _module_folders(tree: Path) -> List[Path]:
    """Where a tree has the modules of each release."""
    return [tree / "lib/modules", tree / "usr/lib/modules"]


def _unpack(image: Path, module_folders: List[Path], to: Path, what: str, where: str) -> None:
    """`where`: where its modules are not, with the remedy, should they be missing."""
    data = image.read_bytes()
    release = _release(data, what)
    vmlinux = _payload(data, what)
    (to / "vmlinux").write_bytes(vmlinux)
    folders = [folder / release for folder in module_folders]
    for name in MODULES:
        found = [path for folder in folders for path in sorted(folder.rglob(name + ".ko*"))]
        if found:
            (to / (name + ".ko")).write_bytes(_without_extras(_decompressed(found[0].read_bytes(), str(found[0])), str(found[0])))
        elif name == MODULES[-1] and BUILT_IN not in vmlinux:
            raise Problem("%s (%s) has no KVM built in, and its module %s is %s" % (what, release, name, where))
    (to / "release").write_text(release + "\n")


def _release(data: bytes, what: str) -> str:
    if len(data) < 0x1000 or data[0x1fe:0x200] != b"\x55\xaa" or data[0x202:0x206] != b"HdrS":
        raise Problem("%s is not a Linux kernel for x86 (bzImage); %s" % (what, CHOICES))
    at = struct.unpack_from("<H", data, 0x20e)[0] + 0x200
    return data[at:at + 256].split(b"\0")[0].split(b" ")[0].decode("ascii", "replace")


def _payload(data: bytes, what: str) -> bytes:
    """The vmlinux in a bzImage (the kernel's Documentation/x86/boot.rst: payload_offset, payload_length)."""
    offset, length = struct.unpack_from("<II", data, 0x248)
    start = ((data[0x1f1] or 4) + 1) * 512 + offset
    payload = data[start:start + length]
    if payload[:2] != b"\x1f\x8b":
        payload = payload[:-4]  # the size of what is in it
    vmlinux = _decompressed(payload, what)
    if vmlinux[:5] != b"\x7fELF\2":
        raise Problem("%s: no 64-bit vmlinux comes out of it: %s" % (what, BROKEN))
    return vmlinux


_TOOLS = ((b"\x02\x21\x4c\x18", "lz4"), (b"\x28\xb5\x2f\xfd", "zstd"))


def _decompressed(data: bytes, what: str) -> bytes:
    try:
        if data.startswith(b"\xfd7zXZ"):
            return lzma.decompress(data)
        if data.startswith(b"\x1f\x8b"):
            return gzip.decompress(data)
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise Problem("%s cannot be unpacked (%s): %s" % (what, error, BROKEN)) from None
    for magic, tool in _TOOLS:
        if data.startswith(magic):
            try:
                done = subprocess.run([tool, "-dc"], input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            except OSError:
                raise Problem("%s is compressed by %s: install the Debian package %s" % (what, tool, tool)) from None
            if done.returncode:
                words = " ".join(done.stderr.decode("utf-8", "replace").split())[:200]
                raise Problem("%s cannot be unpacked (%s: %s): %s" % (what, tool, words, BROKEN))
            return done.stdout
    return data


def _without_extras(module: bytes, what: str) -> bytes:
    """A module without its signature and type information, on which Bochs would spend seconds."""
    if module[:5] != b"\x7fELF\2":
        raise Problem("%s is no module for x86-64: %s" % (what, BROKEN))
    if module.endswith(b"~Module signature appended~\n"):
        length = struct.unpack_from(">I", module, len(module) - 28 - 4)[0]
        module = module[:len(module) - 28 - 12 - length]
    data = bytearray(module)
    table, = struct.unpack_from("<Q", data, 0x28)
    size, count, names = struct.unpack_from("<HHH", data, 0x3a)
    text, = struct.unpack_from("<Q", data, table + names * size + 0x18)
    for i in range(count):
        at = table + i * size
        name = text + struct.unpack_from("<I", data, at)[0]
        if bytes(data[name:data.index(0, name)]) in (b".BTF", b".BTF_ids"):
            struct.pack_into("<Q", data, at + 0x20, 0)
    return bytes(data)
