# SPDX-License-Identifier: BSD-2-Clause
"""What the images hold, against the catalogue and the configuration."""
import collections
import configparser
import re
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def tests_of_images() -> dict[str, list[str]]:
    sources = {path.stem for path in (ROOT / "x86").iterdir() if path.is_dir() or path.suffix == ".c"}
    return {name: (ROOT / "build" / "x86" / f"{name}.tests").read_text(encoding="utf-8").splitlines()
            for name in sorted(sources)}


def catalogue() -> list[list[str]]:
    lines = (ROOT / "spec" / "catalogue.tsv").read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines]


class Ids(unittest.TestCase):
    def test_there_are_images(self) -> None:
        self.assertTrue(tests_of_images(), "no build/x86/*.tests: run make first")

    def test_every_test_is_a_row_of_the_catalogue(self) -> None:
        known = {row[0] for row in catalogue()[1:]}
        unknown = [f"{image}: {line}" for image, lines in tests_of_images().items() for line in lines
                   if line.split("\t")[0].replace("explore.entry.", "entry.") not in known]
        self.assertEqual(unknown, [], "tests of no row in spec/catalogue.tsv")

    def test_no_id_twice(self) -> None:
        count = collections.Counter(line.split("\t")[0] for lines in tests_of_images().values() for line in lines)
        self.assertEqual([name for name, times in count.items() if times > 1], [])

    def test_each_test_has_a_title_and_a_plain_id(self) -> None:
        for image, lines in tests_of_images().items():
            self.assertTrue(lines, f"image {image} has no test")
            for line in lines:
                self.assertRegex(line, r"^[a-z0-9_.]+\t[^\t]+$", image)

    def test_every_image_is_configured(self) -> None:
        config = configparser.ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#",),
                                           inline_comment_prefixes=("#",))
        config.read(ROOT / "unittests.cfg", encoding="utf-8")
        configured = {config[name].get("file", name) for name in config.sections()}
        self.assertEqual(sorted(set(tests_of_images()) - configured), [], "images that unittests.cfg does not run")


class Catalogue(unittest.TestCase):
    def test_shape(self) -> None:
        header, *rows = catalogue()
        self.assertEqual(header, ["id", "area", "priority", "requirement", "fields", "capability", "sdm_section",
                                  "in_notes", "confidence"])
        for row in rows:
            self.assertGreaterEqual(len(row), 8, row[0])
            self.assertRegex(row[0], r"^[a-z0-9_.]+$")
            self.assertIn(row[2], ("1", "2", "3"), row[0])

    def test_ids_are_unique(self) -> None:
        count = collections.Counter(row[0] for row in catalogue()[1:])
        self.assertEqual([name for name, times in count.items() if times > 1], [])

    def test_the_notes_point_at_rows(self) -> None:
        known = {row[0] for row in catalogue()[1:]}
        text = (ROOT / "docs" / "notes-errata.md").read_text(encoding="utf-8")
        ids = [name for name in re.findall(r"`([a-z0-9_]+(?:\.[a-z0-9_]+)+)`", text) if not name.endswith((".md", ".tsv"))]
        self.assertGreater(len(ids), 30)
        self.assertEqual([name for name in ids if name not in known], [])
