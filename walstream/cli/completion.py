"""Completion scripts for bash, zsh and fish, made from what the commands accept. Pure.

They complete commands, options, words that are one of a few, and servers' names, for which they call
``walstream list-servers --minimal``; where nothing is known, files.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass

_SERVERS = "walstream list-servers --minimal 2>/dev/null"
# Global options that take a value, so that the word behind them is not the command's.
_TAKE_VALUES = "-c|--config|-f|--format|--log-level"


@dataclass(frozen=True, slots=True)
class Option:
    """One option: its spellings, what it is for, whether a value follows, and which ones if they are few."""

    spellings: tuple[str, ...]
    help: str
    takes_value: bool
    choices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Words:
    """What may follow a command: its options, and whether it wants servers, or one of ``choices``."""

    name: str
    aliases: tuple[str, ...]
    summary: str
    options: tuple[Option, ...]
    wants_server: bool
    choices: tuple[str, ...]


def words_of(name: str, aliases: Sequence[str], summary: str, parser: argparse.ArgumentParser) -> Words:
    """What a command's parser accepts."""
    options: list[Option] = []
    choices: tuple[str, ...] = ()
    server = False
    for action in parser._actions:
        given = tuple(map(str, action.choices or ()))
        if action.option_strings:
            text = " ".join((action.help or "").split())
            options.append(Option(tuple(action.option_strings), text, action.nargs != 0, given))
        elif given:
            choices = given
        else:
            server = server or action.dest in ("server", "servers")
    return Words(name, tuple(aliases), summary, tuple(options), server, choices)


def bash(commands: Sequence[Words]) -> str:
    """For ``~/.bashrc``: ``eval "$(walstream completion bash)"``."""
    everywhere = set(commands[0].options).intersection(*(each.options for each in commands))
    cases, values = (
        [],
        [_bash_value("*", each) for each in commands[0].options if each in everywhere and each.takes_value],
    )
    for each in commands:
        spellings = " ".join(word for option in each.options for word in option.spellings)
        wanted = "servers" if each.wants_server else " ".join(each.choices)
        cases.append(
            f'        {"|".join((each.name, *each.aliases))}) options="{spellings}" wanted="{wanted}" ;;'
        )
        own = [option for option in each.options if option.takes_value and option not in everywhere]
        values += [_bash_value(name, option) for name in (each.name, *each.aliases) for option in own]
    names = " ".join(name for each in commands for name in (each.name, *each.aliases))
    return "\n".join(
        [
            "_walstream() {",
            '    local word="${COMP_WORDS[COMP_CWORD]}" command="" config="" options="" wanted="" i',
            "    COMPREPLY=()",
            "    for ((i = 1; i < COMP_CWORD; i++)); do",
            '        case "${COMP_WORDS[i]}" in',
            '            -c|--config) config="${COMP_WORDS[i + 1]}"; ((i++)) ;;',
            f"            {_TAKE_VALUES}) ((i++)) ;;",
            "            -*) ;;",
            '            *) [[ -n $command ]] || command="${COMP_WORDS[i]}" ;;',
            "        esac",
            "    done",
            '    case "$command:${COMP_WORDS[COMP_CWORD - 1]}" in',
            *values,
            "    esac",
            '    case "$command" in',
            f'        "") COMPREPLY=($(compgen -W "{names}" -- "$word")); return ;;',
            *cases,
            "    esac",
            "    if [[ $word == -* ]]; then",
            '        COMPREPLY=($(compgen -W "$options" -- "$word"))',
            "    elif [[ $wanted == servers ]]; then",
            f'        wanted="$(${{config:+env WALSTREAM_CONFIG_FILE="$config"}} {_SERVERS}) all"',
            '        COMPREPLY=($(compgen -W "$wanted" -- "$word"))',
            "    else",
            '        COMPREPLY=($(compgen -W "$wanted" -- "$word"))',
            "    fi",
            "}",
            "complete -o default -F _walstream walstream",
            "",
        ]
    )


def zsh(commands: Sequence[Words]) -> str:
    """For a file ``_walstream`` in a directory of ``$fpath``."""
    names = [
        f"        {_quoted(name + ':' + each.summary.replace(':', ' '))}"
        for each in commands
        for name in (each.name, *each.aliases)
    ]
    cases = [
        f"        {'|'.join((each.name, *each.aliases))}) _arguments {' '.join(_zsh_specs(each))} ;;"
        for each in commands
    ]
    return "\n".join(
        [
            "#compdef walstream",
            "_walstream_servers() {",
            "    local -a servers",
            f'    servers=(${{(f)"$({_SERVERS})"}} all)',
            "    _describe server servers",
            "}",
            "_walstream() {",
            "    local -a commands",
            "    commands=(",
            *names,
            "    )",
            "    if ((CURRENT == 2)); then",
            "        _describe command commands",
            "        return",
            "    fi",
            "    shift words",
            "    ((CURRENT--))",
            '    case "$words[1]" in',
            *cases,
            "    esac",
            "}",
            "if [[ $zsh_eval_context[-1] == loadautofunc ]]; then",
            '    _walstream "$@"',
            "else",
            "    compdef _walstream walstream",
            "fi",
            "",
        ]
    )


def fish(commands: Sequence[Words]) -> str:
    """For ``~/.config/fish/completions/walstream.fish``."""
    lines = ["complete -c walstream -n __fish_use_subcommand -f"]
    for each in commands:
        for name in (each.name, *each.aliases):
            lines.append(
                f"complete -c walstream -n __fish_use_subcommand -f -a {name} -d {_fish_quoted(each.summary)}"
            )
        here = (
            f"complete -c walstream -n '__fish_seen_subcommand_from {' '.join((each.name, *each.aliases))}'"
        )
        if each.wants_server:
            lines.append(f"{here} -f -a '({_SERVERS}; echo all)'")
        elif each.choices:
            lines.append(f"{here} -f -a '{' '.join(each.choices)}'")
        lines += [f"{here} {_fish_option(option)}" for option in each.options]
    return "\n".join([*lines, ""])


def _bash_value(command: str, option: Option) -> str:
    """The line for the word behind an option: one of its choices, or a file."""
    where = "|".join(f"{command}:{spelling}" for spelling in option.spellings)
    words = f'COMPREPLY=($(compgen -W "{" ".join(option.choices)}" -- "$word")); ' if option.choices else ""
    return f"        {where}) {words}return ;;"


def _zsh_specs(words: Words) -> list[str]:
    specs = []
    for option in words.options:
        value = f":value:({' '.join(option.choices)})" if option.choices else ":value:_files"
        text = re.sub(r"([\[\]:\\])", r"\\\1", option.help)
        specs += [
            _quoted(f"{spelling}[{text}]{value if option.takes_value else ''}")
            for spelling in option.spellings
        ]
    if words.wants_server:
        return [*specs, _quoted("*:server:_walstream_servers")]
    return [*specs, _quoted(f"*:word:({' '.join(words.choices)})" if words.choices else "*:file:_files")]


def _fish_option(option: Option) -> str:
    flags = [f"-l {each[2:]}" if each.startswith("--") else f"-s {each[1:]}" for each in option.spellings]
    if option.choices:
        flags.append(f"-x -a '{' '.join(option.choices)}'")
    elif option.takes_value:
        flags.append("-r")
    return f"{' '.join(flags)} -d {_fish_quoted(option.help)}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


SHELLS = {"bash": bash, "zsh": zsh, "fish": fish}
