"""What may follow each command, as its parser has it, for completion scripts. Pure."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

SERVER, BACKUP, FILE = "server", "backup", "file"
# By the argument's name in the parser.
_KINDS = {"server": SERVER, "servers": SERVER, "backup": BACKUP, "backups": BACKUP}


@dataclass(frozen=True, slots=True)
class Option:
    """One option: its spellings, what it is for, whether a value follows, and which ones if they are few."""

    spellings: tuple[str, ...]
    help: str
    takes_value: bool
    choices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """What stands in one place behind a command: a ``kind``, or one of ``choices``; ``repeats``: any number."""

    kind: str
    choices: tuple[str, ...]
    repeats: bool


@dataclass(frozen=True, slots=True)
class Words:
    """What may follow a command: its options, and what stands where."""

    name: str
    aliases: tuple[str, ...]
    summary: str
    options: tuple[Option, ...]
    places: tuple[Place, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All that the command is called by."""
        return (self.name, *self.aliases)


def words_of(name: str, aliases: Sequence[str], summary: str, parser: argparse.ArgumentParser) -> Words:
    """What a command's parser accepts."""
    options: list[Option] = []
    places: list[Place] = []
    for action in parser._actions:
        given = tuple(map(str, action.choices or ()))
        if not action.option_strings:
            places.append(Place(_KINDS.get(action.dest, FILE), given, action.nargs in ("+", "*")))
        elif action.help != argparse.SUPPRESS:
            text = " ".join((action.help or "").split())
            options.append(Option(tuple(action.option_strings), text, action.nargs != 0, given))
    return Words(name, tuple(aliases), summary, tuple(options), tuple(places))


def everywhere(commands: Sequence[Words]) -> list[Option]:
    """The options that every command has."""
    common = set(commands[0].options).intersection(*(each.options for each in commands))
    return [option for option in commands[0].options if option in common]


def with_values(commands: Sequence[Words]) -> list[tuple[str, Option]]:
    """Options that a value follows, by the command's word, or ``*`` for those of every command."""
    common = everywhere(commands)
    return [("*", option) for option in common if option.takes_value] + [
        (name, option)
        for each in commands
        for name in each.names
        for option in each.options
        if option.takes_value and option not in common
    ]
