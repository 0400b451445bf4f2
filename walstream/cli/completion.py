"""Completion scripts for bash, zsh and fish, made from what the commands accept. Pure.

They complete commands, options, words that are one of a few, servers' names and backups' ids, for which they call
``walstream list-servers --minimal`` and ``list-backups --minimal`` with the configuration that was typed; where
nothing is known, files.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from walstream.cli.completion_words import BACKUP, FILE, SERVER, Option, Place, Words, everywhere, with_values

_BACKUP_WORDS = "latest oldest latest-full last-failed"


def bash(commands: Sequence[Words]) -> str:
    """For ``~/.bashrc``: ``eval "$(walstream completion bash)"``."""
    names = " ".join(name for each in commands for name in each.names)
    cases = [
        f'        {"|".join(each.names)}) options="{_spellings(each)}" places="{_bash_places(each)}" ;;'
        for each in commands
    ]
    values = [_bash_value(word, option) for word, option in with_values(commands)]
    skipped = "|".join(
        f"{word}:{each}" for word, option in with_values(commands) for each in option.spellings
    )
    return _BASH.format(
        names=names,
        globals=" ".join(word for each in everywhere(commands) for word in each.spellings),
        cases="\n".join(cases),
        values="\n".join(values),
        skipped=skipped,
        backups=_BACKUP_WORDS,
    )


_BASH = r"""_walstream_ask() {{
    walstream "${{config[@]}}" "$@" --minimal 2>/dev/null
}}
_walstream() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD - 1]}}"
    local command="" server="" options="" places="" place=0 i
    local -a config=()
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "$command:${{COMP_WORDS[i]}}" in
            *:-c|*:--config)
                ((i++)); [[ ${{COMP_WORDS[i]}} == = ]] && ((i++))
                config=(-c "${{COMP_WORDS[i]/#\~/$HOME}}") ;;
            {skipped}) ((i++)); [[ ${{COMP_WORDS[i]}} == = ]] && ((i++)) ;;
            *:-*) ;;
            :*) command="${{COMP_WORDS[i]}}" ;;
            *) ((place++ == 0)) && server="${{COMP_WORDS[i]}}" ;;
        esac
    done
    if [[ $word == = ]]; then
        word=""
    elif [[ $before == = ]]; then
        before="${{COMP_WORDS[COMP_CWORD - 2]}}"
    fi
    case "$command:$before" in
{values}
    esac
    case "$command" in
        "")
            if [[ $word == -* ]]; then
                options="{globals}"
            else
                options="{names}"
            fi
            COMPREPLY=($(compgen -W "$options" -- "$word"))
            return ;;
{cases}
    esac
    if [[ $word == -* ]]; then
        COMPREPLY=($(compgen -W "$options" -- "$word"))
        return
    fi
    local -a kinds
    read -ra kinds <<< "$places"
    local kind="${{kinds[place]}}"
    if ((place >= ${{#kinds[@]}} && ${{#kinds[@]}})) && [[ ${{kinds[-1]}} == *+ ]]; then
        kind="${{kinds[-1]}}"
    fi
    case "$kind" in
        server) places="$(_walstream_ask list-servers)" ;;
        server+) places="$(_walstream_ask list-servers) all" ;;
        backup|backup+) places="$(_walstream_ask list-backups "$server") {backups}" ;;
        =*) places="${{kind//=/ }}" ;;
        *) return ;;
    esac
    COMPREPLY=($(compgen -W "$places" -- "$word"))
}}
complete -o default -F _walstream walstream
"""


def zsh(commands: Sequence[Words]) -> str:
    """For a file ``_walstream`` in a directory of ``$fpath``."""
    names = [
        f"        {_quoted(name + ':' + each.summary.replace(':', ' '))}"
        for each in commands
        for name in each.names
    ]
    cases = [
        f"        {'|'.join(each.names)}) _arguments {' '.join(_zsh_specs(each))} ;;" for each in commands
    ]
    common = " ".join(spec for each in everywhere(commands) for spec in _zsh_option(each))
    return _ZSH.format(
        names="\n".join(names), cases="\n".join(cases), everywhere=common, backups=_BACKUP_WORDS
    )


_ZSH = r"""#compdef walstream
_walstream_ask() {{
    local i
    local -a config
    for ((i = 1; i < ${{#_walstream_words}}; i++)); do
        [[ $_walstream_words[i] == (-c|--config) ]] && config=(-c "${{(Q)_walstream_words[i + 1]/#\~/$HOME}}")
    done
    walstream $config "$@" 2>/dev/null
}}
_walstream_servers() {{
    local -a servers
    servers=(${{(f)"$(_walstream_ask list-servers --minimal)"}} $1)
    _describe server servers
}}
_walstream_backups() {{
    local -a backups
    backups=(${{(f)"$(_walstream_ask list-backups "${{(Q)line[1]}}" --minimal)"}} {backups})
    _describe -V backup backups
}}
_walstream_commands() {{
    local -a commands
    commands=(
{names}
    )
    _describe command commands
}}
_walstream() {{
    local curcontext="$curcontext" state
    local -a line _walstream_words
    typeset -A opt_args
    _walstream_words=($words)
    _arguments -C {everywhere} '1:command:_walstream_commands' '*::argument:->argument' && return
    [[ $state == argument ]] || return
    case "$words[1]" in
{cases}
    esac
}}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _walstream "$@"
else
    compdef _walstream walstream
fi
"""


def fish(commands: Sequence[Words]) -> str:
    """For ``~/.config/fish/completions/walstream.fish``."""
    skipped = " ".join(
        f"'{word}:{each}'" for word, option in with_values(commands) for each in option.spellings
    )
    first = "complete -c walstream -n __walstream_no_command"
    lines = [_FISH.format(skipped=skipped)]
    lines += [f"{first} {_fish_option(each)}" for each in everywhere(commands)]
    for each in commands:
        lines += [f"{first} -f -a {name} -d {_fish_quoted(each.summary)}" for name in each.names]
        here = ",".join(each.names)
        for number, place in enumerate(each.places):
            wanted = _fish_wanted(place)
            at = f"{number}{'+' if place.repeats else ''}"
            if wanted:
                lines.append(f"complete -c walstream -n '__walstream_at {here} {at}' -f -k -a '{wanted}'")
        lines += [
            f"complete -c walstream -n '__walstream_at {here} 0+' {_fish_option(option)}"
            for option in each.options
        ]
    return "\n".join([*lines, ""])


_FISH = """function __walstream_words
    set -l command ''
    set -l skip 0
    for word in (commandline -opc)[2..]
        if test $skip = 1
            set skip 0
            continue
        end
        switch "$command:$word"
            case {skipped}
                set skip 1
            case '*:-*'
            case '*'
                test -z "$command"; and set command $word
                printf '%s\\n' $word
        end
    end
end
function __walstream_no_command
    test (count (__walstream_words)) -eq 0
end
function __walstream_at
    set -l words (__walstream_words)
    test (count $words) -gt 0; and contains -- $words[1] (string split , -- $argv[1]); or return 1
    set -l place (math (count $words) - 1)
    if string match -q '*+' -- $argv[2]
        test $place -ge (string trim -r -c + -- $argv[2])
    else
        test $place -eq $argv[2]
    end
end
function __walstream_ask
    set -l words (commandline -opc)
    set -l config
    for i in (seq (count $words))
        if contains -- $words[$i] -c --config
            set config -c (string replace -r '^~' $HOME -- $words[(math $i + 1)])
        end
    end
    walstream $config $argv 2>/dev/null
end
complete -c walstream -n __walstream_no_command -f"""


def _spellings(words: Words) -> str:
    return " ".join(word for option in words.options for word in option.spellings)


def _bash_places(words: Words) -> str:
    """``server backup+ =bash=zsh``: a kind or choices for each place, with a plus where it repeats."""
    return " ".join(
        "".join(f"={choice}" for choice in each.choices) or f"{each.kind}{'+' if each.repeats else ''}"
        for each in words.places
    )


def _bash_value(command: str, option: Option) -> str:
    """The line for the word behind an option: one of its choices, or a file."""
    where = "|".join(f"{command}:{spelling}" for spelling in option.spellings)
    words = f'COMPREPLY=($(compgen -W "{" ".join(option.choices)}" -- "$word")); ' if option.choices else ""
    return f"        {where}) {words}return ;;"


def _zsh_specs(words: Words) -> list[str]:
    specs = [spec for option in words.options for spec in _zsh_option(option)]
    for number, place in enumerate(words.places, 1):
        action = f"({' '.join(place.choices)})" if place.choices else _ZSH_ACTIONS[place.kind]
        if place.repeats and place.kind == SERVER:
            action += " all"
        specs.append(_quoted(f"{'*' if place.repeats else number}:{place.kind}:{action}"))
    return specs


_ZSH_ACTIONS = {SERVER: "_walstream_servers", BACKUP: "_walstream_backups", FILE: "_files"}


def _zsh_option(option: Option) -> list[str]:
    value = f":value:({' '.join(option.choices)})" if option.choices else ":value:_files"
    text = re.sub(r"([\[\]:\\])", r"\\\1", option.help)
    return [
        _quoted(f"{spelling}[{text}]{value if option.takes_value else ''}") for spelling in option.spellings
    ]


def _fish_wanted(place: Place) -> str:
    if place.choices:
        return " ".join(place.choices)
    if place.kind == SERVER:
        return f"(__walstream_ask list-servers --minimal{'; echo all' if place.repeats else ''})"
    if place.kind == BACKUP:
        ids = "(__walstream_ask list-backups (__walstream_words)[2] --minimal)"
        return f"{ids} {_BACKUP_WORDS}"
    return ""


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
