# SPDX-License-Identifier: BSD-2-Clause
"""All options, once: the parsers, the manual page and the completions are made from this."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Callable, Dict, List

from . import VERSION
from .config import BACKENDS
from .l0.options import L0Options
from .paths import PROGRAM

ENVIRONMENT = {
    "QEMU, BOCHS": "the emulators",
    "ACCEL": "the accelerator of QEMU: tcg or kvm",
    "TIMEOUT": "how many seconds an image may go without progress; 0: no limit",
    "NO_COLOR": "not empty: no colours",
}
STATUS = {
    0: "all green (compare: nothing broke)",
    1: "a failure (compare: something broke)",
    2: "wrong usage, or an environment that cannot do what was asked",
    3: "nothing was tested",
    130: "interrupted",
}
COMMANDS = {
    "merge": "join the results of shards, or of runs on several targets, into one",
    "compare": "what broke, was fixed, appeared or went between two runs",
    "import": "judge what the serial port of a machine said, from a log",
    "known": "how far the lines of spec/known go: the checks that failed in some runs",
    "report": "JUnit XML and the HTML report of runs that are over",
    "machines": "the images of the check build on machines that are stranger than the one at hand",
    "inventory": "what the processors of a target say of themselves, or what a pool of machines has in common",
    "errata": "published errors of the processors of a run: present, absent, or not to be told",
    "advisories": "security advisories: covered by which tests, passing, skipped",
    "explore": "random states of VM entry, judged by a model of it",
    "explain": "a requirement: its section, where it is tested, its last results",
}
RESULTS_HELP = "a results.json, the folder of a run, or a folder of runs (then: its last)"


def _epilog() -> str:
    lines = ["commands (COMMAND --help says more):"] + ["  %-8s %s" % item for item in COMMANDS.items()]
    lines += ["environment:"] + ["  %-12s %s" % item for item in ENVIRONMENT.items()]
    lines += ["an option comes before the environment, then unittests.cfg, then config.mk, then PATH."]
    lines += ["exit status:"] + ["  %-3d %s" % item for item in STATUS.items()]
    return "\n".join(lines)


def _positive(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 10000:
        raise argparse.ArgumentTypeError("`%s` is not a number above 0" % text)
    return int(text)


def _seed(text: str) -> int:
    if not text.isdigit() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError("`%s` is not a whole number" % text)
    return int(text)


def _shard(text: str) -> str:
    part, slash, whole = text.partition("/")
    if not (slash and part.isdigit() and whole.isdigit() and 0 < int(part) <= int(whole) < 10000):
        raise argparse.ArgumentTypeError("`%s` is not K/N, such as 1/4" % text)
    return "%d/%d" % (int(part), int(whole))


def _parser(name: str, description: str, epilog: str = "") -> argparse.ArgumentParser:
    return argparse.ArgumentParser(prog=(PROGRAM + " " + name).strip(), description=description, epilog=epilog,
                                   formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)


def run_parser() -> argparse.ArgumentParser:
    parser = _parser("", "Boot the test images and give one verdict.", _epilog())
    parser.usage = "%(prog)s [OPTION]... [PATTERN]...\n       %(prog)s COMMAND ..."
    parser.add_argument("patterns", nargs="*", metavar="PATTERN",
                        help="tests to run: an id, the front of ids up to a dot, or a shell glob over ids (default: all)")
    parser.add_argument("--version", action="version", version="vmxcheck " + VERSION)

    add = parser.add_argument_group("selecting").add_argument
    add("-g", "--group", action="append", default=[], metavar="GROUP", help="only the sections of unittests.cfg in this group")
    add("-a", "--all", action="store_true",
        help="also the sections that run only when they are asked for, but for those that have all tests once more")
    add("--image", action="append", default=[], metavar="NAME", help="only the section NAME of unittests.cfg (a glob)")
    add("--area", action="append", default=[], metavar="AREA", help="only the requirements of this area of the catalogue")
    add("--priority", action="append", default=[], metavar="N", help="only the requirements of this priority: 1, 2 or 3")
    add("--advisory", action="append", default=[], metavar="CVE|XSA", help="only the tests of this advisory, such as CVE-2023-30456; see advisories")
    add("--failed", action="store_true", help="only what failed in the last run")
    add("--shard", type=_shard, metavar="K/N", help="only part K of N, cut by the durations of the last whole run; see merge")
    add("--durations", metavar="RESULTS", help="cut --shard by the durations of this run (%s)" % RESULTS_HELP)
    add("-l", "--list", action="store_true", help="one line a test, id TAB image; boots nothing")
    add("--coverage", action="store_true",
        help="the catalogue by area: rows, tested, passing in the last run, ...; boots nothing")

    add = parser.add_argument_group("running").add_argument
    add("-j", "--jobs", "--parallel", type=_positive, default=os.cpu_count() or 1, metavar="N",
        help="boot N images at a time (default: the cores)")
    _emulator_options(add)
    add("--matrix", metavar="FILE|default", help="many targets, into one table: those of the file (such as spec/matrix.cfg), or every "
        "version of the emulators that is installed or in the cache; what was run already is not run again")
    add("--rerun", action="store_true", help="of --matrix: run all of them again")
    add("--timeout", metavar="SECONDS", help="how long an image may go without progress (0: no limit)")
    add("--words", default="", metavar="WORDS", help="more words for each image, such as 'dangerous' (docs/backends.md)")
    add("--repeat", type=_positive, default=1, metavar="N", help="run everything N times")
    add("--walks", choices=("auto", "whole", "brief"), default="auto",
        help="long walks over values: all of them, or a selection (auto: brief on kvm-on-bochs, which is slow)")
    add("-x", "--max-failures", type=_positive, nargs="?", const=1, metavar="N", help="stop behind N failures (-x alone: behind the first)")
    add("--time-limit", metavar="TIME", help="stop the run after so many seconds (or 10m, 2h)")
    add("--retry-failed", type=_positive, default=0, metavar="N", help="run what is red up to N times more; what is green then is flaky")
    add("--order", choices=("file", "random"), default="file", help="order of the tests in each image")
    add("--seed", type=_seed, metavar="N", help="seed of --order random (default: a new one, printed)")

    add = parser.add_argument_group("a target of one's own (docs/targets.md)").add_argument
    _target_options(add)

    L0Options.add_to(parser)

    add = parser.add_argument_group("judging").add_argument
    add("--fail-stale", action="store_true", help="fail if a known deviation has gone (make check does)")
    add("--allow-flaky", action="store_true", help="what is flaky is no failure")
    add("--bisect", action="store_true", help="end with a status for git bisect run: 125 (skip) where the run says nothing")
    add("--baseline", metavar="FILE", help="fail only for what is not red in FILE (of --save-baseline, or a results.json)")
    add("--save-baseline", type=Path, metavar="FILE", help="write the verdicts of this run for --baseline")

    add = parser.add_argument_group("output").add_argument
    add("-v", "--verbose", action="store_true", help="a line for each test; name all that is skipped or not yet tested")
    add("-q", "--quiet", action="store_true", help="failures and the last line only")
    add("-t", "--tap", "--tap13", action="store_true", help="one TAP 13 stream on stdout, all else on stderr")
    add("--color", choices=("auto", "always", "never"), default="auto", help="colours (auto: on a terminal, without NO_COLOR)")
    _report_options(add)

    add = parser.add_argument_group("debugging").add_argument
    add("--gdb", metavar="ID", help="start the image of one test in the debugger (QEMU's gdb stub, Bochs' own), at that test")
    add("--keep", action="store_true", help="keep what each boot was started with, and its command, in the results")

    add = parser.add_argument_group("files").add_argument
    _results_option(add)
    add("--config", type=Path, metavar="FILE", help="instead of unittests.cfg")
    add("--build", type=Path, metavar="DIR", help="instead of build; nothing is made then")
    add("--known", type=Path, metavar="DIR", help="instead of spec/known")
    return parser


def _emulator_options(add: Callable[..., object]) -> None:
    add("--backend", action="append", default=[], metavar="NAME[,NAME]",
        help="only on these: %s (default: auto, the best for each image)" % ", ".join(BACKENDS))
    add("--cpu", metavar="MODEL", help="processor model, of Bochs or QEMU (default: the best of this version, and "
        "on Bochs others for what that one skips)")
    add("--bochs", metavar="VERSION", help="another version of Bochs, such as 3.1: fetched from the Debian release that has it, "
        "and kept in the cache")
    add("--qemu", metavar="VERSION", help="the same for QEMU, such as 11.1")
    add("--qemu-args", action="append", default=[], metavar="WORDS", help="more words for QEMU, such as '-machine q35 -device virtio-rng-pci'")
    add("--cache", type=Path, metavar="DIR", help="where emulators and kernels of Debian are kept (default: ~/.cache/vmxcheck)")


def _target_options(add: Callable[..., object]) -> None:
    add("--command", metavar="COMMAND", help="how it is started, such as 'my-vmm --kernel {elf64} --append {words}'; also {elf} {rom} {bzimage} "
        "{iso} {efi} {smp} {memory} {cpu} {serial} {port} {folder}, and all of them as VMXCHECK_ELF, ... in its environment")
    add("--target", metavar="NAME", help="the target of that name in targets.cfg; with --command, the name that it goes by")
    add("--targets", type=Path, metavar="FILE", help="instead of targets.cfg of this folder or the suite's")
    add("--serial", metavar="KIND[:VALUE]", help="where its serial port comes from: stdout, file[:PATH], fifo, pty, unix[-listen][:PATH], "
        "tcp[-listen][:HOST:PORT], tty:DEVICE[,SPEED], command:COMMAND (default: file if {serial} is in the command, else stdout)")
    add("--features", metavar="LIST", help="what it has, of: vmx, smp (default: both; an image looks for itself, too)")
    add("--end", metavar="HOW", help="how it is ended: kill (default), term, or a command")


def _report_options(add: Callable[..., object]) -> None:
    add("--junit", type=Path, metavar="FILE", help="write JUnit XML")
    add("--html", type=Path, metavar="FILE", help="write the report: one HTML file that needs no other")
    add("--markdown", type=Path, metavar="FILE", help="write a summary in Markdown; $GITHUB_STEP_SUMMARY is added to")
    add("--gitlab", type=Path, metavar="FILE", help="write a Code Quality report of GitLab")
    add("--github", action="store_true", help="print annotations of GitHub Actions for what failed")


def _results_option(add: Callable[..., object]) -> None:
    add("--results", type=Path, metavar="DIR", help="where runs are kept (default: results)")
    add("--keep-results", type=_positive, metavar="N", help="of the runs there, keep the newest N; the last whole run is always kept")


def merge_parser() -> argparse.ArgumentParser:
    parser = _parser("merge", "Join the results of shards, or of runs on several targets, into one run.\n"
                     "A shard that is missing, or that was cut differently, is an error: the rest is written all the same.")
    add = parser.add_argument
    add("inputs", nargs="+", metavar="RESULTS", help=RESULTS_HELP)
    _results_option(add)
    _report_options(add)
    add("-v", "--verbose", action="store_true", help="name all that is skipped")
    add("-q", "--quiet", action="store_true", help="the last line only")
    return parser


def compare_parser() -> argparse.ArgumentParser:
    parser = _parser("compare", "What changed from run A to run B: another hypervisor, version, processor model or backend.\n"
                     "Exit status 1 if something broke, appeared red, or passed in A and is not in B.")
    add = parser.add_argument
    add("a", metavar="A", help=RESULTS_HELP)
    add("b", metavar="B", help="the same")
    add("patterns", nargs="*", metavar="PATTERN", help="only these tests: ids, their fronts, shell globs")
    add("--inventory", action="store_true", help="not what the tests found, but what the processors say of themselves: of A, B and as many more")
    add("--junit", type=Path, metavar="FILE", help="write the changes as JUnit XML: what is for the worse is a failure")
    add("--html", type=Path, metavar="FILE", help="write them as an HTML page")
    add("--markdown", type=Path, metavar="FILE", help="write them in Markdown; $GITHUB_STEP_SUMMARY is added to")
    add("--allow-gone", action="store_true", help="what is not in B is no failure")
    add("--fail-lost", action="store_true", help="fail too if something that passed in A is skipped in B")
    add("-v", "--verbose", action="store_true", help="name everything that changed, not only what broke or was fixed")
    return parser


def import_parser() -> argparse.ArgumentParser:
    parser = _parser("import", "Judge logs of serial ports as a run is judged, and keep the results like one. A log may have boot loaders and\n"
                     "their escape codes, time stamps, several boots and several images in it; what is cut off or garbled is red.")
    add = parser.add_argument
    add("logs", nargs="+", type=Path, metavar="LOG", help="a capture, also gzipped; - is stdin")
    add("--target", metavar="NAME", help="what was under test: its known deviations are spec/known/NAME.tsv. NAME-VERSION, such as bochs-2.7, "
        "or a target of targets.cfg (default: machine)")
    add("--targets", type=Path, metavar="FILE", help="instead of targets.cfg of this folder or the suite's")
    add("--cpu", metavar="MODEL", help="the processor model, for conditions in the table")
    add("--fail-stale", action="store_true", help="fail if a known deviation has gone")
    add("--baseline", metavar="FILE", help="fail only for what is not red in FILE")
    _results_option(add)
    _report_options(add)
    add("-v", "--verbose", action="store_true", help="name all that is skipped or missing")
    add("-q", "--quiet", action="store_true", help="failures and the last line only")
    add("--config", type=Path, metavar="FILE", help="instead of unittests.cfg")
    add("--build", type=Path, metavar="DIR", help="where the images' lists of tests are, instead of build")
    add("--known", type=Path, metavar="DIR", help="instead of spec/known")
    return parser


def known_parser() -> argparse.ArgumentParser:
    parser = _parser("known", "Name below the lines of spec/known the checks that failed in these runs, of any targets (spec/known/README).\n"
                     "No line is added: what no line is for is printed as unexplained, with exit status 1.")
    add = parser.add_argument
    add("inputs", nargs="+", metavar="RESULTS", help=RESULTS_HELP)
    add("--write", action="store_true", help="change the tables (default: say what would change)")
    add("--afresh", action="store_true", help="in lines that these runs have to do with, forget what they do not show; patterns with * or {#} stay")
    add("--known", type=Path, metavar="DIR", help="instead of spec/known")
    return parser


def report_parser() -> argparse.ArgumentParser:
    parser = _parser("report", "Write reports of runs that are over. Several runs become one report: a column for each target.")
    add = parser.add_argument
    add("inputs", nargs="*", metavar="RESULTS", help=RESULTS_HELP + "; default: the last run")
    _results_option(add)
    _report_options(add)
    return parser


def machines_parser() -> argparse.ArgumentParser:
    parser = _parser("machines", "Boot the images of the check build on strange machines: each axis of tests/machines/axes.cfg gives the\n"
                     "verdicts of the machine as it is, or a SKIP that names the axis's feature. make check-machines does this.")
    add = parser.add_argument
    add("axes", nargs="*", metavar="AXIS", help="only these axes (names, globs)")
    add("--short", action="store_true", help="the short selection, which make check has")
    add("-j", "--jobs", type=_positive, default=os.cpu_count() or 1, metavar="N", help="boot N images at a time (default: the cores)")
    _results_option(add)
    return parser


def inventory_parser() -> argparse.ArgumentParser:
    parser = _parser("inventory", "What the processors of a target say of themselves: capabilities, controls, fields, features, raw and by name\n"
                     "(docs/inventory.md). Without RESULTS it boots the image `inventory` on the target that the options choose.")
    add = parser.add_argument
    add("inputs", nargs="*", metavar="RESULTS", help=RESULTS_HELP + ", or the log of a serial port")
    add("--json", action="store_true", help="all of it as JSON, raw numbers too")
    add("--csv", action="store_true", help="a line for each name and machine")
    add("--pool", action="store_true", help="what all of these machines have in common, and which one lacks what")
    add("-v", "--verbose", action="store_true", help="of --pool: name what is common, too")
    add("-j", "--jobs", type=_positive, default=os.cpu_count() or 1, metavar="N", help="boot N images at a time (default: the cores)")
    add("--timeout", metavar="SECONDS", help="how long the image may go without progress (0: no limit)")
    add("--words", default="", metavar="WORDS", help="more words for the image")
    add("--build", type=Path, metavar="DIR", help="instead of build; nothing is made then")
    _emulator_options(parser.add_argument_group("where").add_argument)
    _target_options(parser.add_argument_group("a target of one's own (docs/targets.md)").add_argument)
    L0Options.add_to(parser)
    return parser


def errata_parser() -> argparse.ArgumentParser:
    parser = _parser("errata", "The lines of spec/errata.tsv that are for the processors of a run, and what was seen of each (docs/errata.md).")
    return _listing(parser)


def advisories_parser() -> argparse.ArgumentParser:
    parser = _parser("advisories", "The security advisories of spec/advisories.tsv: which are covered, and how their tests went in a run.")
    return _listing(parser)


def _listing(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    add = parser.add_argument
    add("inputs", nargs="*", metavar="RESULTS", help=RESULTS_HELP + "; default: the last run")
    add("-v", "--verbose", action="store_true", help="the tests of each, and how they tell")
    _results_option(add)
    return parser


def explore_parser() -> argparse.ArgumentParser:
    parser = _parser("explore", "Enter random states at the edge of validity, and judge each by a model of VM entry (docs/explorer.md).")
    add = parser.add_argument
    add("--seed", type=_seed, default=1, metavar="S", help="case I of seed S is always the same (default: 1)")
    add("--cases", type=_seed, default=0, metavar="N", help="how many (default: 200000)")
    add("--minutes", type=float, default=0.0, metavar="M", help="for so long instead")
    add("--first", type=_seed, default=0, metavar="I", help="from this case on (default: 0)")
    add("--rules", default="", metavar="PATTERN", help="change what these rules look at: the front of ids, such as entry.guest.pdbg*")
    add("--case", type=_seed, metavar="I", help="this case alone, with the whole state")
    add("--as-test", action="store_true", help="of --case: print it as a test for x86/")
    add("--risky", action="store_true", help="also states that are known to end an emulator")
    add("--backend", metavar="BACKEND", help="on this one (default: the best for the image)")
    add("--cpu", metavar="MODEL", help="processor model, of Bochs or QEMU")
    add("--bochs", metavar="VERSION", help="another version of Bochs, such as 3.1")
    add("--qemu", metavar="VERSION", help="the same for QEMU")
    add("--cache", type=Path, metavar="DIR", help="where emulators and kernels of Debian are kept")
    add("--timeout", type=int, default=120, metavar="SECONDS", help="how long a slice of cases may take (default: 120)")
    add("-j", "--jobs", type=_positive, default=os.cpu_count() or 1, metavar="N", help="boot N at a time (default: the cores)")
    _results_option(add)
    add("-q", "--quiet", action="store_true", help="the last lines only")
    return parser


def explain_parser() -> argparse.ArgumentParser:
    parser = _parser("explain", "What a requirement says, where it is in the manual and in the tests, and how it went.")
    add = parser.add_argument
    add("id", metavar="ID", help="the id of a test or of a row of the catalogue")
    _results_option(add)
    return parser


def parsers() -> Dict[str, argparse.ArgumentParser]:
    """Everything that there is to document; "" is a run."""
    return {"": run_parser(), **{name: _parser_of(name) for name in COMMANDS}}


def _parser_of(command: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = globals()[command + "_parser"]()
    return parser


def parse(words: List[str]) -> "tuple[str, argparse.Namespace]":
    """The command ("" for a run) and its options."""
    if words and words[0] in COMMANDS:
        return words[0], _parser_of(words[0]).parse_args(words[1:])
    return "", run_parser().parse_args(words)
