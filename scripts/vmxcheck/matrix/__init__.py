# SPDX-License-Identifier: BSD-2-Clause
"""`./run_tests.sh --matrix FILE|default`: many targets, one table of their verdicts.

spec.py reads which targets, run.py runs those that were not run yet, table.py puts their results side by side, text.py,
html.py and svg.py show that.
"""
