# SPDX-License-Identifier: BSD-2-Clause
"""The files of --junit and --html."""

from __future__ import annotations

import argparse
from typing import Any, Dict

from . import html, junit
from .paths import TOP


def write(options: argparse.Namespace, data: Dict[str, Any]) -> None:
    if options.junit:
        junit.write(options.junit, data)
    if options.html:
        html.write(options.html, data, TOP)
