# SPDX-License-Identifier: BSD-2-Clause
"""The running L0: jobs go in through a disk, frames come out of port E9H (Bochs' stdout).

A Machine is one boot of L0 and lasts for many jobs. A Guest is one job, with the face of an Emulator, so
that the runner's loop sees an image on L0 as it sees any other.
"""

from __future__ import annotations

import os
import re
import struct
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Deque, Dict, List, Optional, Sequence, Tuple

from .. import verdict
from ..emulator import Emulator
from ..errors import Problem
from ..launch import Launch
from .options import MONITORS

MAILBOX = "jobs"
CONSOLE = "console"
MAILBOX_SIZE = 32 * 16 * 63 * 512
# struct job of l0/mailbox.h
HEAD = struct.Struct("<8sIIIIII32x")
MAGIC = b"VMXJOB1\0"
HEADER_SIZE, IMAGE_AT = 2048, 4096

BOOT_PATIENCE = 240.0  # seconds for the boot of L0
BOOT_CPU_SECONDS = 120.0  # of Bochs, for the same: many times what it takes
PATIENCE = 90.0  # seconds without a sign of life
KEPT_LINES = 400

_FRAME = re.compile(rb"\x02([HSOKPE])(..)", re.DOTALL)
# What the kernel says when something is wrong with it; the rest of its log is kept for people.
_FINDING = re.compile(
    r"WARNING: |BUG: |kernel BUG at|Oops: |general protection fault|[Uu]nable to handle|INFO: rcu|Kernel panic|soft lockup|"
    r"\b(vmwrite|vmread|vmptrld|vmclear|invept|invvpid)\b.*failed|Call to .* failed")


def _refused(parameters: Sequence[str], hello: Dict[str, str]) -> str:
    """The first MODULE.NAME=VALUE that KVM does not have, in words."""
    same = {"Y": "1", "N": "0"}
    for word in parameters:
        name, _, value = word.partition("=")
        if name not in hello:
            return "this kernel's KVM has no parameter %s: leave it out" % name
        if same.get(hello[name], hello[name]) != value:
            return "KVM did not take %s, it is %s: the processor may lack what it needs; leave it out" % (word, hello[name])
    return ""


@dataclass(frozen=True)
class Job:
    image: bytes
    command_line: str
    cpus: int
    memory: int  # MiB
    limit: float  # seconds of L0's time without progress; 0: none
    monitor: str


def finding_in(message: str) -> Optional[str]:
    """The part of a kernel message that makes it a finding."""
    match = _FINDING.search(message)
    if not match:
        return None
    # Process numbers and addresses differ where nothing else does.
    return re.sub(r"CPU: \d+ PID: \d+ ", "", re.sub(r"^\[ *[0-9.]+\] *", "", message)).strip()[:300]


