# SPDX-License-Identifier: BSD-2-Clause
"""Join runs into one: the shards of a fleet, or runs on several targets."""

from __future__ import annotations

from typing import Dict, List, Set, Tuple

from .results import Results


def join(runs: List[Results]) -> Tuple[Results, List[str]]:
    """The one run, and why it is not whole (a shard that is missing is never green)."""
    whole = Results("", ["merge"], seconds=0.0, started=min(run.started for run in runs))
    whole.whole = all(run.whole for run in runs)
    whole.interrupted = any(run.interrupted for run in runs)
    whole.baseline = ", ".join(dict.fromkeys(run.baseline for run in runs if run.baseline))
    rounds: Dict[Tuple[str, str], int] = {}  # (image, target) -> rounds that are taken by the runs before
    for run in runs:
        whole.merged += run.merged or [{"run": run.run, "shard": run.shard}]
        whole.targets.update(run.targets)
        whole.seconds = max(whole.seconds or 0.0, run.seconds or 0.0)
        taken = {} if run.shard else dict(rounds)
        for point in run.points:
            key = (point.image, point.target)
            point.round += taken.get(key, 0)
            rounds[key] = max(rounds.get(key, 0), point.round)
        for image in run.images:
            image["round"] = image.get("round", 1) + taken.get((image["image"], image["target"]), 0)
        whole.images += run.images
        whole.points += run.points
        whole.remarks += [remark for remark in run.remarks if remark not in whole.remarks]
        whole.stale += [line for line in run.stale if line not in whole.stale]
    return whole, _missing(runs)


def _missing(runs: List[Results]) -> List[str]:
    problems: List[str] = []
    cuts: Dict[str, Set[str]] = {}
    for run in runs:
        if run.shard:
            if run.shard in cuts.setdefault(run.cut, set()):
                problems.append("shard %s is there twice" % run.shard)
            cuts[run.cut].add(run.shard)
    if len(cuts) > 1:
        names = ["%s (%s)" % (run.shard, run.run) for run in runs if run.shard]
        return problems + ["these shards were cut differently: %s; give all of them the same selection and --durations"
                           % ", ".join(names)]
    for shards in cuts.values():
        number = int(next(iter(shards)).partition("/")[2])
        missing = ["%d/%d" % (k, number) for k in range(1, number + 1) if "%d/%d" % (k, number) not in shards]
        if missing:
            problems.append("missing: shard %s" % ", ".join(missing))
    return problems
