# SPDX-License-Identifier: BSD-2-Clause
"""What an image says of a failed check: the row and the engine, the field by its name, both values, the check as it is written."""
import re
import shutil
import subprocess
import unittest
from pathlib import Path
from typing import Dict, List

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCE = "tests/images/says.c"
LINES = (ROOT / SOURCE).read_text(encoding="utf-8").splitlines()


def at(text: str) -> str:
    number, = [n for n, line in enumerate(LINES, 1) if text in line]
    return "%s:%d" % (SOURCE, number)


@unittest.skipUnless(shutil.which("qemu-system-x86_64"), "qemu-system-x86_64 is not installed")
class Says(unittest.TestCase):
    failures: Dict[str, List[Dict[str, str]]] = {}

    @classmethod
    def setUpClass(cls) -> None:
        command = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "64", "-display", "none", "-nodefaults", "-no-reboot", "-serial",
                   "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-kernel", str(ROOT / "build/x86/says.elf")]
        stream = subprocess.run(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=60, check=False).stdout.decode()
        for identity, block in re.findall(r"^not ok \d+ - self\.says\.(\w+):.*\n  ---\n((?:  .*\n)*?)  \.\.\.$", stream, re.MULTILINE):
            cls.failures[identity] = [dict(re.findall(r'^ +(\w+): "?(.*?)"?$', one, re.MULTILINE))
                                      for one in block.replace("- at", "  at").split("  at: ") if one.strip()]
            for number, one in enumerate(re.findall(r"at: (\S+)", block)):
                cls.failures[identity][number]["at"] = one

    def check(self, identity: str, place: int, **expected: str) -> None:
        found = self.failures[identity][place]
        self.assertEqual({key: found.get(key) for key in expected}, expected)

    def test_a_row_and_its_engine(self) -> None:
        self.check("row_one", 0, at=at('ROW("self.says.row_one"'), **{"in": at("/* the engine */")})
        self.check("row_two", 0, at=at('ROW("self.says.row_two"'), **{"in": at("/* the engine */")})
        self.check("table", 0, at=at("/* the row */"), **{"in": at("/* the engine */")})

    def test_the_test_and_its_helper(self) -> None:
        self.check("helper", 0, at=at('SAYS("self.says.helper")'), **{"in": at("/* the helper */")})
        for identity, place, mark in (("body", 0, "/* the body */"), ("table", 1, "/* behind the rows */")):
            self.check(identity, place, at=at(mark))
            self.assertNotIn("in", self.failures[identity][place])

    def test_fields_by_the_manuals_names(self) -> None:
        self.check("case_sets", 0, set="Guest RFLAGS [6820H] = 0x8002", expected="passes the checks on controls and host state")
        self.check("case_sets", 1, case="the next case", actual="passes the checks on controls and host state")
        self.assertNotIn("set", self.failures["case_sets"][1])
        self.check("case_sets", 2, field="TSC offset, high half [2011H]", expected="VMfailValid", actual="VMsucceed")
        self.check("helper", 0, field="Guest CS access rights [4816H]", expected="0x5", actual="0xc09b")

    def test_both_values(self) -> None:
        for place, expected, actual in ((0, "any other value than 0x3", "0x3"), (1, "at least 0x4", "0x3"), (2, "at most 0x4", "0x5"),
                                        (3, "0x1 or 0x2", "0x5")):
            self.check("values", place, expected=expected, actual=actual)
        for place, expected, actual in ((0, "0xa5 at byte 0x28 of 0x40", "0"), (2, "one of the bits 0x3 is 1", "0x30"),
                                        (3, "0x3 in the bits 0x3", "0x31")):
            self.check("memory", place, expected=expected, actual=actual)
        self.check("memory", 1, check="byte 0x9 of page", expected="0, as it was filled", actual="0x1")
        self.check("table", 1, expected="the second", actual="not so")

    def test_what_is_required_as_it_is_written(self) -> None:
        self.check("require", 0, check="VM exit", expected="exit 18 VMCALL", failed="1")
        self.check("require_macro", 0, check="A_MACRO == 3", expected="the macro is 3")


class Words(unittest.TestCase):
    def test_no_plain_yes_or_no_without_words(self) -> None:
        """expect(a == b, ...) would hide two values that another word shows."""
        compared = re.compile(r"\b(?:expect|require)\(\w[^&|(\n]* [=!<>]=? [^&|\n]*, \"")
        found = [str(path.relative_to(ROOT)) for path in sorted((ROOT / "x86").rglob("*.c")) if compared.search(path.read_text(encoding="utf-8"))]
        self.assertEqual(found, [])
        self.assertTrue(compared.search('expect(a == b, "x")') and compared.search('require(last < now, "x")'))


if __name__ == "__main__":
    unittest.main()
