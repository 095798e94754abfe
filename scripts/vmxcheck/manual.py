# SPDX-License-Identifier: BSD-2-Clause
"""The manual page and the completions of bash and zsh, made from the parsers in options.py.

    python3 -m vmxcheck.manual man|bash|zsh
"""

from __future__ import annotations

import argparse
import sys
from typing import Any, Dict, Iterable, Iterator, List

from . import VERSION, catalogue, config, options
from .optional import need
from .paths import CATALOGUE, TOP

NAMES = ("vmxcheck", "run_tests.sh")

def _actions(parser: argparse.ArgumentParser) -> List[argparse.Action]:
    return [action for group in parser._action_groups for action in group._group_actions]


def _flags(parser: argparse.ArgumentParser) -> List[argparse.Action]:
    return [action for action in _actions(parser) if action.option_strings]


def _value(action: argparse.Action) -> str:
    """What stands behind the option, or "" if it is a switch."""
    if action.nargs == 0:
        return ""
    return "{%s}" % ",".join(action.choices) if action.choices else str(action.metavar or action.dest.upper())


def _help(action: argparse.Action) -> str:
    return (action.help or "").replace("%%", "%")


# ---- the manual page

def _roff(text: str) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join("\\&" + line if line[:1] in (".", "'") else line for line in text.splitlines())


def _man_options(parser: argparse.ArgumentParser) -> Iterator[str]:
    for group in parser._action_groups:
        if not group._group_actions:
            continue
        if group.title not in ("positional arguments", "options", "optional arguments"):
            yield ".SS %s" % (group.title or "").capitalize()
        for action in group._group_actions:
            value = _value(action)
            if action.option_strings:
                flags = ", ".join("\\fB%s\\fR" % _roff(flag) for flag in action.option_strings)
                yield ".TP\n%s%s" % (flags, " \\fI%s\\fR" % _roff(value) if value else "")
            else:
                yield ".TP\n\\fI%s\\fR" % _roff(value)
            yield _roff(_help(action))


def man() -> str:
    parsers = options.parsers()
    out = ['.TH VMXCHECK 1 "" "vmxcheck %s" "User Commands"' % VERSION, ".SH NAME",
           "vmxcheck, run_tests.sh \\- tests whether a hypervisor, or the processor below it, keeps its word about VMX",
           ".SH SYNOPSIS", "\\fBvmxcheck\\fR [\\fIOPTION\\fR]... [\\fIPATTERN\\fR]..."]
    for name in options.COMMANDS:
        words = " ".join("[\\fI%s\\fR]..." % _value(a) if a.nargs in ("*", "+") else "\\fI%s\\fR" % _value(a)
                         for a in _actions(parsers[name]) if not a.option_strings)
        out += [".br", "\\fBvmxcheck %s\\fR [\\fIOPTION\\fR]... %s" % (name, words)]
    out += [".SH DESCRIPTION", _roff(parsers[""].description or ""),
            "In the source tree the program is called \\fBrun_tests.sh\\fR.", ".SH OPTIONS"]
    out += _man_options(parsers[""])
    out.append(".SH COMMANDS")
    for name in options.COMMANDS:
        out += [".SS %s" % name, _roff(parsers[name].description or "")]
        out += _man_options(parsers[name])
    out.append(".SH ENVIRONMENT")
    for key, text in options.ENVIRONMENT.items():
        out += [".TP", "\\fB%s\\fR" % key, _roff(text)]
    out += ["An option comes before the environment, then unittests.cfg, then config.mk, then PATH.", ".SH EXIT STATUS"]
    for status, text in options.STATUS.items():
        out += [".TP", "\\fB%d\\fR" % status, _roff(text)]
    out += [".SH FILES", ".TP", "\\fIresults/latest/results.json\\fR", "All that the last run found out; every report is made from it.",
            ".TP", "\\fIspec/known/BACKEND.tsv\\fR", "Known deviations of a target.", ".TP", "\\fIunittests.cfg\\fR",
            "What is booted, with what, where."]
    return "\n".join(out) + "\n"


# ---- completions, by shtab: one parser at a time, and a door that looks whether the first word is a command

def _shtab() -> Any:
    return need("shtab", "python3-shtab", "the completion of shells")


def _words(values: Iterable[str]) -> Dict[str, str]:
    """Fixed ones, as a function for each shell."""
    text = " ".join(sorted(values))
    return {"bash": text, "zsh": "(%s)" % text}


def _kinds() -> Dict[str, Dict[str, str]]:
    """What may follow an option or stand as an argument, by its metavar."""
    shtab = _shtab()
    sections = config.load(TOP / "unittests.cfg")
    areas = {row.area for row in catalogue.read(CATALOGUE).values()}
    areas |= {area[:at] for area in areas for at, letter in enumerate(area) if letter == "."}
    kinds: Dict[str, Dict[str, str]] = {
        "DIR": shtab.DIRECTORY, "NAME[,NAME]": _words(config.BACKENDS), "BACKEND": _words(config.BACKENDS),
        "NAME": _words(section.name for section in sections),
        "GROUP": _words(group for section in sections for group in section.groups), "AREA": _words(areas),
        "MODEL": {"bash": "_vmxcheck_models", "zsh": "_vmxcheck_models"},
        "PATTERN": {"bash": "_vmxcheck_first", "zsh": "_vmxcheck_first"}, "ID": {"bash": "_vmxcheck_ids", "zsh": "_vmxcheck_ids"},
    }
    return {**kinds, **dict.fromkeys(("FILE", "RESULTS", "A", "B", "LOG"), shtab.FILE)}


