# SPDX-License-Identifier: BSD-2-Clause
"""--matrix, from the file to the last line."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from .. import catalogue, optional
from ..errors import Problem
from ..output import emit
from ..paths import CATALOGUE
from ..settings import Settings
from ..style import Style
from . import html, run as run_module, spec, svg, text
from .table import Table, look


def run(options: argparse.Namespace, settings: Settings) -> int:
    run_module.check_usage(options)
    targets = spec.here(settings, options) if options.matrix == spec.DEFAULT else spec.read(Path(options.matrix), settings)
    runner = run_module.Runner(options, settings, lambda line: None if options.quiet else emit(sys.stdout, line))
    columns, interrupted = runner.run(targets)
    table = Table([look(target, column, runner.data(column)) for target, column in zip(targets, columns)], catalogue.read(CATALOGUE))
    table.keep(runner.base / "matrix.json")
    svg.write(runner.base / "matrix.svg", table)
    where, problem = runner.base / "matrix.html", ""
    try:
        optional.need("jinja2", "python3-jinja2", "the report of --matrix")
        for path in [where] + ([options.html] if options.html else []):
            html.write(path, table)
    except Problem as error:  # the text and the picture are there all the same
        problem = str(error)
    style = Style.of(sys.stdout, options.color)
    emit(sys.stdout, text.text(table, problem or os.path.relpath(where), style) if not options.quiet else table.last_line())
    status = table.status()
    return 130 if interrupted else 2 if problem and status in (0, 3) else status
