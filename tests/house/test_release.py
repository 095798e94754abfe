# SPDX-License-Identifier: BSD-2-Clause
"""CHANGELOG.md, VERSION and the ids of the catalogue, against the last release's tag if there is one."""
from __future__ import annotations

import re
import subprocess
import unittest
from pathlib import Path
from typing import Set

ROOT = Path(__file__).resolve().parents[2]


def git(*words: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    return done.stdout if done.returncode == 0 else ""


def ids(catalogue: str) -> Set[str]:
    return {line.split("\t")[0] for line in catalogue.splitlines()[1:] if line and not line.startswith("#")}


def unnamed(before: Set[str], after: Set[str], changes: str) -> Set[str]:
    """Ids that went since then, and that the changes do not name."""
    return {identity for identity in before - after if not re.search(r"(?<![a-z0-9_.])%s(?![a-z0-9_.])" % re.escape(identity), changes)}


class Release(unittest.TestCase):
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

    def test_version(self) -> None:
        version = (ROOT / "VERSION").read_text(encoding="utf-8").strip()
        self.assertRegex(version, r"^\d+\.\d+$")
        heading = re.findall(r"(?m)^## (.*)$", self.changes)[0]
        self.assertTrue(heading == "Unreleased" or heading.startswith(version + " "), heading)
        for name in ("configure", "Makefile", "scripts/vmxcheck/__init__.py"):
            self.assertNotRegex((ROOT / name).read_text(encoding="utf-8"), r"VERSION *:?= *\"?\d")

    def test_ids_that_went_are_named(self) -> None:
        tag = git("describe", "--tags", "--match", "v[0-9]*", "--abbrev=0").strip()
        if not tag:
            self.skipTest("there is no release yet")
        after = ids((ROOT / "spec" / "catalogue.tsv").read_text(encoding="utf-8"))
        self.assertEqual(unnamed(ids(git("show", tag + ":spec/catalogue.tsv")), after, self.changes), set())

    def test_an_id_that_went_is_seen(self) -> None:
        self.assertEqual(unnamed({"a.b", "a.c", "a.c.d"}, {"a.b"}, "renamed: a.c.d -> a.e"), {"a.c"})


if __name__ == "__main__":
    unittest.main()
