# SPDX-License-Identifier: BSD-2-Clause
"""--matrix: which targets, what is run again, what is kept, and how it ends."""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import unittest
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict

sys.path.insert(0, str(Path(__file__).resolve().parent))
from support import TOP, Project  # noqa: E402
from vmxcheck.catalogue import Row  # noqa: E402
from vmxcheck.matrix import spec, svg  # noqa: E402
from vmxcheck.matrix.run import Column  # noqa: E402
from vmxcheck.matrix.table import Table, look  # noqa: E402
from vmxcheck.settings import Settings  # noqa: E402

TWO = "[b]\nbackend = bochs\ncpu = tigerlake core2_penryn_t9600\n"


class Matrix(Project):
    def setUp(self) -> None:
        super().setUp()
        self.environment["HOME"] = str(self.folder)

    def matrix(self, text: str, *words: str, **environment: str) -> SimpleNamespace:
        (self.folder / "m.cfg").write_text(text)
        return self.run_tests("--matrix", str(self.folder / "m.cfg"), *words, **environment)

    def kept(self) -> Dict[str, Any]:
        found = json.loads((self.folder / "results" / "matrix" / "matrix.json").read_text())["targets"]
        return {target["name"]: target for target in found}

    def test_a_column_a_target(self) -> None:
        self.configure("old-model", "pass")
        run = self.matrix(TWO)
        self.assertEqual((run.status, run.err), (0, ""))
        self.assertEqual(run.out.splitlines()[-1], "15 passed, 0 failed, 1 skipped")
        kept = self.kept()
        self.assertEqual({name: target["counts"] for name, target in kept.items()}, {
            "bochs-2.7 tigerlake": {"pass": 7, "skip": 1}, "bochs-2.7 core2_penryn_t9600": {"pass": 8}})
        for target in kept.values():
            self.assertGreater(target["cpu_seconds"], 0)
            self.assertTrue((self.folder / "results" / "matrix" / target["run"] / "results.json").exists())
        for name in ("matrix.html", "matrix.svg"):
            self.assertTrue("core2_penryn_t9600" in (self.folder / "results" / "matrix" / name).read_text())

    def test_what_is_done_is_not_done_again(self) -> None:
        self.configure("pass")
        self.matrix(TWO)
        first = len(self.processes())
        run = self.matrix(TWO)
        self.assertIn("2 targets: 0 to run, 2 as they were", run.out)
        self.assertEqual((len(self.processes()), run.out.splitlines()[-1]), (first, "8 passed, 0 failed, 0 skipped"))
        run = self.matrix(TWO + "[c]\nbackend = bochs\ncpu = corei5_lynnfield_750\n")
        self.assertIn("3 targets: 1 to run, 2 as they were", run.out)
        self.assertEqual(len(self.processes()), first + 1)
        run = self.matrix(TWO, "--rerun")
        self.assertRegex(run.out, r"2 targets: 2 to run, about \d+ CPU seconds by their last time, 0 as they were")
        self.assertEqual(len(self.processes()), first + 3)

    def test_another_build_is_run_again(self) -> None:
        self.configure("pass")
        self.matrix(TWO)
        rom = self.images / "fake.rom"
        rom.write_bytes(rom.read_bytes() + b"\x90")
        self.assertIn("2 targets: 2 to run", self.matrix(TWO).out)
        (self.known / "bochs.tsv").write_text("# tried: 2.7\n")
        self.assertIn("2 targets: 2 to run", self.matrix(TWO).out)
        self.assertIn("2 targets: 0 to run", self.matrix(TWO).out)

    def test_narrowed_is_another_run(self) -> None:
        self.configure("pass", "skip")
        self.matrix(TWO)
        run = self.matrix(TWO + "sections = pass\n", "t.one")
        self.assertEqual(run.out.splitlines()[-1], "2 passed, 0 failed, 0 skipped")
        self.assertIn("2 targets: 0 to run", self.matrix(TWO).out)

    def test_what_cannot_be_run_is_a_column_and_nothing_else_is_lost(self) -> None:
        self.configure("pass")
        run = self.matrix(TWO.replace("tigerlake", "i486"))
        self.assertEqual((run.status, run.out.splitlines()[-1]), (2, "4 passed, 0 failed, 0 skipped"))
        self.assertIn("bochs-2.7 i486 could not be run: no backend here has a processor model `i486`", run.out)
        html = (self.folder / "results" / "matrix" / "matrix.html").read_text()
        self.assertTrue("no backend here has a processor model" in html)
        self.assertIn("2 targets: 1 to run", self.matrix(TWO.replace("tigerlake", "i486")).out)

    def test_red(self) -> None:
        self.configure("fail")
        run = self.matrix(TWO)
        self.assertEqual((run.status, run.out.splitlines()[-1]), (1, "6 passed, 2 failed, 0 skipped"))
        self.assertIn("not green:\n  t.two  (bochs-2.7 tigerlake, bochs-2.7 core2_penryn_t9600)\n", run.out)
        html = (self.folder / "results" / "matrix" / "matrix.html").read_text()
        self.assertEqual(html.count("1 + 1: expected 3, actual 2"), 2)
        self.assertEqual(self.matrix(TWO).status, 1)

    def test_bad_files(self) -> None:
        self.configure("pass")
        for text, status, words in (
                ("", 3, "there is no section in it"),
                ("[a]\n", 2, "m.cfg: [a]: it has no `backend`: the backends are"),
                ("[a]\nbackend = xen\n", 2, "m.cfg: [a]: unknown backend `xen`"),
                ("[a]\nbackend = bochs\nmodel = x\n", 2, "m.cfg: [a]: unknown key `model`: the keys are"),
                ("[a]\nbackend = bochs\ncpu =\n", 2, "m.cfg: [a]: `cpu` has no value"),
                ("[a]\nbackend = bochs\nversion = new\n", 2, "bad value `new` for version"),
                ("[a]\nbackend = bochs\nkernel = 6.1\n", 2, "`kernel` is for the backend kvm-on-bochs"),
                ("[a]\nbackend = bochs\nwalks = long\n", 2, "bad value `long` for walks"),
                ("[a]\nbackend = bochs\n[a]\nbackend = bochs\n", 2, "section 'a' already exists"),
                ("[a]\nbackend = bochs\n[b]\nbackend = bochs\n", 2, "m.cfg: [b]: the target `bochs-2.7` is there already"),
                ("backend = bochs\n", 2, "no section headers"),
                (TWO + "nonsense\n", 2, "nonsense")):
            with self.subTest(words):
                run = self.matrix(text)
                self.assertEqual((run.status, run.out, len(run.err.splitlines())), (status, "", 1), run.err)
                self.assertIn(words, run.err)
        run = self.run_tests("--matrix", str(self.folder / "none"))
        self.assertEqual((run.status, len(run.err.splitlines())), (2, 1))
        self.assertEqual(self.processes(), [])

    def test_options_that_do_not_go_with_it(self) -> None:
        self.configure("pass")
        for words in (["--cpu", "tigerlake"], ["--backend", "bochs"], ["--shard", "1/2"], ["--tap"], ["--repeat", "2"], ["--list"],
                      ["--bochs", "3.1"]):
            with self.subTest(words[0]):
                run = self.matrix(TWO, *words)
                self.assertEqual((run.status, len(run.err.splitlines())), (2, 1), run.err)
        self.assertEqual(self.run_tests("--rerun").status, 2)

    def test_default_is_what_is_here(self) -> None:
        """The machine's own, and the cache; nothing is asked of a network."""
        self.configure("pass")
        cache = self.folder / "cache"
        for name in ("bochs-9.1", "bochs-2.7", "bochs-3.0"):
            (cache / "emulators" / name).mkdir(parents=True)
            if name != "bochs-3.0":  # which was not fetched whole
                shutil.copy(self.bochs, cache / "emulators" / name / "bochs")
        tools = self.folder / "tools"
        tools.mkdir()
        for name in ("apt-get", "apt-cache"):
            (tools / name).write_text("#!/bin/sh\ntouch %s/asked\nexit 1\n" % self.state)
            (tools / name).chmod(0o755)
        run = self.run_tests("--matrix", "default", "--cache", str(cache), QEMU="/nowhere/qemu", PATH="%s:%s" % (tools, os.environ["PATH"]))
        self.assertEqual(list(self.kept()), ["bochs-2.7", "bochs-9.1"], run.out + run.err)
        self.assertFalse((self.state / "asked").exists())
        self.assertNotIn("--bochs", self.kept()["bochs-2.7"]["options"])

    def test_interrupted(self) -> None:
        self.configure("hang", timeout="30")
        (self.folder / "m.cfg").write_text(TWO)
        process = subprocess.Popen([sys.executable, "-S", str(TOP / "scripts" / "vmxcheck"), *self.arguments("--matrix", str(self.folder / "m.cfg"))],
                                   env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for _ in range(600):
            if self.processes():
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=60)[0].decode()
        self.assertEqual(process.returncode, 130, output)
        self.assert_nothing_left()
        self.configure("pass")
        self.assertIn("2 targets: 2 to run", self.matrix(TWO).out)


