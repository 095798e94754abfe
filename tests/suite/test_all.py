# SPDX-License-Identifier: BSD-2-Clause
"""The image `all`: in it, in any order, the tests of different images give the verdicts of the separate images."""
import json
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
# Some of each image; what leaves VMX operation, what other processors are needed for, what keeps VMCSs of its own.
TESTS = ["guest.cr0.*", "guest.cr4.*", "guest.smp.*", "guest.init.*", "vmcs.active.*", "vmcs.region.*", "vmcs.state.*", "vmxop.*",
         "cap.featctl.*", "exec.init.*", "exec.sipi.*", "after.activity.*", "after.preempt.*", "save.intr_sipi", "abort.*",
         "exit.msr.*_abort", "exit.rdtsc.*", "hostload.cr*", "apic.vid.*", "ept.viol.*", "insn.vmclear.*", "entry.load.cr*"]


PARTS = sorted(path.stem for path in (ROOT / "x86").iterdir() if path.is_dir() or path.suffix == ".c")


def run(folder: str, *arguments: str) -> dict[str, str]:
    ran = subprocess.run(["./run_tests.sh", "--backend", "bochs", "--results", folder, *arguments, *TESTS], cwd=ROOT,
                         capture_output=True, text=True, timeout=300)
    results = json.loads((Path(folder) / "latest" / "results.json").read_text(encoding="utf-8"))
    assert results["points"], ran.stdout + ran.stderr
    return {point["id"]: point["verdict"] for point in results["points"]}


@unittest.skipUnless(shutil.which("bochs"), "bochs is not installed")
class All(unittest.TestCase):
    def test_has_every_test(self) -> None:
        def ids(name: str) -> list[str]:
            return re.findall(r"^(\S+)\t", (ROOT / "build" / "x86" / f"{name}.tests").read_text(encoding="utf-8"), re.M)

        self.assertEqual(sorted(ids("all")), sorted(identity for name in PARTS for identity in ids(name)))

    def test_same_verdicts_in_any_order(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            separate = run(folder + "/separate", *(f"--image={name}" for name in (*PARTS, "abort-lists")))
            for order in ((), ("--order", "random", "--seed", "3")):
                with self.subTest(order=order):
                    together = run(folder + "/together" + "".join(order), "--image", "all", *order)
                    self.assertGreater(len(together), 100)
                    self.assertEqual({name: (verdict, separate.get(name)) for name, verdict in together.items()
                                      if verdict != separate.get(name)}, {})


if __name__ == "__main__":
    unittest.main()
