# SPDX-License-Identifier: BSD-2-Clause
"""The manual page and the completions of bash and zsh, made from the parsers in options.py.

    python3 -m vmxcheck.manual man|bash|zsh
"""

from __future__ import annotations

import argparse
import sys
from typing import Dict, Iterator, List

from . import VERSION, options
from .config import BACKENDS

NAMES = ("vmxcheck", "run_tests.sh")

# What may follow an option or stand as an argument, by its metavar.
_WORDS = {"NAME[,NAME]": " ".join(BACKENDS), "N": ""}
_FILES = {"FILE", "RESULTS", "A", "B"}
_FOLDERS = {"DIR"}
_IDS = {"PATTERN", "ID"}


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


# ---- completions

def _kinds(parser: argparse.ArgumentParser) -> Dict[str, str]:
    """option -> what is behind it: files, folders, ids, or the words themselves."""
    found = {}
    for action in _flags(parser):
        if action.nargs == 0:
            continue
        metavar = str(action.metavar)
        words = " ".join(action.choices) if action.choices else _WORDS.get(metavar, "")
        kind = "files" if metavar in _FILES else "folders" if metavar in _FOLDERS else "ids" if metavar in _IDS else "=" + words
        found.update(dict.fromkeys(action.option_strings, kind))
    return found


def bash() -> str:
    lines = ["# bash completion of vmxcheck; made by `make`, do not edit", "_vmxcheck()", "{",
             "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} IFS=$' \\t\\n'",
             "\tlocal command=${COMP_WORDS[1]} program=${COMP_WORDS[0]}", "\tCOMPREPLY=()", '\tcase $command in']
    for name, parser in options.parsers().items():
        if not name:
            continue
        lines += _bash_case(name, parser)
    lines += _bash_case("*", options.run_parser())
    lines += ["\tesac", "}", "complete -o filenames -o bashdefault -F _vmxcheck %s ./run_tests.sh" % " ".join(NAMES)]
    return "\n".join(lines) + "\n"


def _bash_case(name: str, parser: argparse.ArgumentParser) -> List[str]:
    ids = 'mapfile -t COMPREPLY < <("$program" --list 2>/dev/null | cut -f 1 | sort -u | grep -F -- "$cur" | ' \
          'while read -r id; do case $id in "$cur"*) echo "$id" ;; esac; done)'
    replies = {"files": 'mapfile -t COMPREPLY < <(compgen -f -- "$cur")', "folders": 'mapfile -t COMPREPLY < <(compgen -d -- "$cur")',
               "ids": ids}
    lines = ["\t%s)" % name, "\t\tcase $prev in"]
    for option, kind in _kinds(parser).items():
        reply = replies.get(kind) or 'mapfile -t COMPREPLY < <(compgen -W "%s" -- "$cur")' % kind[1:]
        lines.append("\t\t%s) %s; return ;;" % (option, reply))
    flags = " ".join(flag for action in _flags(parser) for flag in action.option_strings)
    commands = " ".join(options.COMMANDS) if name == "*" else ""
    positional = [_value(action) for action in _actions(parser) if not action.option_strings]
    first = replies["ids" if set(positional) & _IDS else "files"]
    lines += ["\t\tesac", "\t\tcase $cur in", '\t\t-*) mapfile -t COMPREPLY < <(compgen -W "%s" -- "$cur") ;;' % flags,
              "\t\t*) %s" % first]
    if commands:
        lines.append('\t\t   [ "$COMP_CWORD" != 1 ] || mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -W "%s" -- "$cur")' % commands)
    return lines + ["\t\t   ;;", "\t\tesac ;;"]


def _zsh_word(text: str) -> str:
    for character in "\\[]:'":
        text = text.replace(character, "" if character == "'" else "\\" + character)
    return text


def zsh() -> str:
    lines = ["#compdef %s" % " ".join(NAMES), "# zsh completion of vmxcheck; made by `make`, do not edit", "",
             "_vmxcheck_ids() {", "  local -a ids",
             '  ids=(${(f)"$($words[1] --list 2>/dev/null | cut -f 1 | sort -u)"})', "  compadd -a ids", "}", "",
             "_vmxcheck_first() {", "  local -a commands", "  commands=("]
    lines += ["    '%s:%s'" % (name, _zsh_word(text)) for name, text in options.COMMANDS.items()]
    lines += ["  )", "  (( CURRENT > 2 )) || _describe command commands", "  _vmxcheck_ids", "}", "", "case ${words[2]} in"]
    for name, parser in options.parsers().items():
        if name:
            lines += ["%s)" % name, "  shift words; (( CURRENT-- ))"] + _zsh_arguments(parser, "") + ["  ;;"]
    lines += ["*)"] + _zsh_arguments(options.run_parser(), "_vmxcheck_first") + ["  ;;", "esac"]
    return "\n".join(lines) + "\n"


def _zsh_arguments(parser: argparse.ArgumentParser, first: str) -> List[str]:
    actions = {"files": "_files", "folders": "_files -/", "ids": "_vmxcheck_ids"}
    specs = []
    for action in _flags(parser):
        for flag in action.option_strings:
            kind = _kinds(parser).get(flag)
            many = "*" if isinstance(action.default, list) else ""
            tail = "" if kind is None else ":%s:%s" % (_zsh_word(_value(action).strip("{}")), actions.get(kind) or "(%s)" % kind[1:])
            specs.append("'%s%s[%s]%s'" % (many, flag, _zsh_word(_help(action)), tail))
    for action in _actions(parser):
        if not action.option_strings:
            value = _value(action)
            specs.append("'%s:%s:%s'" % ("*" if action.nargs in ("*", "+") else "", value.lower(),
                                         first or ("_vmxcheck_ids" if value in _IDS else "_files")))
    return ["  _arguments \\"] + ["    %s \\" % spec for spec in specs[:-1]] + ["    " + specs[-1]]


if __name__ == "__main__":
    sys.stdout.write({"man": man, "bash": bash, "zsh": zsh}[sys.argv[1]]())
