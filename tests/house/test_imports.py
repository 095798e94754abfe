# SPDX-License-Identifier: BSD-2-Clause
"""The runner's modules import each other in one direction, and at their top."""
from __future__ import annotations

import ast
import unittest
from pathlib import Path
from typing import Dict, Iterator, List, Set, Tuple

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "scripts" / "vmxcheck"
REASON = "# start-up time"  # on the line of an import inside a function


def modules() -> Dict[str, Path]:
    """Dotted name below scripts/ -> file."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(node: ast.stmt, name: str, path: Path, names: Set[str]) -> Iterator[str]:
    """Those of `names` that an import statement of module `name` reads."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in names)
    if isinstance(node, ast.ImportFrom):
        package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
        base = package[:len(package) - (node.level - 1)] if node.level else []
        origin = ".".join(base + (node.module.split(".") if node.module else []))
        for alias in node.names:
            whole = origin + "." + alias.name
            if whole in names or origin in names:
                yield whole if whole in names else origin


def imports(name: str, path: Path, names: Set[str]) -> Iterator[Tuple[str, int, bool]]:
    """(module, line, whether inside a function) of all imports, also those for the type checker alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {id(node) for function in ast.walk(tree) if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
              for node in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for module in [*imported(node, name, path, names)] or [""]:
                yield module, node.lineno, id(node) in inside


def circles(arrows: Dict[str, Set[str]]) -> List[List[str]]:
    """Groups of modules of which each reaches the others."""
    reach: Dict[str, Set[str]] = {}
    for start in arrows:
        seen: Set[str] = set()
        waiting = [start]
        while waiting:
            for there in arrows[waiting.pop()]:
                if there not in seen:
                    seen.add(there)
                    waiting.append(there)
        reach[start] = seen
    groups = {tuple(sorted(other for other in arrows if other in reach[name] and name in reach[other])) for name in arrows}
    return [list(group) for group in sorted(groups) if group]


class Imports(unittest.TestCase):
    def test_there_is_no_circle(self) -> None:
        files = modules()
        self.assertGreater(len(files), 40)
        arrows = {name: {module for module, _, _ in imports(name, path, set(files)) if module} for name, path in files.items()}
        self.assertEqual(circles(arrows), [])

    def test_an_import_inside_a_function_says_why(self) -> None:
        for name, path in modules().items():
            lines = path.read_text(encoding="utf-8").splitlines()
            for _, line, inside in imports(name, path, set(modules())):
                if inside:
                    self.assertIn(REASON, lines[line - 1],
                                  "%s:%d: an import inside a function: move it to the top" % (path.relative_to(ROOT), line))

    def test_a_circle_is_seen(self) -> None:
        self.assertEqual(circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}), [["b", "c"]])


if __name__ == "__main__":
    unittest.main()
