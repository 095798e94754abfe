# SPDX-License-Identifier: BSD-2-Clause
"""The rules of lines in .editorconfig: their length, no blanks at their end, TABs where C and shell have them."""
from __future__ import annotations

import re
import subprocess
import unittest
from functools import lru_cache
from pathlib import Path
from typing import List

ROOT = Path(__file__).resolve().parents[2]
WIDEST = 150  # columns, a TAB to the next multiple of 8; .editorconfig and pyproject.toml have the same number
CODE = (".c", ".h", ".S", ".def", ".py", ".sh", ".ld", ".js")
CODE_NAMES = ("configure", "Makefile", "mkrom", "mkstandalone", "check-releases", "mkdocs", "new-test", "run", "second-bochs")
TABS = (".c", ".h", ".S", ".sh")
BINARY = (".png",)


@lru_cache(maxsize=None)
def files() -> List[Path]:
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, stdout=subprocess.PIPE,
                            check=True).stdout.decode().split("\0")
    return [ROOT / name for name in listed if name and (ROOT / name).is_file() and not name.endswith(BINARY)]


@lru_cache(maxsize=None)
def text(path: Path) -> str:
    return path.read_bytes().decode("utf-8")


def found_in(path: Path, pattern: str) -> List[str]:
    """FILE:LINE of the lines that match."""
    return ["%s:%d" % (path.relative_to(ROOT), text(path).count("\n", 0, match.start()) + 1)
            for match in re.finditer(pattern, text(path), re.MULTILINE)]


def wide(path: Path) -> List[str]:
    return ["%s:%d" % (path.relative_to(ROOT), number) for number, line in enumerate(text(path).split("\n"), 1)
            if len(line) + 7 * line.count("\t") > WIDEST and len(line.expandtabs(8)) > WIDEST]


@unittest.skipUnless((ROOT / ".git").exists(), "not a checkout of git")
class Lines(unittest.TestCase):
    def test_the_number_is_the_same_everywhere(self) -> None:
        self.assertIn("max_line_length = %d" % WIDEST, (ROOT / ".editorconfig").read_text())
        self.assertIn("line-length = %d" % WIDEST, (ROOT / "pyproject.toml").read_text())

    def test_no_line_of_code_is_too_wide(self) -> None:
        found = [where for path in files() if path.suffix in CODE or path.name in CODE_NAMES for where in wide(path)]
        self.assertEqual(found, [], "lines of more than %d columns" % WIDEST)

    def test_no_blanks_at_the_end(self) -> None:
        self.assertEqual([where for path in files() if path.suffix != ".tsv" for where in found_in(path, r"[ \t\r]+$")], [])

    def test_every_file_ends_with_one_newline(self) -> None:
        found = [str(path.relative_to(ROOT)) for path in files() if text(path) and not re.search(r"[^\n]\n\Z", text(path))]
        self.assertEqual(found, [])

    def test_tabs_begin_lines_of_c(self) -> None:
        self.assertEqual([where for path in files() if path.suffix in TABS for where in found_in(path, r"^\t* {8}")], [])


if __name__ == "__main__":
    unittest.main()
