# SPDX-License-Identifier: BSD-2-Clause
"""A stand-in for Bochs: finds the ROM and the serial port in its bochsrc, and does what fault= in the ROM's
command line says. FAKE_STATE names a folder where it leaves its process id and counts its starts.
"""
import os
import signal
import sys
import time

TESTS = {"t.one": "the first", "t.two": "the one with the fault", "t.two.b": "a neighbour", "u.three": "the last"}
STREAMS = {
    "plan-large": "1..9\n{all}# end\n",
    "plan-small": "1..2\n{all}# end\n",
    "numbers": "1..4\n{one}# begin t.two\nok 7 - t.two: x\n{rest}# end\n",
    "twice": "1..4\n{one}# begin t.one\nnot ok 2 - t.one: x\n{rest}# end\n",
    "stranger": "1..4\n{one}# begin t.strange\nok 2 - t.strange: x\n{rest}# end\n",
    "no-plan": "{all}# end\n",
    "second-plan": "1..4\n{one}1..4\n{two}{rest}# end\n",
    "late-point": "1..4\n{all}# end\nok 5 - t.one: again\n",
    "none": "1..0 # SKIP nothing to see\n# end\n",
    "bail": "1..4\n{one}Bail out! enough of it\n",
    "bail-at-once": "Bail out! unknown word\n",
    "skip-all": "1..4\nok 1 - t.one: a # SKIP no one\nok 2 - t.two: b # SKIP no one\n"
                "ok 3 - t.two.b: c # SKIP no two\nok 4 - u.three: d # SKIP no two\n# end\n",
    "todo": "1..4\n{one}# begin t.two\nnot ok 2 - t.two: x # TODO the image excuses itself\n{rest}# end\n",
    "notes": "1..4\n{one}# begin t.two\n# note: bits 0x8 are 1\n# note: and so is another\nok 2 - t.two: x\n{rest}# end\n",
    "fail_twice": "1..4\n{one}# begin t.two\nnot ok 2 - t.two: x\n  ---\n  check: \"a\"\n  checks: 3\n  failed: 2\n  ...\n{rest}# end\n",
    "unfinished": "1..4\n{one}# begin t.two\n# begin t.two.b\nok 2 - t.two.b: x\n# begin u.three\nok 3 - u.three: x\n# end\n",
}
POINT = "# begin %s\nok %d - %s: %s\n"


