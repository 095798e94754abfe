#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The self-tests: every test_*.py in the folders below this one, or in those named on the command line.

Ends with one line `N passed, N failed, N skipped`.
"""
import sys
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main(names: list[str]) -> int:
    folders = [HERE / name for name in names] or sorted(path.parent for path in HERE.glob("*/__init__.py"))
    suite = unittest.TestSuite()
    for folder in folders:
        if not folder.is_dir():
            print(f"tests/run.py: no folder {folder.name} in tests/", file=sys.stderr)
            return 2
        suite.addTests(unittest.defaultTestLoader.discover(str(folder), top_level_dir=str(HERE.parent)))
    result = unittest.TextTestRunner(verbosity=1, stream=sys.stdout).run(suite)
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    skipped = len(result.skipped)
    print(f"{result.testsRun - failed - skipped} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or result.testsRun == 0 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