class Machine:
    """One boot of L0; `folder` is its own."""

    def __init__(self, launch: Launch, folder: Path, parameters: Sequence[str] = ()) -> None:
        self.folder = folder
        self.problem = ""  # why L0 is not what was asked for
        self.refused = False  # a parameter is why
        self._parameters = parameters
        (folder / MAILBOX).touch()
        os.truncate(folder / MAILBOX, MAILBOX_SIZE)
        self.emulator = Emulator(launch, folder)
        self.hello: Dict[str, str] = {}
        self.boot_seconds = 0.0  # CPU seconds of Bochs until L0 was up
        self.frames: Deque[Tuple[str, bytes]] = deque()
        self.sign_of_life = time.monotonic()
        self.sequence = 0
        self._bytes = b""
        self._cpu = 0.0

    @property
    def alive(self) -> bool:
        return not self.emulator.exited

    def start(self, job: Job) -> None:
        """Put a job into the mailbox; L0 takes it when it has done with the one before."""
        if IMAGE_AT + len(job.image) > MAILBOX_SIZE:
            raise Problem("an image of %d bytes is too large for L0's mailbox" % len(job.image))
        self.sequence += 1
        header = HEAD.pack(MAGIC, self.sequence, len(job.image), round(job.limit * 1000), job.cpus, job.memory,
                           MONITORS.index(job.monitor)) + job.command_line.encode() + b"\0"
        if len(header) > HEADER_SIZE:
            raise Problem("a command line of %d bytes is too long for L0's mailbox" % len(job.command_line))
        header = header.ljust(HEADER_SIZE, b"\0")
        with open(self.folder / MAILBOX, "r+b", buffering=0) as disk:
            os.pwrite(disk.fileno(), job.image, IMAGE_AT)
            os.pwrite(disk.fileno(), header[512:], 512)
            os.pwrite(disk.fileno(), header[:512], 0)  # last: L0 looks for the sequence number
        self.sign_of_life = time.monotonic()

    def pump(self) -> None:
        """Take what Bochs has written. What is no frame is Bochs' own and in the Emulator's output."""
        while True:
            data = self.emulator.read()
            if not data:
                return
            self._bytes += data
            self._cut()

    def _cut(self) -> None:
        at = 0
        while True:
            match = _FRAME.search(self._bytes, at)
            if not match:
                # The front of a frame may still be on its way.
                start = self._bytes.find(b"\x02", max(at, len(self._bytes) - 3))
                self._bytes = self._bytes[start:] if start >= 0 else b""
                return
            end = match.end() + int.from_bytes(match.group(2), "little")
            if end > len(self._bytes):
                self._bytes = self._bytes[match.start():]
                return
            self._take(match.group(1).decode(), self._bytes[match.end():end])
            at = end

    def _take(self, kind: str, text: bytes) -> None:
        self.sign_of_life = time.monotonic()
        if kind == "H":
            self.boot_seconds = self.cpu_seconds()
            lines = text.decode("utf-8", "replace").splitlines()
            self.hello = dict(line.partition("=")[::2] for line in lines)
            problems = [line.partition("=")[2] for line in lines if line.startswith("problem=")]
            self.problem = problems[0] if problems else ""  # others follow from it
            if not self.problem:
                self.problem = _refused(self._parameters, self.hello)
                self.refused = bool(self.problem)
        elif kind != "P":
            if kind == "E":
                self.cpu_seconds()
            self.frames.append((kind, text))

    def cpu_seconds(self) -> float:
        """What Bochs has used of the processor."""
        try:
            fields = Path("/proc/%d/stat" % self.emulator.process_id).read_text().rpartition(")")[2].split()
            self._cpu = max(self._cpu, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"))
        except (OSError, IndexError):
            pass  # it has ended: what was seen last
        return self._cpu

    @property
    def silent_at(self) -> float:
        """The moment from which on its silence is taken for death."""
        if self.hello:
            return self.sign_of_life + PATIENCE
        # A machine that has much else to do boots L0 slowly, but Bochs takes no more of it.
        return min(self.sign_of_life + BOOT_PATIENCE, time.monotonic() + BOOT_CPU_SECONDS - self.cpu_seconds())

    @property
    def failure(self) -> str:
        """Why this boot of L0 is of no use, whatever is run on it, or ""."""
        if self.problem or self.hello or self.alive:
            return self.problem
        said = [line.strip() for line in self.console() if line.strip()]
        said = said or ["Bochs: " + words for words in re.findall(r">>PANIC<< (.*)", self.emulator.output())]
        return "L0's kernel does not boot: " + (said[-1][:200] if said else "it says nothing")

    def console(self) -> List[str]:
        """The kernel's own console: its last words, if it died."""
        try:
            return (self.folder / CONSOLE).read_text("utf-8", "replace").splitlines()
        except OSError:
            return []

    def close(self) -> None:
        self.emulator.close()


class Guest:
    """One job on a Machine, as the runner's loop wants it (see Emulator)."""

    def __init__(self, machine: Machine, job: Job) -> None:
        self._machine = machine
        self._log: List[str] = []
        self._findings: List[str] = []
        self._sequence = machine.sequence + 1
        self._mine = False  # frames are this job's
        self._said_console = len(machine.console())
        self.exited = False
        self.how: Optional[str] = None
        self.words = ""
        machine.start(job)

    def descriptors(self) -> List[int]:
        return self._machine.emulator.descriptors()

    @property
    def needs_polling(self) -> bool:
        return self._machine.emulator.needs_polling

    @property
    def alive_until(self) -> float:
        return self._machine.silent_at

    def closed(self) -> List[int]:
        return self._machine.emulator.closed()

    def read(self) -> bytes:
        """The image's bytes up to the next finding, which findings() then has."""
        self._machine.pump()
        data = b""
        if self._machine.problem and not self.exited:
            self._end("error " + self._machine.problem)
            self._machine.emulator.kill()
            self._machine.emulator.exited = True
        while self._machine.frames and not self.exited:
            kind, text = self._machine.frames[0]
            if data and kind not in ("O", "S"):
                return data
            self._machine.frames.popleft()
            if kind == "S":
                self._mine = text == b"%d" % self._sequence
            elif kind == "O" and self._mine:
                data += text
            elif kind == "K":
                self._hear(text.decode("utf-8", "replace"))
                if self._findings:
                    return data
            elif kind == "E" and self._mine:
                self._end(text.decode("utf-8", "replace"))
        if not data and not self.exited and not self._machine.alive:
            self._died()
        return data

    def _hear(self, message: str) -> None:
        if len(self._log) < KEPT_LINES:
            self._log.append("L0 kernel: " + message)
        found = finding_in(re.sub(r"^<\d>", "", message))
        if found:
            self._findings.append(found)

    def _end(self, text: str) -> None:
        kind, _, words = text.partition(" ")
        self.exited = True
        self.how = verdict.LIMIT if kind == "limit" else None
        self.words = words
        self._log.append("L0: %s: %s" % (kind, words))

    def _died(self) -> None:
        """L0 is gone: its console says why."""
        self.exited = True
        lines = self._machine.console()[self._said_console:]
        self._log += ["L0 console: " + line for line in lines[-KEPT_LINES:]]
        found = [text for text in map(finding_in, lines) if text]
        self._findings += found
        if not self._machine.hello:
            self.words = "L0 did not boot" + (": " + lines[-1].strip() if lines else "")
        else:
            self.words = "L0 died" + (": " + found[0] if found else "")

    def findings(self) -> List[str]:
        """What the kernel below complained of since the last call."""
        found, self._findings = self._findings, []
        return found

    def output(self) -> str:
        own = self._machine.emulator.output() if not self._machine.alive else ""
        return "".join(line + "\n" for line in self._log) + own

    def kill(self) -> None:
        """A job that has not ended by itself takes L0 with it."""
        if not self.exited:
            lines = self._machine.console()
            self._log += ["L0 console: " + line for line in lines[self._said_console:][-KEPT_LINES:]]
            self._machine.emulator.kill()
            self._machine.emulator.exited = True

    def close(self) -> None:
        self.kill()
