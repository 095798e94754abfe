# SPDX-License-Identifier: BSD-2-Clause
"""One emulator process: started in a process group of its own, read without waiting, ended for good."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import List, Optional

from .launch import Launch

READ_SIZE = 65536
KEPT_OUTPUT = 65536  # of what the emulator itself says: so much from the front and so much from the end


class Emulator:
    """`descriptors()` become readable when there is something to do; `exited` tells when it is over."""

    how: Optional[str] = None  # how it ended, where it has time limits of its own
    words = ""  # what is known about its end, where that is more than it said
    alive_until = 0.0  # until then it needs no progress to be left alone (time.monotonic)

    def __init__(self, launch: Launch, folder: Path) -> None:
        self._head = b""
        self._tail = b""
        self._fifo: Optional[int] = None
        self._pidfd: Optional[int] = None
        self._gone: List[int] = []
        self._fatal = launch.fatal
        self.exited = False
        serial_is_stdout = launch.serial is None
        try:
            if launch.serial:
                # Opened for writing too: it never reports an end of its own, whoever opens and closes it.
                self._fifo = os.open(folder / launch.serial, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            self._process = subprocess.Popen(
                launch.argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE if serial_is_stdout else subprocess.STDOUT, start_new_session=True)
        except BaseException:
            if self._fifo is not None:
                os.close(self._fifo)
            raise
        pipes = [pipe.fileno() for pipe in (self._process.stdout, self._process.stderr) if pipe]
        for pipe in pipes:
            os.set_blocking(pipe, False)
        self._serial = pipes[0] if serial_is_stdout else self._fifo
        self._talk: Optional[int] = pipes[-1]
        try:
            self._pidfd = os.pidfd_open(self._process.pid)
        except (AttributeError, OSError):
            pass  # the caller's time-outs have to do

    def descriptors(self) -> List[int]:
        return [fd for fd in (self._serial, self._talk, self._pidfd) if fd is not None]

    @property
    def needs_polling(self) -> bool:
        return self._pidfd is None

    @property
    def process_id(self) -> int:
        return self._process.pid

    def findings(self) -> List[str]:
        """Complaints of the target itself since the last read()."""
        return []

    def closed(self) -> List[int]:
        """Descriptors that have come to their end since the last call: to be watched no more."""
        gone, self._gone = self._gone, []
        return gone

    def read(self) -> bytes:
        """The serial port's bytes, up to READ_SIZE; also keeps what the emulator says and sees its end."""
        if not self.exited and self._process.returncode is None:
            # Not reaped here: the process group's number must stay ours until kill().
            status = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            self.exited = status is not None
        self._listen()
        return self._read(self._serial) or b""

    def _read(self, fd: Optional[int]) -> Optional[bytes]:
        """None: nothing now. At the end of a pipe it is watched no more."""
        if fd is None:
            return None
        try:
            data = os.read(fd, READ_SIZE)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        if not data:
            self._gone = self._gone + [fd]
            if fd == self._serial:
                self._serial = None
            if fd == self._talk:
                self._talk = None
        return data

    def _listen(self) -> None:
        data = self._read(self._talk)
        if not data:
            return
        if self._fatal and self._fatal in (self._head + self._tail)[-len(self._fatal):] + data:
            self.exited = True
        room = KEPT_OUTPUT - len(self._head)
        self._head += data[:room]
        self._tail = (self._tail + data[room:])[-KEPT_OUTPUT:] if room < len(data) else self._tail

    def output(self) -> str:
        return (self._head + self._tail).decode("utf-8", "replace")

    def kill(self) -> None:
        """End the whole group, at once and whatever it ignores; collect the last words. Safe to call twice."""
        if self._process.returncode is None:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass
            self._process.wait()
        for _ in range(16):
            if self._talk is None or not self._read_talk_once():
                break

    def _read_talk_once(self) -> bool:
        before = len(self._head) + len(self._tail)
        self._listen()
        return len(self._head) + len(self._tail) != before

    def close(self) -> None:
        self.kill()
        for stream in (self._process.stdout, self._process.stderr):
            if stream:
                stream.close()
        for fd in (self._fifo, self._pidfd):
            if fd is not None:
                os.close(fd)
        self._fifo = self._pidfd = self._serial = self._talk = None