class Image:
    def __init__(self) -> None:
        words = dict(word.partition("=")[::2] for word in self.command_line().split())
        self.fault = words.get("fault", "pass")
        self.names = words.get("names", "case_1").split(",")
        self.serial = open(self.option("com1", "dev"), "wb", buffering=0)
        tests = list(TESTS)
        if "tests" in words:
            ranges = [item.partition("-") for item in words["tests"].split(",")]
            tests = [t for n, t in enumerate(TESTS) if any(int(first) <= n <= int(last or first) for first, _, last in ranges)]
        if "skip" in words:
            tests = [t for t in tests if t not in words["skip"].split(",")]
        if "after" in words and self.fault != "deaf":
            tests = tests[tests.index(words["after"]) + 1:]
        self.tests = tests

    @staticmethod
    def option(line: str, key: str) -> str:
        rc = open(sys.argv[sys.argv.index("-f") + 1], encoding="utf-8").read()
        found = [text for text in rc.splitlines() if text.startswith(line + ":")][0]
        return dict(p.strip().partition("=")[::2] for p in found.partition(":")[2].split(","))[key]

    def command_line(self) -> str:
        rom = open(self.option("romimage", "file"), "rb").read()
        at = rom.index(b"VMXCHECK-CMDLINE") + 16
        return rom[at:rom.index(b"\0", at)].decode()

    def say(self, text: str) -> None:
        data = text.encode("latin-1")
        while data:
            data = data[self.serial.write(data):]

    def end(self, words: str = ">>PANIC<< Shutdown port: shutdown requested") -> None:
        print(words, flush=True)
        os._exit(1)

    def run(self) -> None:
        if self.fault == "silent":
            self.end()
        if self.fault == "silent-hang":
            time.sleep(60)
        if self.fault == "stdout-flood":
            for _ in range(4000):
                print("x" * 1000)
        self.say("firmware noise \x1b[2J\r\nTAP version 13\n# vmxcheck 0.1 image=fake cpus=1\n")
        if self.fault in STREAMS:
            points = [POINT % (t, n, t, TESTS[t]) for n, t in enumerate(TESTS, 1)]
            self.say(STREAMS[self.fault].format(all="".join(points), one=points[0], two=points[1], rest="".join(points[2:])))
            self.end()
        self.say("1..%d\n" % len(self.tests))
        for number, test in enumerate(self.tests, 1):
            self.say("# begin %s\n" % test)
            if self.fault == "slow":
                time.sleep(0.3)
            if test == "t.two" or self.fault == "all-crash":
                self.act(number, test)
            else:
                self.say("ok %d - %s: %s\n  ---\n  checks: 7\n  ...\n" % (number, test, TESTS[test]))
            if test == "t.two" and self.fault in ("die-behind", "fail-die-behind"):
                self.end()
        self.say("# end\n")
        if self.fault == "stay":
            time.sleep(60)
        self.end()

    def act(self, number: int, test: str) -> None:
        good = "ok %d - %s: %s\n" % (number, test, TESTS[test])
        fault = self.fault
        if fault in ("fail", "die-failing", "hang-failing", "bail-failing", "fail-die-behind"):
            first, *rest = self.names
            self.say("# failed: %s | 1 + 1\n" % first + "".join("# failed+ 0 8 %s\n" % name for name in rest))
        if fault in ("fail", "fail-wait", "fail-die-behind") or fault == "flaky" and first_time("flaky"):
            self.say("not " + good + "  ---\n  at: x86/t.c:7\n  check: \"1 + 1\"\n  expected: \"3\"\n  actual: \"2\"\n"
                     "  checks: 5\n  failed: %d\n  ...\n" % len(self.names))
            while fault == "fail-wait" and not os.path.exists(os.environ["FAKE_STATE"] + "/go"):
                time.sleep(0.01)
        elif fault == "skip":
            self.say("ok %d - %s: x # SKIP needs a bit\n" % (number, test))
        elif fault in ("old-model", "no-model"):
            old = fault == "old-model" and self.option("cpu", "model") == "core2_penryn_t9600"
            self.say(good if old else "ok %d - %s: x # SKIP needs a processor without INVEPT instruction (X[1])\n" % (number, test))
        elif fault == "bail-failing":
            self.say("Bail out! enough of it\n")
            self.end()
        elif fault in ("hang", "stubborn", "deaf", "hang-failing"):
            if fault == "stubborn":
                for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                    signal.signal(number, signal.SIG_IGN)
                import subprocess  # here: the start of all others is quicker without it

                child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
                note_process(child.pid)
            time.sleep(60)
        elif fault in ("die", "all-crash", "die-failing"):
            self.say("# the last words\n")
            self.end(">>PANIC<< exception(): 3rd (13) exception with no resolution")
        elif fault == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        elif fault == "midline":
            self.say("ok 2 - t.tw")
            self.end()
        elif fault == "cut-block":
            self.say(good + "  ---\n  checks: 3\n  chec")
            self.end()
        elif fault == "reset":
            self.say("TAP version 13\n1..4\n# begin t.one\n")
            time.sleep(60)
        elif fault == "garbage":
            self.say("\xff\x00\x80ok 9 - \x1b[2J not a line of TAP\n" + good)
        elif fault == "endless":
            while True:
                self.say("# nothing, again and again\n" * 1000)
        elif fault == "long-line":
            self.say("#" * 200000 + "\n" + good)
        else:
            self.say(good)


def note_process(number: int) -> None:
    with open(os.path.join(os.environ["FAKE_STATE"], "processes"), "a", encoding="utf-8") as file:
        file.write("%d\n" % number)


def first_time(name: str) -> bool:
    path = os.path.join(os.environ["FAKE_STATE"], name)
    first = not os.path.exists(path)
    open(path, "w", encoding="utf-8").close()
    return first


def main() -> None:
    if "--help" in sys.argv:
        print("tigerlake\ncore2_penryn_t9600\ncorei5_lynnfield_750" if "cpu" in sys.argv
              else "Bochs x86 Emulator 2.7\n  -f configfile\n  -rc filename\n")
        sys.exit(0)
    note_process(os.getpid())
    image = Image()
    if image.fault == "at-once":
        print("cannot find my plugins")
        sys.exit(1)
    if image.fault == "clash" and not os.path.exists(os.environ["FAKE_STATE"] + "/clashed"):
        open(os.environ["FAKE_STATE"] + "/clashed", "w", encoding="utf-8").close()
        print("00000000000p[RFB   ] >>PANIC<< could not listen on socket")
        sys.exit(1)
    image.run()


main()
