# SPDX-License-Identifier: BSD-2-Clause
"""JUnit XML: a suite for each image on each target, a case for each test.

A failure is a <failure>; what ended the image, or never reported, is an <error>. A known deviation and what is
red in the baseline too are <skipped> with the reason, because the format knows no other word that is not red.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Dict, List, Tuple

from . import optional
from .ci import place_of
from .compare import Change
from .errors import Problem
from .verdict import FAIL, FLAKY, KNOWN, NOT_RUN, RED, SKIP

MOST_OUTPUT = 4096  # of the serial port, for what failed
# What XML 1.0 has no place for.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _clean(text: str) -> str:
    return _FORBIDDEN.sub(lambda match: "\\x%02x" % ord(match.group()), text)


def write(path: Path, data: Dict[str, Any]) -> None:
    junit: Any = optional.need("junitparser", "python3-junitparser", "--junit")
    groups: Dict[Tuple[str, str, int], List[Dict[str, Any]]] = {}
    for point in data["points"]:
        groups.setdefault((point["image"], point["target"], point.get("round", 1)), []).append(point)
    hosts = {target["name"]: target for target in data["target"]}
    xml = junit.JUnitXml("vmxcheck")
    for (image, target, number), points in groups.items():
        suite = junit.TestSuite(_clean("%s%s on %s" % (image, "#%d" % number if number > 1 else "", target or "no backend")))
        suite.timestamp = data["started"][:19]
        suite.add_property("run", data["run"])
        for key in ("backend", "version", "cpu", "host"):
            if target in hosts:
                suite.add_property(key, _clean(hosts[target][key]))
        for point in points:
            suite.add_testcase(_case(junit, point))
        suite.update_statistics()
        suite.time = round(suite.time, 4)
        xml.add_testsuite(suite)
    xml.update_statistics()
    xml.time = round(xml.time, 4)
    xml._elem.attrib.pop("skipped", None)  # Jenkins' schema has it for suites only
    try:
        xml.write(str(path), pretty=True)
    except OSError as error:
        raise Problem("%s: %s" % (path, error.strerror)) from None


def _case(junit: Any, point: Dict[str, Any]) -> Any:
    case = junit.TestCase(_clean(point["id"]), "vmxcheck.%s" % point["image"], point["seconds"])
    reason = _clean(point["reason"] or point["title"])
    if point["verdict"] == SKIP:
        case.result = [junit.Skipped(reason)]
    elif point["verdict"] == NOT_RUN:
        case.result = [junit.Skipped("not run: " + reason)]
    elif point["verdict"] == FLAKY and point.get("allowed"):
        case.result = [junit.Skipped(reason)]
    elif point["verdict"] == KNOWN:
        case.result = [junit.Skipped(_clean("known deviation: " + point["known"]))]
    elif point["verdict"] in RED and point.get("old"):
        case.result = [junit.Skipped("red in the baseline too: " + reason)]
    elif point["verdict"] in RED:
        result = (junit.Failure if point["verdict"] in (FAIL, FLAKY) else junit.Error)(reason, point["verdict"])
        result.text = _clean("%s: %s\n\n%s\n\nrepeat: %s\nlog: %s\n"
                             % (point["id"], point["title"], point["diagnostics"], point["repro"], point["log"]))
        case.result = [result]
        file, line = place_of(point["diagnostics"])
        if file:  # where GitLab and others link to
            case._elem.set("file", file)
            case._elem.set("line", str(line))
        output = _tail(point["log"])
        if output:
            case.system_out = _clean(output)
    return case


def _tail(log: str) -> str:
    """The end of what the serial port said."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, os.path.getsize(log) - MOST_OUTPUT))
            return file.read().decode("utf-8", "backslashreplace")
    except OSError:
        return ""


def write_changes(path: Path, found: List[Change]) -> None:
    """Of compare: a case for each change; what is for the worse is a failure."""
    junit: Any = optional.need("junitparser", "python3-junitparser", "--junit")
    suite = junit.TestSuite("vmxcheck compare")
    for change in found:
        case = junit.TestCase(_clean(change.id), "vmxcheck.%s" % change.image, 0.0)
        if change.bad:
            result = junit.Failure(_clean("%s: %s -> %s" % (change.kind, change.before or "-", change.after or "-")), change.kind)
            result.text = _clean("\n".join([change.target, *("+ " + name for name in change.came), *("- " + name for name in change.went)]))
            case.result = [result]
        suite.add_testcase(case)
    suite.update_statistics()
    xml = junit.JUnitXml("vmxcheck")
    xml.add_testsuite(suite)
    xml.update_statistics()
    xml._elem.attrib.pop("skipped", None)
    try:
        xml.write(str(path), pretty=True)
    except OSError as error:
        raise Problem("%s: %s" % (path, error.strerror)) from None
