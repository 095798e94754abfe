# SPDX-License-Identifier: BSD-2-Clause
"""Logs from elsewhere: with all that firmwares, boot loaders and recorders add they are judged as a run is, and what is not whole is red."""
import contextlib
import gzip
import io
import json
import os
import sys
import unittest
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Dict, Iterable
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "runner"))
from support import Project  # noqa: E402
from vmxcheck import cli  # noqa: E402

TESTS = {"t.one": "the first", "t.two": "the one with the fault", "t.two.b": "a neighbour", "u.three": "the last"}
ALL_PASS = {"t.one": "pass", "t.two": "pass", "t.two.b": "pass", "u.three": "pass"}
GRUB = ("\x1b[2J\x1b[01;01H\x1b[=3h\x1b[2J\x1b[01;01HSeaBIOS (version 1.16.2)\r\n\x1b[0;37;40m\x1b[?25lGNU GRUB  version 2.06\r\n"
        "\x1b[5;3H+----+\x1b[0m ok, \xff\x00\x80 Booting `everything'\r\nWARNING: no console will be available to OS\r\n")


def report(image: str = "fake", words: str = "", tests: Iterable[str] = TESTS, bad: str = "", upto: str = "") -> str:
    """What an image says; `upto`: the machine dies in this test."""
    names = list(tests)
    out = "TAP version 13\n# vmxcheck 0.1 image=%s boot=multiboot cpus=1\n" % image
    out += "# command line: %s\n" % words if words else ""
    out += "1..%d\n" % len(names)
    for number, name in enumerate(names, 1):
        out += "# begin %s\n" % name
        if name == upto:
            return out
        out += "%sok %d - %s: %s\n" % ("not " if name == bad else "", number, name, TESTS[name])
    return out + "# end\n"


