# SPDX-License-Identifier: BSD-2-Clause
"""What the tests of the runner share: the package's path, and a small project with a fake Bochs in it."""
import contextlib
import io
import json
import os
import sys
import tempfile
import time
import unittest
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, List, Mapping, Optional
from unittest import mock

HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent
sys.path.insert(0, str(TOP / "scripts"))

from vmxcheck import cli  # noqa: E402

TESTS = "t.one\tthe first\nt.two\tthe one with the fault\nt.two.b\ta neighbour\nu.three\tthe last\n"


def alive(number: int) -> bool:
    """Whether a process still runs (one that ended and was not yet collected does not)."""
    try:
        return Path("/proc/%d/stat" % number).read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Project(unittest.TestCase):
    """A folder with a config, a built image called `fake` and a Bochs that does what fault= says."""

    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory(prefix="vmxcheck-test-")
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)
        self.images = self.folder / "build" / "x86"
        self.images.mkdir(parents=True)
        self.known = self.folder / "known"
        self.known.mkdir()
        self.state = self.folder / "state"
        self.state.mkdir()
        self.bochs = self.script("bochs", "#!%s -S\n%s" % (sys.executable, (HERE / "fake_bochs.py").read_text()))
        self.environment = {"PATH": os.environ["PATH"], "BOCHS": str(self.bochs), "FAKE_STATE": str(self.state)}
        self.add_image("fake")

    def script(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def add_image(self, name: str, tests: str = TESTS) -> None:
        (self.images / (name + ".tests")).write_text(tests)
        (self.images / (name + ".rom")).write_bytes(b"\x90" * 64 + b"VMXCHECK-CMDLINE" + bytes(1008) + b"\x90" * 64)
        (self.images / (name + ".elf")).write_bytes(b"")

    def configure(self, *faults: str, timeouts: Mapping[str, str] = {}, **keys: str) -> None:
        """One section a fault, called like it; `timeouts`: of single ones."""
        lines = []
        for fault in faults:
            values = {"file": "fake", "arguments": "fault=" + fault, "backends": "bochs", "timeout": "5", **keys,
                      **({"timeout": timeouts[fault]} if fault in timeouts else {})}
            lines += ["[%s]" % fault] + ["%s = %s" % item for item in values.items()]
        (self.folder / "unittests.cfg").write_text("\n".join(lines) + "\n")

    def arguments(self, *words: str) -> List[str]:
        return ["--config", str(self.folder / "unittests.cfg"), "--build", str(self.folder / "build"),
                "--results", str(self.folder / "results"), "--known", str(self.known), *words]

    def run_tests(self, *words: str, **environment: str) -> SimpleNamespace:
        """Run the program in this process; status, stdout, stderr and what it kept."""
        out, err = io.StringIO(), io.StringIO()
        with mock.patch.dict(os.environ, {**self.environment, **environment}, clear=True), \
                contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = cli.main(self.arguments(*words))
            except SystemExit as exit_request:
                status = int(exit_request.code or 0)
        self.assert_nothing_left()
        return SimpleNamespace(status=status, out=out.getvalue(), err=err.getvalue(), results=self.results())

    def results(self) -> Dict[str, Any]:
        path = self.folder / "results" / "latest" / "results.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def processes(self) -> List[int]:
        path = self.state / "processes"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def assert_nothing_left(self) -> None:
        for number in self.processes():
            for _ in range(100):
                if not alive(number):
                    break
                time.sleep(0.01)
            self.assertFalse(alive(number), "process %d is left behind" % number)

    def verdicts(self, run: SimpleNamespace, image: Optional[str] = None) -> Dict[str, str]:
        return {p["id"]: p["verdict"] for p in run.results["points"] if image in (None, p["image"])}

    def point(self, run: SimpleNamespace, identity: str, image: Optional[str] = None) -> Dict[str, Any]:
        found = [p for p in run.results["points"] if p["id"] == identity and image in (None, p["image"])]
        self.assertEqual(len(found), 1, identity)
        return found[0]
