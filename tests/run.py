#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The self-tests: every test_*.py in the folders below this one, or in those named on the command line.

A process a file, as many at a time as there are cores. Ends with one line `N passed, N failed, N skipped`.
"""
from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from typing import IO

HERE = Path(__file__).resolve().parent
RESULT = re.compile(r"^result: (\d+) (\d+) (\d+)\n\Z", re.MULTILINE)


def run_file(path: Path) -> int:
    """One file, in this process; the last line is for the parent."""
    suite = unittest.defaultTestLoader.discover(str(path.parent), pattern=path.name, top_level_dir=str(HERE.parent))
    result = unittest.TextTestRunner(verbosity=1, stream=sys.stdout).run(suite)
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    skipped = len(result.skipped)
    for test, reason in result.skipped:
        print(f"skipped: {test.id()}: {reason}")
    print(f"result: {result.testsRun - failed - skipped} {failed} {skipped}", flush=True)
    return 0


def run_all(files: list[Path], parallel: int) -> list[int]:
    """passed, failed, skipped over all; what a file says is printed when it has ended."""
    totals = [0, 0, 0]
    waiting = sorted(files, key=lambda path: path.stat().st_size)  # the last is taken first: large files take long
    running: list[tuple[subprocess.Popen[bytes], Path, IO[str], float]] = []
    try:
        while waiting or running:
            while waiting and len(running) < parallel:
                path = waiting.pop()
                out = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")
                process = subprocess.Popen([sys.executable, __file__, "--file", str(path)], stdin=subprocess.DEVNULL, stdout=out,
                                           stderr=subprocess.STDOUT)
                running.append((process, path, out, time.monotonic()))
            time.sleep(0.02)
            for entry in [entry for entry in running if entry[0].poll() is not None]:
                running.remove(entry)
                for place, number in enumerate(finished(*entry)):
                    totals[place] += number
    finally:
        for process, _, _, _ in running:
            process.kill()
            process.wait()
    return totals


def finished(process: subprocess.Popen[bytes], path: Path, out: IO[str], started: float) -> list[int]:
    out.seek(0)
    text = out.read()
    out.close()
    print(f"== {path.relative_to(HERE)} ({time.monotonic() - started:.1f} s)")
    found = RESULT.search(text)
    print(RESULT.sub("", text).strip(), flush=True)
    if process.returncode or not found:
        print(f"{path.name} ended with status {process.returncode}, without a result")
        return [0, 1, 0]
    numbers = [int(number) for number in found.groups()]
    return numbers if sum(numbers) else [0, 1, 0]  # a file without a test is a mistake


def main(names: list[str]) -> int:
    if names[:1] == ["--file"]:
        return run_file(Path(names[1]))
    folders = [HERE / name for name in names] or sorted(path.parent for path in HERE.glob("*/__init__.py"))
    for folder in folders:
        if not folder.is_dir():
            print(f"tests/run.py: no folder {folder.name} in tests/", file=sys.stderr)
            return 2
    files = [path for folder in folders for path in sorted(folder.glob("test_*.py"))]
    passed, failed, skipped = run_all(files, os.cpu_count() or 1)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
