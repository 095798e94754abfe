# SPDX-License-Identifier: BSD-2-Clause
"""vmxcheck's runner: boots the images on a backend and gives one verdict."""

from pathlib import Path

VERSION = (Path(__file__).resolve().parent.parent.parent / "VERSION").read_text(encoding="utf-8").strip()
