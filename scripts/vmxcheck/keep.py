# SPDX-License-Identifier: BSD-2-Clause
"""--keep: what a boot was started with."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import List


def keep_files(place: Path, argv: List[str], folder: Path, image: Path) -> None:
    """The files of a boot and a script `run` that boots them again; the serial port goes to `serial` or stdout."""
    place.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.is_file():
            shutil.copy2(path, place / path.name)
    words = list(argv)
    if str(image.resolve()) in words:
        shutil.copy2(image, place / image.name)
        words[words.index(str(image.resolve()))] = image.name
    script = place / "run"
    script.write_text('#!/bin/sh\n# Boots again what is here.\ncd "$(dirname "$0")" && exec %s </dev/null\n' % shlex.join(words))
    script.chmod(0o755)
