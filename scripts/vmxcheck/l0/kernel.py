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
from typing import Callable, List, Mapping, Optional, Tuple

from ..errors import Problem

DEFAULT = "linux-image-cloud-amd64"  # Debian 12: Linux 6.1
MODULES = ("irqbypass", "kvm", "kvm-intel")  # in the order of loading
BUILT_IN = b"kvm_intel.nested\0"  # a parameter of it, as the kernel itself names it
INSTEAD = "or name a kernel that is here: --l0-kernel FILE.deb"
CHOICES = "--l0-kernel takes a Debian package such as %s, its .deb, or a vmlinuz" % DEFAULT
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
    """The kernel of a package, of a .deb or of a vmlinuz (None: the default), from the cache if it is there."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with open(cache / "lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two runs at once fetch it once
            return _get(wanted, cache, say)
    except OSError as error:
        raise Problem("the cache %s cannot be used: %s; name another folder with --l0-cache" % (cache, error)) from None


def _get(wanted: Optional[str], cache: Path, say: Callable[[str], None]) -> Kernel:
    if wanted and ("/" in wanted or wanted.endswith(".deb") or os.path.exists(wanted)):
        return _from_file(Path(wanted), cache, "--l0-kernel " + wanted)
    package = DEFAULT if wanted is None else wanted
    if not re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", package):
        raise Problem("--l0-kernel %s: neither a file nor the name of a package; %s" % (package or "''", CHOICES))
    name = cache / ("package-" + package)  # which kernel the package is: so that no network is needed the next time
    if name.exists() and (cache / name.read_text().strip() / "release").exists():
        return Kernel(cache / name.read_text().strip())
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=cache) as folder:
        deb = _fetch(package, Path(folder), say)
        kernel = _from_file(deb, cache, "the package " + package)
    name.write_text(kernel.folder.name + "\n")
    return kernel


# ---- fetching


def _run(*words: str, cwd: Optional[Path] = None) -> Tuple[int, str]:
    try:
        done = subprocess.run(words, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              env={**os.environ, "LC_ALL": "C"})
    except OSError as error:
        return -1, "E: %s: %s" % (words[0], error.strerror)
    return done.returncode, done.stdout.decode("utf-8", "replace")


def _complaint(output: str) -> str:
    lines = [line for line in output.splitlines() if line.startswith(("E: ", "Err:"))] or output.splitlines()[-1:]
    return lines[-1][:300] if lines else "no reason given"


def _real_package(package: str) -> str:
    """A package such as linux-image-cloud-amd64 is empty and depends on the kernel of the day."""
    status, output = _run("apt-cache", "show", "--no-all-versions", package)
    if status:
        raise Problem("the kernel package %s is not known to apt (%s): run apt-get update as root, %s"
                      % (package, _complaint(output), INSTEAD))
    match = re.search(r"^Depends: .*?\b(linux-image-[0-9]\S*)", output, re.MULTILINE)
    return match.group(1) if match and not re.match(r"linux-image-[0-9]+\.[0-9]+\.[0-9]", package) else package


def _fetch(package: str, folder: Path, say: Callable[[str], None]) -> Path:
    real = _real_package(package)
    status, output = _run("apt-get", "download", "--print-uris", real)
    match = re.search(r"^'(\S+)' (\S+\.deb) \d+ (?:SHA256:([0-9a-f]{64}))?", output, re.MULTILINE)
    if status or not match:
        raise Problem("apt does not say where the kernel package %s is (%s): run apt-get update as root, %s"
                      % (real, _complaint(output), INSTEAD))
    address, _, checksum = match.groups()
    say("fetching %s" % address)
    status, output = _run("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", real, cwd=folder)
    found = list(folder.glob("*.deb"))
    if status or not found:
        raise Problem("the kernel package %s cannot be fetched from %s (%s): is there a network? Run apt-get update as root, %s"
                      % (real, address, _complaint(output), INSTEAD))
    if checksum and hashlib.sha256(found[0].read_bytes()).hexdigest() != checksum:
        raise Problem("%s is not what apt promised: its SHA256 is not %s" % (address, checksum))
    return found[0]


# ---- unpacking


def _from_file(path: Path, cache: Path, what: str) -> Kernel:
    """`what`: the file, as the user knows it."""
    try:
        stamp = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise Problem("%s: %s; %s" % (what, error.strerror, CHOICES)) from None
    kernel = Kernel(cache / ("kernel-" + stamp))
    if (kernel.folder / "release").exists():
        return kernel
    with tempfile.TemporaryDirectory(prefix="unpack-", dir=cache) as temporary:
        part = Path(temporary) / "kernel"
        part.mkdir()
        if path.suffix == ".deb":
            tree = Path(temporary) / "tree"
            status, output = _run("dpkg-deb", "-x", str(path), str(tree))
            if status:
                raise Problem("%s cannot be unpacked (%s): %s" % (what, _complaint(output), BROKEN))
            images = sorted(tree.glob("boot/vmlinuz-*"))
            if not images:
                raise Problem("%s is no kernel: there is no boot/vmlinuz-* in it; %s" % (what, CHOICES))
            _unpack(images[0], tree, part, what)
        else:
            _unpack(path, path.resolve().parent.parent, part, what)
        shutil.rmtree(kernel.folder, ignore_errors=True)
        part.rename(kernel.folder)
    return kernel


def _unpack(image: Path, tree: Path, to: Path, what: str) -> None:
    data = image.read_bytes()
    release = _release(data, what)
    vmlinux = _payload(data, what)
    (to / "vmlinux").write_bytes(vmlinux)
    modules = tree / "lib/modules" / release
    for name in MODULES:
        found = sorted(modules.rglob(name + ".ko*"))
        if found:
            (to / (name + ".ko")).write_bytes(_without_extras(_decompressed(found[0].read_bytes(), str(found[0])), str(found[0])))
        elif name == MODULES[-1] and BUILT_IN not in vmlinux:
            raise Problem("%s (%s) has no KVM built in, and its module %s is not in %s: put it there, or name the kernel's .deb"
                          % (what, release, name, modules))
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
        if data[name:data.index(0, name)] in (b".BTF", b".BTF_ids"):
            struct.pack_into("<Q", data, at + 0x20, 0)
    return bytes(data)
