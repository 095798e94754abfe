# SPDX-License-Identifier: BSD-2-Clause
"""--shard K/N: cut a selection into N parts that take about the same time.

The same selection and the same durations give the same cut on every machine. A section that is longer than
a part may be is split between tests; else it stays whole, because each part of it costs a boot.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Dict, List, Tuple

from .errors import Problem
from .history import Durations
from .selection import Selected

BOOT = 0.1  # seconds that a boot costs beside its tests


@dataclass
class _Piece:
    """Some tests of one section that stay together."""

    place: int  # of the section, in the selection
    ids: List[str]
    cost: float


def cut(selection: List[Selected], seconds: Durations, shard: str) -> Tuple[List[Selected], str]:
    """Part K of N, and a name of the cut that all its parts share."""
    part, whole = (int(word) for word in shard.split("/"))
    tests = sum(len(selected.wanted) for selected in selection)
    if whole > tests:
        raise Problem("--shard %s: there are only %d tests" % (shard, tests))
    shares = _share(_pieces(selection, seconds, whole), whole)
    found = []
    for place, selected in enumerate(selection):
        ids = {identity for piece in shares[part - 1] if piece.place == place for identity in piece.ids}
        if ids:
            found.append(replace(selected, wanted={i: title for i, title in selected.wanted.items() if i in ids}))
    words = ["%d %s %s" % (number, selection[piece.place].section.name, " ".join(piece.ids))
             for number, share in enumerate(shares) for piece in share]
    return found, hashlib.sha256("\n".join(sorted(words)).encode()).hexdigest()[:16]


def _pieces(selection: List[Selected], seconds: Durations, whole: int) -> List[_Piece]:
    known = [seconds[(s.section.name, i)] for s in selection for i in s.wanted if (s.section.name, i) in seconds]
    usual = sum(known) / len(known) if known else 0.01
    costs: Dict[Tuple[int, str], float] = {}
    for place, selected in enumerate(selection):
        for identity in selected.wanted:
            costs[(place, identity)] = seconds.get((selected.section.name, identity), usual)
    limit = (sum(costs.values()) + BOOT * len(selection)) / whole
    pieces: List[_Piece] = []
    for place, selected in enumerate(selection):
        fresh = _Piece(place, [], BOOT)
        for identity in selected.wanted:
            cost = costs[(place, identity)]
            if fresh.ids and fresh.cost + cost > limit:
                pieces.append(fresh)
                fresh = _Piece(place, [], BOOT)
            fresh.ids.append(identity)
            fresh.cost += cost
        pieces.append(fresh)
    while len(pieces) < whole:  # one test takes nearly all the time: the others are spread all the same
        longest = max(pieces, key=lambda piece: len(piece.ids))
        half = len(longest.ids) // 2
        at = pieces.index(longest)
        pieces[at:at + 1] = [_Piece(longest.place, ids, BOOT + sum(costs[(longest.place, i)] for i in ids))
                             for ids in (longest.ids[:half], longest.ids[half:])]
    return pieces


def _share(pieces: List[_Piece], whole: int) -> List[List[_Piece]]:
    """The longest first, each to the part that has least."""
    shares: List[List[_Piece]] = [[] for _ in range(whole)]
    loads = [0.0] * whole
    for piece in sorted(pieces, key=lambda piece: (-piece.cost, piece.place, piece.ids)):
        least = min(range(whole), key=lambda number: (len(shares[number]) > 0 and loads[number], number))
        shares[least].append(piece)
        loads[least] += piece.cost
    return shares
