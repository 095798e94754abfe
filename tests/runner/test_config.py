# SPDX-License-Identifier: BSD-2-Clause
"""unittests.cfg: what is understood, and the complaint about everything else."""
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from support import TOP  # noqa: E402
from vmxcheck import config  # noqa: E402
from vmxcheck.errors import Problem  # noqa: E402


class Good(unittest.TestCase):
    def test_all_keys(self) -> None:
        text = """
# a comment
[one]
file = tsc.elf            # what follows a blank and # is a comment
arguments = run=exit.* seed=7
smp = 2
memory = 128
topology = sockets=2
groups = vmx exit
timeout = 2.5
needs = vmx
backends = bochs qemu-kvm

[two]
"""
        one, two = config.parse(text)
        self.assertEqual(one, config.Section("one", 3, "tsc", "run=exit.* seed=7", 2, 128, "sockets=2", frozenset(("vmx", "exit")), 2.5,
                                             frozenset(("vmx",)), ("bochs", "qemu-kvm")))
        self.assertEqual(two, config.Section("two", 14, "two"))
        self.assertTrue(two.by_default)

    def test_nodefault(self) -> None:
        self.assertFalse(config.parse("[a]\ngroups = x nodefault")[0].by_default)

    def test_the_projects_own_file(self) -> None:
        self.assertTrue(config.load(TOP / "unittests.cfg"))


class Bad(unittest.TestCase):
    def complain(self, text: str, *parts: str) -> None:
        with self.assertRaises(Problem) as caught:
            config.parse(text)
        for part in parts:
            self.assertIn(part, str(caught.exception))
        self.assertEqual(caught.exception.status, 2)

    def test_unknown_key_with_the_near_one(self) -> None:
        self.complain("[a]\nfile = x\ntimout = 3\n", "unittests.cfg:3:", "`timout`", "did you mean `timeout`?")

    def test_unknown_key_with_all(self) -> None:
        self.complain("[a]\nqqq = 3\n", "unittests.cfg:2:", "`qqq`", "file, arguments, smp")

    def test_duplicate_section(self) -> None:
        self.complain("[a]\n[b]\n[a]\n", "unittests.cfg:3:", "[a]", "line 1")

    def test_duplicate_key(self) -> None:
        self.complain("[a]\nsmp = 1\nsmp = 2\n", "unittests.cfg:3:", "`smp`", "line 2")

    def test_values(self) -> None:
        for line, part in (("smp = 0", "from 1 to 16"), ("smp = two", "whole number"), ("memory = 1", "from 16"),
                           ("timeout = 0", "above 0"), ("timeout = -1", "above 0"), ("needs = svm", "`svm` is not one of: vmx"),
                           ("backends = xen", "`xen` is not one of"), ("file = ../x", "name of an image"),
                           ("groups =", "has no value")):
            self.complain("[a]\n%s\n" % line, "unittests.cfg:2:", part)

    def test_shape(self) -> None:
        self.complain("smp = 1\n", "unittests.cfg:1:", "before the first [SECTION]")
        self.complain("[a]\nnonsense\n", "unittests.cfg:2:", "KEY = VALUE")
        self.complain("[a b]\n", "unittests.cfg:1:", "no name for a section")

    def test_missing_file(self) -> None:
        with self.assertRaisesRegex(Problem, "nowhere.cfg: No such file"):
            config.load(Path("/nowhere.cfg"))
