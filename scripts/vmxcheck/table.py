# SPDX-License-Identifier: BSD-2-Clause
"""Tables of the repository: a line a row, its columns separated by one TAB each, none of them empty; # begins a comment."""

from __future__ import annotations

from pathlib import Path
from typing import List

from .errors import Problem


def read(path: Path, *columns: str) -> List[List[str]]:
    """The rows; `columns` are their names, for the message about a row that is not so."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Problem("%s: cannot be read: %s" % (path, error)) from None
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            row = [column.strip() for column in line.split("\t")]
            if len(row) != len(columns) or not all(row):
                raise Problem("%s:%d: a line is %s, separated by one TAB each" % (path.name, number, ", ".join(columns)))
            rows.append(row)
    return rows
