# SPDX-License-Identifier: BSD-2-Clause
"""What is booted, and how the process that does it is started."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional

from .images import Image


@dataclass(frozen=True)
class Boot:
    """One start of an image."""

    image: Image
    command_line: str
    smp: int
    memory: int  # MiB
    folder: Path  # private to this boot, and the emulator's working folder
    topology: str = ""  # sockets=, cores=, threads= of them, where the backend can
    limit: float = float("inf")  # seconds that the image may go without progress


@dataclass(frozen=True)
class Launch:
    """How to start it. The serial port is the FIFO of that name in the folder, or stdout."""

    argv: List[str]
    serial: Optional[str] = None
    fatal: Optional[bytes] = None  # when the emulator says this the machine is dead, though it may go on itself