_MODELS = '{ "${BOCHS:-bochs}" --help cpu; "${QEMU:-qemu-system-x86_64}" -cpu help | sed -n "s/^x86 *\\([^ ]*\\).*/\\1/p"; } 2>&1 ' \
          "| sed -n '/^[A-Za-z0-9_-]*$/p'"
_BASH = """\
_vmxcheck_models() { compgen -W "$(%(models)s)" -- "$1"; }
_vmxcheck_ids() { compgen -W "$("${COMP_WORDS[0]}" --list 2>/dev/null | cut -f 1 | sort -u)" -- "$1"; }
_vmxcheck_first() { [ "$COMP_CWORD" != 1 ] || (IFS=" "; compgen -W "%(commands)s" -- "$1"); _vmxcheck_ids "$1"; }
"""
_ZSH = """\
_vmxcheck_models() { local -a models; models=(${(f)"$(%(models)s)"}); compadd -a models; }
_vmxcheck_ids() { local -a ids; ids=(${(f)"$($_vmxcheck_program --list 2>/dev/null | cut -f 1 | sort -u)"}); compadd -a ids; }
_vmxcheck_first() {
  local -a commands
  commands=(%(described)s)
  (( CURRENT > 2 )) || _describe command commands
  _vmxcheck_ids
}
"""


def _mark(parser: argparse.ArgumentParser, shell: str, command: str) -> str:
    """Say to shtab what may follow each option; the functions for bash that say fixed words."""
    kinds, functions = _kinds(), []
    for action in _actions(parser):
        kind = kinds.get(str(action.metavar))
        if action.choices and shell == "bash":  # shtab before 1.6 says the first of them alone
            kind, action.choices = _words(action.choices), None
        if kind and action.nargs != 0 and not action.choices:
            if shell == "bash" and " " in kind["bash"]:
                function = "_vmxcheck_%s_%s_words" % (command, (action.option_strings or [action.dest])[-1].lstrip("-"))
                functions.append('%s() { local IFS=" "; compgen -W "%s" -- "$1"; }\n' % (function, kind["bash"]))
                kind = {**kind, "bash": function}
            action.complete = kind  # type: ignore[attr-defined]
    return "".join(functions)


def bash() -> str:
    """A function of shtab's for each parser, and the door."""
    preamble, out = _BASH % {"models": _MODELS, "commands": " ".join(options.COMMANDS)}, []
    for name, parser in options.parsers().items():
        parser.prog = "vmxcheck-" + (name or "run")
        words = _mark(parser, "bash", name or "run")
        out.append(_shtab().complete(parser, "bash", root_prefix="vmxcheck_" + (name or "run"), preamble={"bash": preamble + words}))
    out += ["_vmxcheck() {", "\tcase ${COMP_WORDS[1]} in"]
    out += ["\t%s) [ \"$COMP_CWORD\" = 1 ] || { COMP_WORDS=(\"${COMP_WORDS[0]}\" \"${COMP_WORDS[@]:2}\"); COMP_CWORD=$((COMP_CWORD - 1)); "
            "_shtab_vmxcheck_%s \"$@\"; return; } ;;" % (name, name) for name in options.COMMANDS]
    out += ["\tesac", "\t_shtab_vmxcheck_run \"$@\"", "}", "complete -o filenames -o bashdefault -F _vmxcheck %s ./run_tests.sh" % " ".join(NAMES)]
    return "\n".join(out) + "\n"


def zsh() -> str:
    """shtab completes arguments of commands alone: so a run is the command `run` for it, which the door puts there."""
    described = " ".join("'%s:%s'" % (name, text.replace("'", "").replace(":", "\\:")) for name, text in options.COMMANDS.items())
    root = argparse.ArgumentParser(prog="vmxcheck")
    commands = root.add_subparsers()
    for name, parser in options.parsers().items():
        _mark(parser, "zsh", name or "run")
        commands.add_parser(name or "run", parents=[parser], add_help=False, help=name)
    text: str = _shtab().complete(root, "zsh", root_prefix="vmxcheck", preamble={"zsh": _ZSH % {"models": _MODELS, "described": described}})
    door = ["_vmxcheck_program=$words[1]", "case ${words[2]} in", "%s) (( CURRENT > 2 )) ;;" % "|".join(options.COMMANDS), "*) false ;;",
            "esac || { words=($words[1] run ${words[2,-1]}); (( CURRENT++ )); }"]
    front, line, back = text.partition("typeset -A opt_args\n")
    return front.replace("#compdef vmxcheck\n", "#compdef %s\n" % " ".join(NAMES), 1) + "\n".join(door) + "\n" + line + back


def main(words: List[str]) -> int:
    sys.stdout.write({"man": man, "bash": bash, "zsh": zsh}[words[0]]())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
