# SPDX-License-Identifier: BSD-2-Clause
"""One boot of a target: its command's process, and its serial port. The face of an Emulator."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import Callable, Dict, List, Optional

from ..emulator import Emulator
from .ports import Port
from .spec import KILL, TERM, Target

LAG = 1.0  # seconds of silence behind the end of a command, before what is on its way from elsewhere has come
TIME_TO_TERM = 5.0
TIME_TO_END = 60.0  # of the command that ends a machine


class Machine(Emulator):
    def __init__(self, argv: List[str], target: Target, environment: Dict[str, str], port: Optional[Port],
                 end: Callable[[], List[str]]) -> None:
        self._head = self._tail = b""
        self._fifo = None
        self._fatal = None
        self._gone: List[int] = []
        self._target, self._port, self._end_words, self._environment = target, port, end, environment
        self._end = target.end
        self._killed = False
        self._is_over = False  # the command
        self._silent_since = 0.0
        self._heard = False
        self.exited = False
        self.words = ""
        self._process = subprocess.Popen(
            argv, cwd=target.base, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if port else subprocess.PIPE, start_new_session=True)
        pipes = [pipe.fileno() for pipe in (self._process.stdout, self._process.stderr) if pipe]
        for pipe in pipes:
            os.set_blocking(pipe, False)
        self._serial = port.fd if port else pipes[0]
        self._talk: Optional[int] = pipes[-1]
        try:
            self._pidfd: Optional[int] = os.pidfd_open(self._process.pid)
        except (AttributeError, OSError):
            self._pidfd = None

    @property
    def needs_polling(self) -> bool:
        return self._pidfd is None or self._is_over or (self._port is not None and self._port.fd is None)

    def read(self) -> bytes:
        if not self._is_over:
            # Not reaped here: the process group's number must stay ours until kill().
            status = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if status is not None:
                self._is_over = True
                self._silent_since = time.monotonic()
                self.words = _how(self._target.argv[0], status.si_code, status.si_status)
                if self._pidfd is not None:  # it stays readable for ever
                    self._gone = self._gone + [self._pidfd]
                    os.close(self._pidfd)
                    self._pidfd = None
        self._listen()
        data = (self._port.read() if self._port else self._read(self._serial)) or b""
        if self._port and self._port.ended and self._port.fd is not None and self._serial is not None:
            self._gone = self._gone + [self._serial]
            self._serial = None
        if data:
            self._heard = True
            self._silent_since = time.monotonic()
        elif not self.exited:
            self.exited = self._over()
        return data

    def _over(self) -> bool:
        """Whether nothing more will come."""
        if self._target.returns:
            failed = self._is_over and "status" in self.words
            gone = self._port is not None and self._port.ended and self._heard
            if gone:
                self.words = "its serial port was closed"
            return failed or gone
        if not self._is_over:
            return False
        return not (self._port and self._port.lags and not self._port.ended) or time.monotonic() - self._silent_since > LAG

    def kill(self) -> None:
        if self._killed:
            return
        self._killed = True
        end = self._end
        if end == TERM:
            self._terminate()
        elif end != KILL:
            self._run_end()
        super().kill()
        last = [line.strip() for line in self.output().splitlines() if line.strip()]
        said = [self.words] if self.words else []
        said += ["it said: " + last[-1][:200]] if last else []
        said += [self._port.complaint()] if self._port and not self._heard and self._port.complaint() else []
        self.words = "; ".join(said)

    def _terminate(self) -> None:
        if self._is_over:
            return
        try:
            os.killpg(self._process.pid, signal.SIGTERM)
        except OSError:
            return
        limit = time.monotonic() + TIME_TO_TERM
        while time.monotonic() < limit:
            if os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                return
            self._listen()
            time.sleep(0.01)

    def _run_end(self) -> None:
        words = self._end_words()
        try:
            done = subprocess.run(words, cwd=self._target.base, env=self._environment, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TIME_TO_END)
            said, status = done.stdout, done.returncode
        except subprocess.TimeoutExpired:
            said, status = b"no end after %d s\n" % TIME_TO_END, -1
        except OSError as error:
            said, status = str(error).encode() + b"\n", -1
        if status:
            self._tail += b"\nend: `%s` ended with status %d: " % (words[0].encode(), status) + said

    def close(self) -> None:
        super().close()
        if self._port:
            self._port.close()
            self._port = None


def _how(program: str, code: int, status: int) -> str:
    name = os.path.basename(program)
    if code == os.CLD_EXITED:
        return "`%s` ended%s" % (name, " with status %d" % status if status else "")
    return "`%s` was ended by %s" % (name, signal.Signals(status).name)
