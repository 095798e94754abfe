# SPDX-License-Identifier: BSD-2-Clause
"""The rules of lines in .editorconfig: their length, no blanks at their end, TABs where C and shell have them."""
from __future__ import annotations

import re
import subprocess
import unittest
from pathlib import Path
from typing import Iterator, Tuple

ROOT = Path(__file__).resolve().parents[2]
WIDEST = 150  # columns, a TAB to the next multiple of 8; .editorconfig and pyproject.toml have the same number
CODE = (".c", ".h", ".S", ".def", ".py", ".sh", ".ld", ".js")
CODE_NAMES = ("configure", "Makefile", "mkrom", "mkstandalone", "check-releases", "mkdocs", "new-test", "run", "second-bochs")
TABS = (".c", ".h", ".S", ".sh")
BINARY = (".png",)


def files() -> Iterator[Path]:
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, stdout=subprocess.PIPE,
                            check=True).stdout.decode().split("\0")
    yield from (ROOT / name for name in listed if name and (ROOT / name).is_file() and not name.endswith(BINARY))


def lines(path: Path) -> Iterator[Tuple[str, str]]:
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        yield "%s:%d" % (path.relative_to(ROOT), number), line


@unittest.skipUnless((ROOT / ".git").exists(), "not a checkout of git")
class Lines(unittest.TestCase):
    def test_the_number_is_the_same_everywhere(self) -> None:
        self.assertIn("max_line_length = %d" % WIDEST, (ROOT / ".editorconfig").read_text())
        self.assertIn("line-length = %d" % WIDEST, (ROOT / "pyproject.toml").read_text())

    def test_no_line_of_code_is_too_wide(self) -> None:
        wide = [where for path in files() if path.suffix in CODE or path.name in CODE_NAMES
                for where, line in lines(path) if len(line) + 7 * line.count("\t") > WIDEST and len(line.expandtabs(8)) > WIDEST]
        self.assertEqual(wide, [], "lines of more than %d columns" % WIDEST)

    def test_no_blanks_at_the_end(self) -> None:
        found = [where for path in files() for where, line in lines(path) if re.search(r"[ \t\r]$", line) and path.suffix != ".tsv"]
        self.assertEqual(found, [])

    def test_every_file_ends_with_one_newline(self) -> None:
        texts = {path: path.read_bytes() for path in files()}
        found = [str(path.relative_to(ROOT)) for path, text in texts.items() if text and (not text.endswith(b"\n") or text.endswith(b"\n\n"))]
        self.assertEqual(found, [])

    def test_tabs_begin_lines_of_c(self) -> None:
        found = [where for path in files() if path.suffix in TABS for where, line in lines(path) if re.match(r"\t* {8}", line)]
        self.assertEqual(found, [])


if __name__ == "__main__":
    unittest.main()
