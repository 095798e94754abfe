# SPDX-License-Identifier: BSD-2-Clause
"""The host programs of this folder, each compiled by every compiler that is there; they speak TAP."""
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# libc.c looks at formats that a compiler can tell are odd (%.0u, '0' with a precision): that is its job.
FLAGS = {"tables.c": ["-std=c11"], "libc.c": ["-std=gnu11", "-Wno-format"],
         "walk.c": ["-std=gnu11"], "madt.c": ["-std=gnu11"],
         "model.c": ["-std=gnu11", "-DMODEL_WATCHED", *sorted(str(path) for path in (ROOT / "lib" / "vmxtest" / "model").glob("*.c"))]}


class HostPrograms(unittest.TestCase):
    def run_program(self, source: str, compiler: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            program = Path(folder) / "program"
            # GCC alone knows this one, and warns of a name that it does not know only beside another warning.
            quiet = ["-Wno-format-truncation"] if compiler == "gcc" else []
            command = [compiler, "-O1", "-Wall", "-Wextra", "-Werror", "-Ilib", *FLAGS[source], *quiet,
                       str(HERE / source), "-o", str(program)]
            built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
            self.assertEqual(built.returncode, 0, built.stderr)
            ran = subprocess.run([program], capture_output=True, text=True, timeout=60)
        points = re.findall(r"^(not )?ok \d+", ran.stdout, re.M)
        plan = re.search(r"^1\.\.(\d+)$", ran.stdout, re.M)
        failed = re.findall(r"^not ok .*|^# .*", ran.stdout, re.M)
        self.assertIsNotNone(plan, ran.stdout)
        self.assertEqual(ran.returncode, 0, "\n".join(failed))
        self.assertNotIn("not ", points, "\n".join(failed))
        self.assertEqual(len(points), int(plan.group(1)))
        self.assertGreater(len(points), 0)


def add_tests() -> None:
    for source in FLAGS:
        for compiler in ("gcc", "clang"):
            def test(self: HostPrograms, source: str = source, compiler: str = compiler) -> None:
                if not shutil.which(compiler):
                    self.skipTest(f"{compiler} is not installed")
                self.run_program(source, compiler)
            setattr(HostPrograms, f"test_{source.removesuffix('.c')}_{compiler}", test)


add_tests()
