# SPDX-License-Identifier: BSD-2-Clause
"""spec/models.tsv: the models of Bochs that a run takes where none is named."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import List, NamedTuple, Optional, Sequence

from .. import table

TABLE = Path(__file__).resolve().parents[3] / "spec" / "models.tsv"
DEFAULT = "-"


class Line(NamedTuple):
    model: str
    reason: str  # a glob over the reasons of skipped tests, or DEFAULT
    why: str


@lru_cache(maxsize=None)
def read(path: Path) -> List[Line]:
    return [Line(*row) for row in table.read(path, "model", "what it is for", "why")]


def best(models: Sequence[str]) -> str:
    """The default among the models that there are; "" if the table has none of them."""
    return next((line.model for line in read(TABLE) if line.reason == DEFAULT and line.model in models), "")


def for_reason(reason: str, models: Sequence[str]) -> Optional[str]:
    """The model that runs what is skipped for that reason on the default, if one does."""
    return next((line.model for line in read(TABLE)
                 if line.reason != DEFAULT and line.model in models and fnmatchcase(reason, line.reason)), None)
