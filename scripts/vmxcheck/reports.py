# SPDX-License-Identifier: BSD-2-Clause
"""The files of --junit, --html, --markdown and --gitlab, and what --github prints."""

from __future__ import annotations

import argparse
import sys
from typing import Any, Dict

from . import ci, html, junit
from .output import emit
from .paths import TOP


def write(options: argparse.Namespace, data: Dict[str, Any]) -> None:
    if options.junit:
        junit.write(options.junit, data)
    if options.html:
        html.write(options.html, data, TOP)
    if options.markdown:
        ci.write(options.markdown, ci.markdown(data))
    if options.gitlab:
        ci.write(options.gitlab, ci.gitlab(data))
    if options.github:
        for line in ci.github(data):
            emit(sys.stdout, line)
