# SPDX-License-Identifier: BSD-2-Clause
"""A macro that has an `if` has its `else` too, so that an `else` behind it is never taken for the macro's."""
from __future__ import annotations

import re
import unittest
from pathlib import Path
from typing import Iterator, Tuple

ROOT = Path(__file__).resolve().parents[2]
MACRO = re.compile(r"^[ \t]*#[ \t]*define[ \t]+(\w+)(\([^)]*\))?((?:[^\n]*\\\n)*[^\n]*)", re.MULTILINE)


def macros(text: str) -> Iterator[Tuple[str, str]]:
    """Name and body, on one line and without comments."""
    for found in MACRO.finditer(text):
        body = re.sub(r"/\*.*?\*/", " ", found.group(3).replace("\\\n", " "), flags=re.DOTALL)
        yield found.group(1), re.sub(r"\s+", " ", body).strip()


def open_if(body: str) -> bool:
    """The body begins a statement whose `if` is left open. What is inside braces is closed."""
    before = None
    while before != body:
        before, body = body, re.sub(r"\{[^{}]*\}", "B", body)
    return bool(re.search(r"(?<!#)\bif \(", re.sub(r'"[^"]*"', "", body))) and not re.search(r"\belse$|\belse [^;]*;?$", body)


class Macros(unittest.TestCase):
    def test_no_if_is_left_open(self) -> None:
        seen, wrong = 0, []
        for path in sorted([*ROOT.glob("lib/**/*.[ch]"), *ROOT.glob("x86/**/*.[ch]"), *ROOT.glob("x86/*.c"), *ROOT.glob("l0/*.[ch]")]):
            for name, body in macros(path.read_text(encoding="utf-8")):
                seen += 1
                if open_if(body):
                    wrong.append("%s: %s" % (path.relative_to(ROOT), name))
        self.assertGreater(seen, 300)
        self.assertEqual(wrong, [], "write `if (!condition) { } else` at the end")

    def test_it_sees_one(self) -> None:
        (name, body), = macros("#define EACH(i) \\\n\tfor (int i = 0; i < 9; i++) \\\n\t\tif (good(i))\n")
        self.assertEqual((name, open_if(body)), ("EACH", True))
        self.assertFalse(open_if("for (;;) if (!good(i)) { } else"))
        self.assertFalse(open_if("do { if (a) b(); } while (0)"))


if __name__ == "__main__":
    unittest.main()