class Spec(unittest.TestCase):
    def test_the_observatory(self) -> None:
        targets = spec.read(TOP / "spec" / "matrix.cfg", Settings.load(TOP, {"PATH": "/nowhere", "BOCHS": "/nowhere/bochs", "QEMU": "/nowhere/qemu"}))
        self.assertEqual(Counter(target.group for target in targets), {
            "bochs-2.7": 12, "bochs-3.0": 13, "bochs-3.1": 14, "qemu-tcg-7.2": 1, "qemu-tcg-10.0": 1, "qemu-tcg-11.1": 1,
            "kvm-5.10": 1, "kvm-6.1": 1, "kvm-6.12": 1, "kvm-7.2": 1, "kvm-7.3": 1})
        last = targets[-1]
        self.assertEqual((last.name, last.options), ("kvm-7.3", ("--backend", "kvm-on-bochs", "--l0-kernel", "7.3")))


def seen(name: str, **verdicts: str) -> Any:
    points = [{"id": i, "verdict": verdict, "known": "", "reason": "because", "target": "t"} for i, verdict in verdicts.items()]
    return look(spec.Target("g " + name, "g", name, ()), Column(name, [], status=0), {"points": points, "target": []})


class Rows(unittest.TestCase):
    def setUp(self) -> None:
        self.table = Table([seen("x", a="pass", b="known", c="pass", d="skip", e="pass"), seen("y", a="pass", b="pass", c="skip", d="pass")],
                           {i: Row(i, "area", "1", "what") for i in "abcd"})

    def test_kinds(self) -> None:
        self.assertEqual({line.row.id: line.kind for line in self.table.lines},
                         {"a": "same", "b": "differs", "c": "some", "d": "some", "e": "same"})

    def test_what_cannot_be_booted_there_says_nothing(self) -> None:
        target = spec.Target("g z", "g", "z", ())
        column = look(target, Column("g z", [], status=0), {"points": [
            {"id": "a", "verdict": "skip", "known": "", "reason": "has no VMX", "target": ""}], "target": []})
        self.assertEqual((column.verdicts, column.points), ({}, Counter(skip=1)))

    def test_cover_is_the_fewest(self) -> None:
        self.assertEqual(self.table.cover(), [("g", 5, [("x", 4), ("y", 1)])])

    def test_picture(self) -> None:
        text = svg.text(self.table)
        self.assertEqual(len(re.findall(">x<|>y<|>g<", text)), 3)
        self.assertTrue(text.startswith("<svg ") and text.endswith("</svg>\n"))


if __name__ == "__main__":
    unittest.main()
