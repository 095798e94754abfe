#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Take each control that may be 0 away in turn: on a processor that lacks it no test fails.

The check build (make CHECK=1) says for each test what it needs and what it asks for, in one run of everything. With a
control gone, a test that needs it is skipped, and one that never asked for it runs as before: what is left is to run
those that ask in their middle, and those for processors that lack the control. The VMX-preemption timer is everybody's
watchdog: without it everything runs.
"""
import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Dict, Iterable, List, Set

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "scripts"))
from vmxcheck import config  # noqa: E402  pylint: disable=wrong-import-position

LIMIT = 600                     # characters of a list of ids on an image's command line
WATCHDOG = "PIN_ACTIVATE_VMX_PREEMPTION_TIMER"
INDISPENSABLE = {"EXITCTL_HOST_ADDRESS_SPACE_SIZE", "ENTRYCTL_IA32E_MODE_GUEST"}
ACTIVATORS = {"PROC2": "PROC_ACTIVATE_SECONDARY_CONTROLS", "PROC3": "PROC_ACTIVATE_TERTIARY_CONTROLS",
              "EXITCTL2": "EXITCTL_ACTIVATE_SECONDARY_CONTROLS"}
OF_CAPABILITIES = {"CAP_EPT_": "PROC2_ENABLE_EPT", "CAP_INVEPT": "PROC2_ENABLE_EPT", "CAP_INVVPID": "PROC2_ENABLE_VPID",
                   "CAP_VMFUNC_": "PROC2_ENABLE_VM_FUNCTIONS"}


def read_definition(name: str, pattern: str) -> List["re.Match[str]"]:
    return list(re.finditer(pattern, (TOP / "lib" / "vmx" / name).read_text(encoding="utf-8"), re.MULTILINE))


def lackable() -> Set[str]:
    """The controls that lacks= takes: not those of the default1 class, which may be 1 on every processor."""
    default1 = {m[1]: int(m[2], 16) for m in read_definition(
        "controls.def", r"^CONTROL_WORD\((\w+), \w+, \w+, \w+, (0x[0-9a-f]+)")}
    controls = read_definition("controls.def", r"^CONTROL\((\w+), (\d+), (\w+)")
    return {m[3] for m in controls if not default1[m[1]] >> int(m[2]) & 1} - INDISPENSABLE


def implied(names: Iterable[str], needs: Dict[str, Set[str]]) -> Set[str]:
    """With all that no processor is without that has these."""
    todo, found = list(names), set()
    while todo:
        name = todo.pop()
        if name in found:
            continue
        found.add(name)
        todo += needs.get(name, ())
        todo += [control for front, control in OF_CAPABILITIES.items() if name.startswith(front)]
        todo += [ACTIVATORS[word] for word in (name.split("_")[0],) if word in ACTIVATORS]
    return found


class Record:
    """What each test needs, and what it asks for."""

    def __init__(self, logs: Iterable[Path]) -> None:
        self.needs: Dict[str, Set[str]] = {}
        self.asks: Dict[str, Set[str]] = {}
        for log in logs:
            for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
                kind, _, rest = line.partition(": ")
                words = rest.split()
                if kind in ("# needs", "# asks") and words:
                    (self.needs if kind == "# needs" else self.asks)[words[0]] = set(words[1:])

    def tests_without(self, control: str, pairs: Dict[str, Set[str]]) -> List[str]:
        return sorted(identity for identity, needs in self.needs.items()
                      if "-" + control in needs or
                      (control in self.asks.get(identity, ()) and control not in implied(needs, pairs)))


def run(sections: List[str], folder: Path, *options: str) -> int:
    cfg = folder / "sweep.cfg"
    cfg.write_text("\n".join(sections), encoding="utf-8")
    command = [str(TOP / "run_tests.sh"), "--config", str(cfg), "--build", str(TOP / "build" / "check"),
               "--results", str(folder / "results"), "--backend", "bochs", *options]
    return subprocess.run(command, check=False).returncode


def section(name: str, file: str, words: str, smp: int) -> str:
    return f"[{name}]\nfile = {file}\narguments = {words}\nsmp = {smp}\nneeds = vmx\ntimeout = 120\n"


def whole_images(word: str) -> List[str]:
    return [section(s.name, s.file, f"{s.arguments} {word}", s.smp)
            for s in config.load(TOP / "unittests.cfg") if "vmx" in s.needs and s.by_default and
            not re.search(r"(^| )(under|run)=", s.arguments)]


def parts(control: str, tests: List[str]) -> List[str]:
    """A boot of the image `all` for as many of these as its command line holds."""
    lists: List[str] = []
    for identity in tests:
        if lists and len(lists[-1]) + len(identity) < LIMIT:
            lists[-1] += "," + identity
        else:
            lists.append(identity)
    return [section(f"{control}-{n}", "all", f"lacks={control} run={ids}", 2) for n, ids in enumerate(lists)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("controls", nargs="*", help="only these, as in lib/vmx/controls.def")
    parser.add_argument("--cpu", default="tigerlake", help="model of Bochs (default: tigerlake)")
    parser.add_argument("--log", type=Path, help="of a run with the word asked: do not make it again")
    options = parser.parse_args()
    pairs: Dict[str, Set[str]] = {}
    for match in read_definition("control_needs.def", r"^CONTROL_NEEDS\((\w+), (\w+)\)"):
        pairs.setdefault(match[1], set()).add(match[2])

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.log:
            logs = list(options.log.glob("*.log"))
        else:
            run(whole_images("asked"), folder, "--cpu", options.cpu, "-q")
            logs = list((folder / "results" / "latest" / "logs").glob("*.log"))
        record = Record(logs)
        sections: List[str] = []
        for control in options.controls or sorted(lackable()):
            if control == WATCHDOG:
                sections += [s.replace("[", "[%s-" % control, 1) for s in whole_images("lacks=" + control)]
            else:
                sections += parts(control, record.tests_without(control, pairs))
        if not sections:
            print("sweep: no test asks for any of these in its middle")
            return 3
        return run(sections, folder, "--cpu", options.cpu)


if __name__ == "__main__":
    sys.exit(main())
