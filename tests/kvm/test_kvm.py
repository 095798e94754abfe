# SPDX-License-Identifier: BSD-2-Clause
"""Linux KVM on Bochs, in one boot of L0: each way in which an image can end there, two images that need VMX, and
what the results say of the target.
"""
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "runner"))
import support  # noqa: E402,F401
from test_real import FAULTS, GOOD, Real  # noqa: E402
from vmxcheck.backends import CLASSES  # noqa: E402
from vmxcheck.backends.kvm_on_bochs import WRONG_DIVISION  # noqa: E402
from vmxcheck.errors import Problem  # noqa: E402
from vmxcheck.settings import Settings  # noqa: E402

ENDS = ("pass", "fail", "hang", "triple-fault", "end", "reset", "garbage", "midline", "silence", "bail-out")


class OnKvm(Real):
    backend = "kvm-on-bochs"

    def setUp(self) -> None:
        super().setUp()
        try:
            CLASSES[self.backend](Settings.load(support.TOP, self.environment)).prepare()
        except Problem as problem:
            self.skipTest(str(problem))

    def configuration(self) -> str:
        sections = ["[%s]\nfile = fault\narguments = fault=%s\nsmp = 2\ntimeout = 4\n" % (fault, fault) for fault in ENDS]
        return "\n".join(sections) + "\n[capability]\nneeds = vmx\n[exec]\nneeds = vmx\n"

    def test_one_boot_for_all(self) -> None:
        (self.folder / "unittests.cfg").write_text(self.configuration())
        words = ("--backend", self.backend, "self", "cap.basic.true55", "exit.rdtsc.offset", "exit.rdtsc.exiting")
        run = self.run_tests(*words)
        if run.status == 2 and WRONG_DIVISION in run.err:
            self.assertIn("--bochs 3.0", run.err)
            run = self.run_tests("--bochs", "3.0", *words)
            if run.status == 2:
                self.skipTest(run.err.strip().splitlines()[-1])  # no network
        self.assertEqual(run.status, 1, run.err)
        for fault in ENDS:
            with self.subTest(fault=fault):
                verdicts, reason = FAULTS[fault]
                if fault == "hang":
                    reason = "s of L0's time; RIP"
                expected = {**GOOD, **{key.replace("%s", fault): value for key, value in verdicts.items()}}
                self.assertEqual(self.verdicts(run, fault), expected)
                reasons = [p["reason"] for p in run.results["points"] if p["image"] == fault and p["verdict"] != "pass"]
                self.assertIn(reason, " / ".join(reasons))
        for image in ("capability", "exec"):
            self.assertEqual(set(self.verdicts(run, image).values()), {"pass"}, run.out)
        self.check_target(run.results["target"][0])

    def test_a_parameter_that_this_kernel_has_not(self) -> None:
        (self.folder / "unittests.cfg").write_text("[capability]\nneeds = vmx\n")
        for word, reason in (("eptx=0", "has no such parameter; it has .*\\bept, .*\\bvpid\\b.*\n"), ("ept=2", "its value is 0 or 1\n"),
                             ("kvm.tdp_mmux=0", "has no such parameter; it has .*\\btdp_mmu, ")):
            run = self.run_tests("--backend", self.backend, "--kvm-param", word)
            self.assertEqual((run.status, run.out), (2, ""), run.out)
            self.assertRegex(run.err, "^run_tests.sh: --kvm-param %s: .*%s" % (word, reason))

    def check_target(self, target: "dict[str, str]") -> None:
        self.assertEqual(target["l0_boots"], "1")
        self.assertRegex(target["name"], r"^kvm-\d+\.\d+ corei7_skylake_x$")
        self.assertEqual(target["kernel"], target["version"])
        self.assertIn("kvm_intel.nested=Y", target["kvm_parameters"])
        self.assertGreater(float(target["l0_cpu_seconds"]), float(target["l0_boot_cpu_seconds"]))


if __name__ == "__main__":
    unittest.main()
