# SPDX-License-Identifier: BSD-2-Clause
"""The Python is clean for mypy --strict and for ruff (pyproject.toml), where they are installed."""
from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import unittest
from pathlib import Path
from typing import List

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ("mkrom", "mkstandalone", "check-releases", "mkdocs", "new-test")


def run(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(words, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


def mypy() -> List[str]:
    """Debian's package has a program; a module is what else there may be."""
    program = shutil.which("mypy")
    return [program] if program else [sys.executable, "-m", "mypy"] if importlib.util.find_spec("mypy") else []


class Python(unittest.TestCase):
    @unittest.skipUnless(mypy(), "mypy is not installed")
    def test_mypy(self) -> None:
        cache = ["--cache-dir", str(ROOT / "build" / "mypy")]
        done = run(*mypy(), *cache)
        self.assertEqual(done.returncode, 0, done.stdout)
        done = run(*mypy(), *cache, "--scripts-are-modules", *("scripts/" + name for name in SCRIPTS))
        self.assertEqual(done.returncode, 0, done.stdout)

    @unittest.skipUnless(shutil.which("ruff"), "ruff is not installed (Debian has it from forky on)")
    def test_ruff(self) -> None:
        done = run("ruff", "check", "--no-cache", "scripts", "tests")
        self.assertEqual(done.returncode, 0, done.stdout)


if __name__ == "__main__":
    unittest.main()
