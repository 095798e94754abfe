# SPDX-License-Identifier: BSD-2-Clause
"""Tables and figures in docs are those of the sources; links lead somewhere; each word of a header is in the page."""
from __future__ import annotations

import importlib.machinery
import importlib.util
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]


def mkdocs() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("mkdocs", str(ROOT / "scripts" / "mkdocs"))
    spec = importlib.util.spec_from_loader("mkdocs", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    sys.modules["mkdocs"] = module
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module


class Docs(unittest.TestCase):
    def test_pages_are_as_new_as_their_sources(self) -> None:
        done = subprocess.run([sys.executable, str(ROOT / "scripts" / "mkdocs")], stdout=subprocess.PIPE, text=True, check=False)
        self.assertEqual((done.returncode, done.stdout), (0, ""))

    def test_words_of_a_header(self) -> None:
        with tempfile.TemporaryDirectory(prefix="vmxcheck-test-") as folder:
            path = Path(folder) / "a.h"
            path.write_text("/* SPDX-License-Identifier: BSD-2-Clause */\n/* What it is for. More. */\n#pragma once\n#include \"b.h\"\n"
                            "/*\n * First word. It has\n * more to say.\n */\nvoid one(void);\nbool two(u32 n);\n\n"
                            "#define THREE(x) ((x) + 1)	/* behind it */\n#define THREE_(x) x\nstatic inline u64 four(void)\n{\n\treturn 0;\n}\n"
                            "struct s {\n\tint (*no)(void);\n};\n")
            about, words = mkdocs().words(path)
        self.assertEqual(about, "What it is for.")
        self.assertEqual([tuple(word) for word in words], [
            ("one()", "First word."), ("bool two(u32 n)", "First word."), ("THREE(x)", "behind it"), ("u64 four()", "")])

    def test_the_words_that_tests_use_most_are_there(self) -> None:
        page = (ROOT / "docs" / "writing-a-test.md").read_text(encoding="utf-8")
        for word in ("guest_run(", "expect_eq(", "on_cpu_start(", "vmx_on_with(", "WALK_OVER(", "ENTRY_VALUES(", "guest_set_cpl3(", "guest_run_at("):
            self.assertRegex(page, r"(?m)^\| `[^`|]*\b%s" % re.escape(word))

    def test_links_lead_somewhere(self) -> None:
        for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
            for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
                self.assertTrue((page.parent / target).exists(), "%s: %s" % (page.relative_to(ROOT), target))


if __name__ == "__main__":
    unittest.main()