class Import(Project):
    def setUp(self) -> None:
        super().setUp()
        self.add_image("other", "o.one\tof another image\n")
        (self.folder / "unittests.cfg").write_text("[fake]\n[deep]\nfile = fake\narguments = under=vmx\n[other]\n")
        before = os.getcwd()
        self.addCleanup(os.chdir, before)
        os.chdir(self.folder)

    def log(self, text: str, name: str = "serial.log") -> str:
        (self.folder / name).write_bytes(text.encode("latin-1"))
        return name

    def bring(self, *words: str, stdin: bytes = b"") -> SimpleNamespace:
        out, err = io.StringIO(), io.StringIO()
        with mock.patch.dict(os.environ, self.environment, clear=True), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), \
                mock.patch("sys.stdin", SimpleNamespace(buffer=io.BytesIO(stdin))):
            try:
                status = cli.main(["import", *self.arguments(*words)])
            except SystemExit as exit_request:
                status = int(exit_request.code or 0)
        return SimpleNamespace(status=status, out=out.getvalue(), err=err.getvalue(), results=self.results())

    def expect(self, text: str, status: int, verdicts: Dict[str, str], *words: str) -> SimpleNamespace:
        run = self.bring(self.log(text), *words)
        self.assertEqual((run.status, self.verdicts(run)), (status, verdicts), run.out + run.err)
        self.assertEqual(run.err, "")
        return run

    def test_as_it_comes(self) -> None:
        run = self.expect(report(), 0, ALL_PASS)
        self.assertEqual(run.results["points"][0]["target"], "machine")
        self.assertEqual((self.folder / run.results["points"][0]["log"]).read_bytes(), (self.folder / "serial.log").read_bytes())
        self.assertIn("in no log: image other", run.out)
        self.assertEqual(run.results["images"][0]["banner"], "vmxcheck 0.1 image=fake boot=multiboot cpus=1")

    def test_boot_loader_and_line_ends(self) -> None:
        noise = GRUB + report().replace("\n", "\r\n") + "\x1b[2Jok 9 - of the firmware, behind the end\r\n".replace("ok 9", "OK 9")
        self.expect(noise, 0, ALL_PASS)
        self.expect(GRUB.rstrip() + report().replace("\n", "\r\r\n"), 0, ALL_PASS)

    def test_recorders(self) -> None:
        for stamp in ("[2026-12-01 10:%02d:%02d] ", "(XEN) [%d.%03d] d7v0 ", "ttyS0 %d %d| "):
            lines = report().splitlines()
            text = "".join(stamp % (number // 2, number) + line + "\n" for number, line in enumerate(lines, 8))
            with self.subTest(stamp):
                self.expect("boot: " + GRUB + text, 0, ALL_PASS)
        marked = report().replace("# begin t.two\n", "[-- MARK -- Tue Dec  1 10:00:00 2026 -- ]\n# begin t.two\n".replace(" -- ]", " --]"))
        self.expect(marked, 0, ALL_PASS)

    def test_a_job_of_lava(self) -> None:
        for dash in ("", "- "):
            lines = [json.dumps({"dt": "2026-12-01T06:55:50", "lvl": level, "msg": text}) for text in (GRUB + report()).splitlines()
                     for level in ("target", "debug")]
            self.expect("".join(dash + line + "\n" for line in lines[:-1]), 0, ALL_PASS)
        self.expect("".join(line + "\n" for line in lines[:-4]), 1, {**ALL_PASS, "u.three": "crash"})

    def test_a_failure(self) -> None:
        run = self.expect(report(bad="t.two"), 1, {**ALL_PASS, "t.two": "fail"})
        self.assertIn("machine: boot image fake with `run=t.two`", run.out)

    def test_known_deviations(self) -> None:
        (self.known / "lab.tsv").write_text("# tried: 1.0\nt.two\tfailed=1,cpu=old\tIt does not\t-\n")
        failed = {**ALL_PASS, "t.two": "fail"}
        self.expect(report(bad="t.two"), 0, {**ALL_PASS, "t.two": "known"}, "--target", "lab-1.0", "--cpu", "old")
        self.expect(report(bad="t.two"), 1, failed, "--target", "lab-1.0")
        self.expect(report(bad="t.two"), 1, failed, "--target", "other-1.0", "--cpu", "old")
        run = self.expect(report(), 0, ALL_PASS, "--target", "lab-1.0", "--cpu", "old")
        self.assertIn("stale: spec/known/lab.tsv:2", run.out)
        self.expect(report(), 1, ALL_PASS, "--target", "lab-1.0", "--cpu", "old", "--fail-stale")
        (self.folder / "targets.cfg").write_text("[bench]\ncommand = x\nknown = known/lab.tsv\ncpu = old\nversion = 1.0\n")
        self.expect(report(bad="t.two"), 0, {**ALL_PASS, "t.two": "known"}, "--target", "bench")

    def test_checksum(self) -> None:
        """The one that stands on the machine's screen: what differs in one character of a verdict is no log of that run."""
        text = report(bad="t.two")
        lines = "".join(line for line in text.splitlines(True) if line.startswith(("ok ", "not ok ")))
        said = "# crc32: %08x of 4 verdicts\n# end\n" % zlib.crc32(lines.encode())
        run = self.expect(text.replace("# end\n", said), 1, {**ALL_PASS, "t.two": "fail"})
        self.assertIn("serial.log:1: crc32 %08x of 4 verdicts" % zlib.crc32(lines.encode()), run.results["images"][0]["notes"])
        for damaged in (text.replace("the first", "the fjrst"), text.replace("not ok 2", "ok 2")):
            run = self.bring(self.log(damaged.replace("# end\n", said)))
            self.assertEqual(run.status, 1)
            self.assertIn("a line is not as it was sent", self.point(run, "image.fake")["reason"])

    def test_known_to_hang(self) -> None:
        """It was left out for that; or it was not, and the log ends in it."""
        (self.known / "lab.tsv").write_text("# tried: any\nt.two\tverdict=hang,run=no\tIt never comes back\t-\n")
        known = {**ALL_PASS, "t.two": "known"}
        run = self.expect(report(words="skip=t.two", tests=["t.one", "t.two.b", "u.three"]), 0, known, "--target", "lab")
        self.assertEqual(self.point(run, "t.two")["reason"], "not run: it hangs")
        self.expect(report(words="run=t.one", tests=["t.one"]), 0, {"t.one": "pass"}, "--target", "lab")
        text = report(upto="t.two") + report(words="after=t.two", tests=["t.two.b", "u.three"])
        self.expect(text, 0, known, "--target", "lab")

    def test_restarts(self) -> None:
        text = GRUB + report(upto="t.two") + GRUB + report(words="after=t.two", tests=["t.two.b", "u.three"])
        run = self.expect(text, 1, {**ALL_PASS, "t.two": "crash"})
        self.assertIn("it started again", self.point(run, "t.two")["reason"])
        self.assertEqual(run.results["images"][0]["boots"], 2)
        self.log(report(words="after=t.two", tests=["t.two.b", "u.three"]), "a.log")
        self.log(report(upto="t.two"), "b.log")
        run = self.bring("a.log", "b.log")  # as a shell sorts them
        self.assertEqual(self.verdicts(run), {**ALL_PASS, "t.two": "crash"})

    def test_a_journal(self) -> None:
        """The machine started by itself again, and the image knows from its journal where it was."""
        again = report(tests=["t.two.b", "u.three"]).replace("1..2\n", "# journal: t.two was running; going on behind it\n1..2\n")
        run = self.expect(GRUB + report(upto="t.two") + GRUB + again, 1, {**ALL_PASS, "t.two": "crash"})
        self.assertEqual(run.results["images"][0]["boots"], 2)
        told = report(tests=["t.two", "t.two.b", "u.three"], bad="t.two").replace("1..3\n", "# journal: t.two was running: it hung\n1..3\n")
        self.expect(report(upto="t.two") + told, 1, {**ALL_PASS, "t.two": "fail"})

    def test_the_end_of_a_restart_alone(self) -> None:
        run = self.expect(report(words="after=t.two", tests=["t.two.b", "u.three"]), 0, {"t.two.b": "pass", "u.three": "pass"})
        self.assertIn("image fake: 2 of its 4 tests were not asked for: t.one, t.two", run.out)

    def test_cut(self) -> None:
        whole = report()
        for cut, verdicts in (
                ("# begin t.two\n", {"t.two": "crash", "t.two.b": "missing", "u.three": "missing"}),
                ("ok 2 - t.t", {"t.two": "crash", "t.two.b": "missing", "u.three": "missing"}),
                ("# end", {"u.three": "crash"})):
            with self.subTest(cut):
                run = self.expect(whole[:whole.index(cut) + len(cut) - (cut == "# end")], 1, {**ALL_PASS, **verdicts})
                self.assertIn("the log ends here", run.out)
        self.expect("TAP version 13\n# vmxcheck 0.1 image=fake\n", 1, dict.fromkeys(ALL_PASS, "missing"))

    def test_every_byte_that_is_lost_or_changed_is_red_or_harmless(self) -> None:
        """No damage makes a green report of a red one."""
        text = report(bad="t.two")
        for place in range(0, len(text), 7):
            for damaged in (text[:place] + text[place + 1:], text[:place] + "\x07" + text[place + 1:], text[:place]):
                run = self.bring(self.log(damaged), "-q")
                self.assertNotEqual(run.status, 0, damaged)
                self.assertNotIn("Traceback", run.err)

    def test_garbled(self) -> None:
        run = self.expect(report().replace("# begin t.two\n", "# bexin\xff t.two\n"), 1,
                          {**ALL_PASS, "image.fake": "fail"})
        self.assertIn("t.two is reported and never began", self.point(run, "image.fake")["reason"])

    def test_the_first_line_is_lost(self) -> None:
        run = self.expect(report().replace("TAP version", "TAP ver"), 1, {**ALL_PASS, "image.fake": "fail"})
        self.assertIn("serial.log:2: the beginning of a report is lost", self.point(run, "image.fake")["reason"])
        lines = report("other", tests=[]).replace("1..0\n", "1..1\n# begin o.one\nok 1 - o.one: x\n")
        both = report() + lines.replace("TAP version", "\x80AP version")
        self.expect(both, 1, {**ALL_PASS, "o.one": "pass", "image.other": "fail"})
        nameless = "".join(report().splitlines(True)[3:])
        self.assertEqual(self.bring(self.log(nameless)).status, 1)

    def test_several_images_and_logs(self) -> None:
        other = report("other", tests=[]).replace("1..0\n", "1..1\n# begin o.one\nok 1 - o.one: x\n")
        run = self.expect(GRUB + report() + GRUB + other, 0, {**ALL_PASS, "o.one": "pass"})
        self.assertEqual([image["image"] for image in run.results["images"]], ["fake", "other"])
        self.assertNotIn("in no log", run.out)
        (self.folder / "two").mkdir()
        (self.folder / "two" / "serial.log").write_bytes(gzip.compress(other.encode()))
        self.log(report(bad="t.two"))
        run = self.bring("serial.log", "two/serial.log")
        self.assertEqual((run.status, self.verdicts(run)), (1, {**ALL_PASS, "t.two": "fail", "o.one": "pass"}))
        self.assertEqual(len({point["log"] for point in run.results["points"]}), 2)
        run = self.bring("-", stdin=report().encode())
        self.assertEqual((run.status, self.verdicts(run)), (0, ALL_PASS))

    def test_twice_the_same_is_two_rounds(self) -> None:
        run = self.bring(self.log(report() + report(bad="t.two")))
        self.assertEqual(run.status, 1)
        self.assertIn("1 of 2 pass, 1 of 2 fail", run.out)

    def test_sections_and_parts(self) -> None:
        run = self.expect(report(words="machine=real under=vmx smp=2"), 0, ALL_PASS)
        self.assertEqual(run.results["points"][0]["image"], "deep")
        run = self.expect(report(words="run=t.*", tests=list(TESTS)[:3]) + report(words="run=u.*", tests=["u.three"]), 0, ALL_PASS)
        self.assertEqual({point["round"] for point in run.results["points"]}, {1})

    def test_what_else_a_run_has(self) -> None:
        base = self.bring(self.log(report(bad="t.two")), "--target", "lab-1.0")
        self.assertEqual(base.status, 1)
        (self.folder / "base.json").write_text(json.dumps(base.results))
        run = self.expect(report(bad="t.two"), 0, {**ALL_PASS, "t.two": "fail"}, "--target", "lab-1.1", "--baseline", "base.json")
        self.assertIn("1 red in the baseline too", run.out)
        out = self.folder / "out.html"
        self.bring(self.log(report()), "--html", str(out))
        self.assertIn("t.two.b", out.read_text())

    def test_mistakes(self) -> None:
        for words, text in (
                (("nosuch.log",), "nosuch.log: No such file or directory"),
                ((self.log("nothing here\n", "noise"),), "noise: no report of an image is in it (no line `TAP version 13`)"),
                ((self.log(report("strange"), "s"),), "s:1: image `strange` is not built"),
                ((self.log("\x1f\x8bgarbage", "g.gz"),), "g.gz: "),
                (("noise", "--targets", self.log("[a]\ncommand = x\n", "t.cfg"), "--target", "b"), "t.cfg has no such target; there are: a")):
            with self.subTest(words):
                run = self.bring(*words)
                self.assertEqual(run.status, 2, run.out)
                self.assertIn(text, run.err)
                self.assertEqual(run.err.count("\n"), 1, run.err)
        run = self.bring(self.log(report()), "noise")  # nothing of the good one is lost
        self.assertEqual((run.status, self.verdicts(run)), (2, ALL_PASS))


if __name__ == "__main__":
    unittest.main()
