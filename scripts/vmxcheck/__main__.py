# SPDX-License-Identifier: BSD-2-Clause
"""Runs as `python3 scripts/vmxcheck` and as `python3 -m vmxcheck`."""
import sys
from pathlib import Path

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from vmxcheck.cli import main  # noqa: E402

sys.exit(main())
