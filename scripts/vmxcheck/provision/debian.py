# SPDX-License-Identifier: BSD-2-Clause
"""Packages of any Debian release, by apt, without touching this machine's own apt or installing anything.

Each release gets a folder of its own with apt's lists and state, which knows no installed package. Apt checks the
signatures by the keyring of the package debian-archive-keyring.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence, Tuple

from ..errors import Problem

RELEASES = ("bullseye", "bookworm", "trixie", "forky", "sid")  # from the oldest
KERNEL_RELEASES = ("bullseye", "bookworm", "bookworm-backports", "trixie", "trixie-backports", "forky", "sid")
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
ARCHITECTURE = "amd64"


def run(words: Sequence[str], cwd: Optional[Path] = None) -> Tuple[int, str]:
    """Exit status (-1: it cannot be started) and what it printed."""
    try:
        done = subprocess.run(words, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              env={**os.environ, "LC_ALL": "C"})
    except OSError as error:
        return -1, "E: %s: %s" % (words[0], error.strerror)
    return done.returncode, done.stdout.decode("utf-8", "replace")


def complaint(output: str) -> str:
    """The line of apt's output that says what went wrong."""
    lines = [line for line in output.splitlines() if line.startswith(("E: ", "Err:"))] or output.splitlines()[-1:]
    return lines[-1][:300] if lines else "no reason given"


def mirror() -> str:
    """Where this machine gets Debian's packages."""
    status, output = run(["apt-get", "indextargets", "--format", "$(ORIGIN) $(REPO_URI)"])
    found: List[str] = re.findall(r"^Debian (\S+/debian/?)$", output, re.MULTILINE)
    if status or not found:
        raise Problem("packages of other Debian releases need a machine whose apt has a Debian mirror: apt names none%s"
                      % (" (%s)" % complaint(output) if status else ""))
    return found[0]


class Release:
    """The packages of one release of Debian."""

    def __init__(self, name: str, folder: Path, say: Callable[[str], None]) -> None:
        self.name = name
        self._folder = folder
        self._say = say
        self._updated = False

    def _options(self) -> List[str]:
        folder = self._folder
        settings = {
            "Dir::Etc::sourcelist": folder / "sources.list", "Dir::Etc::sourceparts": "-",
            "Dir::Etc::preferences": "-", "Dir::Etc::preferencesparts": "-",
            "Dir::State": folder / "state", "Dir::State::lists": folder / "lists", "Dir::State::status": folder / "status",
            "Dir::Cache": folder / "cache", "APT::Architecture": ARCHITECTURE, "APT::Architectures": ARCHITECTURE,
            "APT::Install-Recommends": "false", "APT::Sandbox::User": "root", "Acquire::Languages": "none",
            "Acquire::Retries": "2",
        }
        return [word for key, value in settings.items() for word in ("-o", "%s=%s" % (key, value))]

    def _apt(self, command: str, *words: str, cwd: Optional[Path] = None) -> Tuple[int, str]:
        program = "apt-cache" if command in ("show", "madison") else "apt-get"
        return run([program, *self._options(), "-q", command, *words], cwd)

    def update(self) -> None:
        """Fetch what the release has today."""
        if self._updated:
            return
        for part in ("state/lists/partial", "lists/partial", "cache/archives/partial"):
            (self._folder / part).mkdir(parents=True, exist_ok=True)
        (self._folder / "status").touch()
        (self._folder / "sources.list").write_text("deb [signed-by=%s] %s %s main\n" % (KEYRING, mirror(), self.name))
        self._say("looking what Debian %s has" % self.name)
        status, output = self._apt("update")
        if status or re.search(r"^(Err|W: Failed)", output, re.MULTILINE):
            raise Problem("Debian's release %s cannot be looked at (%s): is there a network?" % (self.name, complaint(output)))
        self._updated = True

    def version(self, package: str) -> str:
        """The newest version of a package, or ""."""
        self.update()
        _, output = self._apt("madison", package)
        match = re.search(r"\|\s*(\S+)\s*\|", output)
        return match.group(1) if match else ""

    def closure(self, package: str) -> List[str]:
        """The package and all that it depends on, with which version: NAME=VERSION."""
        status, output = self._apt("install", "-s", package)
        found = re.findall(r"^Inst (\S+) \((\S+)", output, re.MULTILINE)
        if status or not found:
            raise Problem("apt cannot say what the package %s of Debian %s depends on (%s)" % (package, self.name, complaint(output)))
        return ["%s=%s" % pair for pair in found]

    def show(self, package: str) -> str:
        """Apt's record of the newest version of a package."""
        self.update()
        status, output = self._apt("show", "--no-all-versions", package)
        if status:
            raise Problem("Debian %s has no package %s (%s)" % (self.name, package, complaint(output)))
        return output

    def download(self, packages: Sequence[str], to: Path) -> List[Path]:
        """Fetch packages (NAME or NAME=VERSION) into a folder that has no others."""
        to.mkdir(parents=True, exist_ok=True)
        self._say("fetching %d package%s of Debian %s" % (len(packages), "s"[len(packages) == 1:], self.name))
        status, output = self._apt("download", *packages, cwd=to)
        found = sorted(to.glob("*.deb"))
        if status or len(found) < len(packages):
            raise Problem("packages of Debian %s cannot be fetched (%s): is there a network?" % (self.name, complaint(output)))
        return found

    def unpack(self, packages: Sequence[str], to: Path) -> None:
        """Fetch packages, and unpack them into one folder."""
        for deb in self.download(packages, self._folder / "cache" / "debs"):
            status, output = run(["dpkg-deb", "-x", str(deb), str(to)])
            if status:
                raise Problem("%s cannot be unpacked (%s)" % (deb.name, complaint(output)))
            deb.unlink()


def find(package: str, version: str, releases: Sequence[str], cache: Path, say: Callable[[str], None]) -> Release:
    """The oldest of the releases whose package has that version, or one that begins with it."""
    has: Dict[str, str] = {}
    for name in releases:
        release = Release(name, cache / "debian" / name, say)
        has[name] = release.version(package)
        plain = has[name].partition(":")[2] or has[name]
        if plain == version or plain.startswith((version + ".", version + "+", version + "-", version + "~")):
            return release
    raise Problem("no Debian release has %s %s; there are %s" % (package, version, ", ".join(
        "%s (%s)" % (number, name) for name, number in has.items() if number)))
