# SPDX-License-Identifier: BSD-2-Clause
"""A hypervisor in a hundred lines: it takes a kernel, words and a place for the serial port as many do, and says what an image
would. fault=... among the words makes it a bad one.

    fake_vmm.py --kernel FILE --append WORDS [--serial stdout|file:PATH|unix:PATH|unix-listen:PATH|tcp:PORT|tcp-listen:PORT|none]
                [--detach PIDFILE]     start the machine, and return
                [--log FILE]           write there what it was started with
"""
import argparse
import os
import socket
import sys
import time

TESTS = {"t.one": "the first", "t.two": "the one with the fault", "t.two.b": "a neighbour", "u.three": "the last"}
BOOT_LOADER = b"\x1b[2J\x1b[01;01H\x1b[=3hSeaBIOS\r\n\x1b[0m\x1b[?25lGNU GRUB  version 2.06\r\n  ok, booting \xff\x00\x80 `all'\r\n"


class Serial:
    def __init__(self, spec: str) -> None:
        kind, _, place = spec.partition(":")
        self.write = getattr(self, kind.replace("-", "_"))(place)

    @staticmethod
    def stdout(_: str):  # type: ignore[no-untyped-def]
        return lambda data: os.write(1, data)

    @staticmethod
    def none(_: str):  # type: ignore[no-untyped-def]
        return len

    @staticmethod
    def file(place: str):  # type: ignore[no-untyped-def]
        number = os.open(place, os.O_WRONLY | os.O_CREAT, 0o644)
        return lambda data: os.write(number, data)

    @staticmethod
    def _socket(family: int, address: object, listen: bool):  # type: ignore[no-untyped-def]
        one = socket.socket(family, socket.SOCK_STREAM)
        if listen:
            one.bind(address)  # type: ignore[arg-type]
            one.listen(1)
            one = one.accept()[0]  # a machine that waits for its console
        else:
            one.connect(address)  # type: ignore[arg-type]
        return one.send

    def unix(self, place: str):  # type: ignore[no-untyped-def]
        return self._socket(socket.AF_UNIX, place, False)

    def unix_listen(self, place: str):  # type: ignore[no-untyped-def]
        return self._socket(socket.AF_UNIX, place, True)

    def tcp(self, place: str):  # type: ignore[no-untyped-def]
        return self._socket(socket.AF_INET, ("127.0.0.1", int(place)), False)

    def tcp_listen(self, place: str):  # type: ignore[no-untyped-def]
        return self._socket(socket.AF_INET, ("127.0.0.1", int(place)), True)


def run(words: str, serial: Serial) -> None:
    values = dict(word.partition("=")[::2] for word in words.split())
    fault = values.get("fault", "")

    def say(text: str) -> None:
        data = text.replace("\n", "\r\n").encode("latin-1")
        while data:
            data = data[serial.write(data):]

    tests = list(TESTS)
    if "tests" in values:  # "0,2-3"
        ranges = [part.partition("-") for part in values["tests"].split(",")]
        tests = [t for n, t in enumerate(TESTS) if any(int(first) <= n <= int(last or first) for first, _, last in ranges)]
    if "after" in values:
        tests = tests[tests.index(values["after"]) + 1:]
    if fault == "mute":
        sys.exit(0)
    if fault == "silent":
        time.sleep(60)
    serial.write(BOOT_LOADER)
    say("TAP version 13\n# vmxcheck 0.1 image=fake cpus=1\n# command line: %s\n1..%d\n" % (words, len(tests)))
    for number, test in enumerate(tests, 1):
        say("# begin %s\n" % test)
        if test == "t.two" and fault == "crash":
            print("triple fault at 0xdead", file=sys.stderr)
            sys.exit(7)
        if test == "t.two" and fault == "reset":
            say("TAP version 13\n")
        if test == "t.two" and fault in ("hang", "reset"):
            time.sleep(60)
        if test == "t.two" and fault == "cut":
            say("ok %d - t.t" % number)
            sys.exit(0)
        say("%sok %d - %s: %s\n" % ("not " if test == "t.two" and fault == "fail" else "", number, test, TESTS[test]))
    if fault == "endless":
        say("ok 99 - one.more: behind all\n")
    say("# end\n")
    if fault != "exit":
        time.sleep(60)  # it halts, as a machine does that knows no way to end


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("kernel", "append", "serial", "detach", "log"):
        parser.add_argument("--" + name, default={"serial": "stdout"}.get(name, ""))
    options = parser.parse_args()
    if not os.path.exists(options.kernel):
        sys.exit("no kernel %s" % options.kernel)
    if options.log:
        with open(options.log, "a", encoding="utf-8") as log:
            log.write("%s\n%s\n%s\n" % (os.getcwd(), os.environ.get("VMXCHECK" "_WORDS"), options.append))
    if options.detach:
        child = os.fork()
        if child:
            with open(options.detach, "w", encoding="ascii") as file:
                file.write("%d" % child)
            os._exit(0)
        os.setsid()
        os.closerange(0, 3)
    run(options.append, Serial(options.serial))


if __name__ == "__main__":
    main()
