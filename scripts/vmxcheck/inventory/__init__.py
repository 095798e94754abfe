# SPDX-License-Identifier: BSD-2-Clause
"""What a processor says of itself: read from the image's raw numbers, decoded by the library's tables, compared, pooled."""

from __future__ import annotations

from typing import Any, Dict, List

from . import raw


def of_results(data: Dict[str, Any]) -> List[raw.Inventory]:
    """One for each target of a run; of several images, or rounds, the first that has it."""
    found: Dict[str, raw.Inventory] = {}
    for image in data.get("images", []):
        if image.get("inventory") and image["target"] not in found:
            found[image["target"]] = raw.parse(image["target"], image.get("banner", ""), image["inventory"])
    return list(found.values())
