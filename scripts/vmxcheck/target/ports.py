# SPDX-License-Identifier: BSD-2-Clause
"""The ways by which a serial port comes here. Each is opened before the machine is started, and read without waiting."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import termios
import time
import tty
from pathlib import Path
from typing import Callable, Dict, List, Optional, Set

from ..errors import Problem
from .spec import Target, fill

READ_SIZE = 65536
AGAIN = 0.3  # seconds between two starts of a command that shows a serial port
SPEEDS = {int(name[1:]): getattr(termios, name) for name in dir(termios) if name[1:].isdigit() and name.startswith("B")}


class Port:
    """`place` is what {serial} stands for; `fd` what may be watched, None where read() has to be called again and again."""

    place = ""
    fd: Optional[int] = None
    ended = False  # no more will come
    lags = False  # bytes may still be on their way when the machine's process has gone

    def read(self) -> bytes:
        """What there is; b"" if there is nothing now."""
        if self.fd is None or self.ended:
            return b""
        try:
            data = os.read(self.fd, READ_SIZE)
        except BlockingIOError:
            return b""
        except OSError:  # a pseudo-terminal's end
            data = b""
        self.ended = not data
        return data

    def close(self) -> None:
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None

    def complaint(self) -> str:
        """Why nothing came, if that is known."""
        return ""


class File(Port):
    """A file that grows: one of this boot, or one at a place of its own, of which what is there already is old."""

    def __init__(self, place: str, fresh: bool) -> None:
        self.place = place
        self._file: Optional[int] = None
        self._at = 0
        if fresh:
            Path(place).touch()
        else:
            try:
                self._at = os.path.getsize(place)
            except OSError:
                pass

    def read(self) -> bytes:
        try:
            if self._file is None:
                self._file = os.open(self.place, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            elif not os.path.exists(self.place) or os.stat(self.place).st_ino != os.fstat(self._file).st_ino:
                os.close(self._file)  # written anew
                self._file, self._at = None, 0
                return b""
            if os.fstat(self._file).st_size < self._at:
                self._at = 0
            data = os.pread(self._file, READ_SIZE, self._at)
        except OSError:
            return b""
        self._at += len(data)
        return data

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def complaint(self) -> str:
        return "" if os.path.exists(self.place) else "%s was never written" % self.place


class Fifo(Port):
    def __init__(self, place: str) -> None:
        self.place = place
        os.mkfifo(place)
        # For writing too: it never reports an end of its own, whoever opens and closes it.
        self.fd = os.open(place, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)


class Pty(Port):
    def __init__(self) -> None:
        self.fd, self._slave = os.openpty()  # the slave stays open, for the same reason
        tty.setraw(self._slave)
        os.set_blocking(self.fd, False)
        self.place = os.ttyname(self._slave)

    def close(self) -> None:
        super().close()
        os.close(self._slave)


class Socket(Port):
    """The machine listens there, and this connects as soon as it does; or the other way round."""

    def __init__(self, family: int, address: object, place: str, listen: bool) -> None:
        self.place = place
        self._family, self._address = family, address
        self._connected = False
        self._why = ""
        self._socket: Optional[socket.socket] = None
        self._listener = socket.socket(family, socket.SOCK_STREAM) if listen else None
        if self._listener:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind(address)  # type: ignore[arg-type]
            self._listener.listen(1)
            self._listener.setblocking(False)
        self.lags = family == socket.AF_INET

    def _connect(self) -> bool:
        try:
            if self._listener:
                self._socket = self._listener.accept()[0]
            else:
                self._socket = self._socket or socket.socket(self._family, socket.SOCK_STREAM)
                self._socket.settimeout(0.5)
                self._socket.connect(self._address)  # type: ignore[arg-type]
            self._socket.setblocking(False)
            return True
        except BlockingIOError:
            return False
        except OSError as error:
            self._why = "%s: %s" % (self.place, error.strerror or error)
            if self._socket:
                self._socket.close()
            self._socket = None
            return False

    def read(self) -> bytes:
        self._connected = self._connected or self._connect()
        if not self._connected or self.ended:
            return b""
        assert self._socket
        try:
            data = self._socket.recv(READ_SIZE)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        self.ended = not data
        return data

    def close(self) -> None:
        for one in (self._socket, self._listener):
            if one:
                one.close()
        self._socket = self._listener = None

    def complaint(self) -> str:
        return "" if self._connected else "nobody came to %s" % self.place if self._listener else self._why


class Tty(Port):
    """A serial line of this machine: DEVICE[,SPEED[,SETTING...]], settings as stty takes them."""

    lags = True

    def __init__(self, value: str) -> None:
        self.place, *more = value.split(",")
        speed = int(more[0]) if more and more[0].isdigit() else 115200
        settings = more[1:] if more and more[0].isdigit() else more
        if speed not in SPEEDS:
            raise Problem("serial = tty:%s: %d is no speed of a serial line" % (value, speed))
        self.fd = os.open(self.place, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            tty.setraw(self.fd)
            mode = termios.tcgetattr(self.fd)
            mode[2] = mode[2] & ~termios.CRTSCTS | termios.CLOCAL | termios.CREAD
            mode[4] = mode[5] = SPEEDS[speed]
            termios.tcsetattr(self.fd, termios.TCSANOW, mode)
            if settings:
                subprocess.run(["stty", "-F", self.place, *settings], check=True, capture_output=True)
            termios.tcflush(self.fd, termios.TCIFLUSH)
        except (termios.error, subprocess.CalledProcessError, FileNotFoundError) as error:
            said = getattr(error, "stderr", b"")
            os.close(self.fd)
            raise Problem("serial = tty:%s: %s" % (value, said.decode().strip() if said else error)) from None


class Console(Port):
    """A command that shows the serial port: ssh, virsh console, xl console, ipmitool sol activate.

    It runs on a terminal of its own, as many of them want one. If it ends before anything has come it is started
    again: the machine may not be there yet.
    """

    lags = True

    def __init__(self, argv: List[str], base: Path, environment: Dict[str, str]) -> None:
        self.place = argv[0]
        self._argv, self._base, self._environment = argv, base, environment
        self._heard = False
        self._next = 0.0
        self._said = b""
        self._process: Optional["subprocess.Popen[bytes]"] = None
        self._start()

    def _start(self) -> None:
        master, slave = os.openpty()
        tty.setraw(slave)
        os.set_blocking(master, False)
        try:
            self._process = subprocess.Popen(self._argv, cwd=self._base, env=self._environment, stdin=slave, stdout=slave, stderr=slave,
                                             start_new_session=True)
        except OSError as error:
            os.close(master)
            raise Problem("serial = command: %s: %s" % (self._argv[0], error.strerror)) from None
        finally:
            os.close(slave)
        self._master: Optional[int] = master

    def read(self) -> bytes:
        if self._master is None:
            if not self.ended and time.monotonic() >= self._next:
                self._start()
            return b""
        try:
            data = os.read(self._master, READ_SIZE)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if data:
            self._said = (self._said + data)[-4096:]
            self._heard = self._heard or b"TAP version" in self._said
            return data
        self._stop()
        self.ended = self._heard
        self._next = time.monotonic() + AGAIN
        return b""

    def _stop(self) -> None:
        if self._process and self._process.poll() is None:
            try:
                os.killpg(self._process.pid, 9)
            except OSError:
                pass
        if self._process:
            self._process.wait()
        if self._master is not None:
            os.close(self._master)
            self._master = None

    def close(self) -> None:
        self._stop()

    def complaint(self) -> str:
        lines = [line.strip() for line in self._said.decode("utf-8", "replace").splitlines() if line.strip()]
        return "" if self._heard else "`%s` said: %s" % (self._argv[0], lines[-1][:160]) if lines else "`%s` said nothing" % self._argv[0]


_given: Set[int] = set()


def free_port() -> int:
    """A TCP port that nobody has now, and that this run has given to nobody."""
    for _ in range(100):
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port: int = one.getsockname()[1]
        if port not in _given:
            break
    _given.add(port)
    return port


def opened(target: Target, folder: Path, value: Callable[[str], str], environment: Dict[str, str]) -> Optional[Port]:
    """The port of one boot; None: it is the command's stdout. OSError, Problem: it cannot be had."""
    kind, text = target.serial
    place = str(target.base / fill(text, value)) if text and kind in ("file", "unix", "unix-listen") else fill(text, value)
    if kind == "stdout":
        return None
    if kind == "file":
        return File(place or str(folder / "serial"), not place)
    if kind == "fifo":
        return Fifo(str(folder / "serial"))
    if kind == "pty":
        return Pty()
    if kind == "tty":
        return Tty(place)
    if kind == "command":
        return Console([fill(word, value) for word in shlex.split(text)], target.base, environment)
    if kind in ("unix", "unix-listen"):
        place = place or str(folder / "serial")
        return Socket(socket.AF_UNIX, place, place, kind == "unix-listen")
    host, _, port = place.rpartition(":") if place else ("127.0.0.1", "", value("port"))
    return Socket(socket.AF_INET, (host, int(port)), "%s:%s" % (host, port), kind == "tcp-listen")
