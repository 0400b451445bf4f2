"""``walstream completion``: a script by which a shell completes commands, options, servers and backups."""

from __future__ import annotations

import argparse
from importlib import import_module

from walstream.cli.commands import COMMANDS
from walstream.cli.completion import SHELLS
from walstream.cli.completion_words import words_of
from walstream.cli.context import Context

EXAMPLE = "walstream completion bash > ~/.local/share/bash-completion/completions/walstream"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Print a completion script. bash: into ~/.local/share/bash-completion/completions/walstream; zsh: into a "
        "file _walstream in a directory of $fpath; fish: into ~/.config/fish/completions/walstream.fish."
    )
    parser.add_argument(
        "shell", metavar="SHELL", choices=sorted(SHELLS), help=f"one of {', '.join(sorted(SHELLS))}"
    )


def run(context: Context, arguments: argparse.Namespace) -> int:
    # The parser of every command; in its turn this command's own, which is why it is looked up late.
    from walstream.cli.program import command_parser

    words = [
        words_of(each.name, each.aliases, each.summary, command_parser(each, import_module(each.module)))
        for each in COMMANDS
    ]
    script = SHELLS[arguments.shell](words)
    context.output.line(script.rstrip("\n"))
    context.output.put("script", script)
    return 0
