"""Arguments of the light commands, read without argparse: importing that takes longer than the delivery."""

from __future__ import annotations

import os

from catalog.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

    from catalog.identity import Identities
    from walstream.settings.locate import Places

# Global options that a light command may be given; only the configuration file means anything here.
_GLOBAL_VALUES = {
    "-c": "config",
    "--config": "config",
    "-f": "format",
    "--format": "format",
    "--log-level": "level",
}
_GLOBAL_FLAGS = {"-q": "quiet", "--quiet": "quiet", "-d": "debug", "--debug": "debug"}


# Options of all commands that read what may be encrypted.
IDENTITY_VALUES = {"--identity-file": "identity_file", "--identity-command": "identity_command"}


class Arguments:
    """What was given: options by name, flags that are set, and the rest in order."""

    __slots__ = ("flags", "rest", "values")

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.flags: set[str] = set()
        self.rest: list[str] = []


def parse(
    arguments: Sequence[str], flags: Mapping[str, str], values: Mapping[str, str], wanted: Sequence[str]
) -> Arguments:
    """Sort out the arguments; ``wanted`` are the names of the positional ones, all required.

    ``UsageError`` for an unknown option, a missing value, or too few or too many positional ones.
    """
    flags = {**_GLOBAL_FLAGS, **flags}
    values = {**_GLOBAL_VALUES, **values}
    found = Arguments()
    only_rest = False
    pending: str | None = None
    for argument in arguments:
        if pending is not None:
            found.values[pending] = argument
            pending = None
        elif only_rest or argument == "-" or not argument.startswith("-"):
            found.rest.append(argument)
        elif argument == "--":
            only_rest = True
        elif argument in flags:
            found.flags.add(flags[argument])
        elif argument in values:
            pending = values[argument]
        else:
            name, equals, value = argument.partition("=")
            if not equals or name not in values:
                raise UsageError(f"unknown option {argument!r}", "see the command's --help")
            found.values[values[name]] = value
    if pending is not None:
        raise UsageError(f"the option for {pending!r} has no value", "see the command's --help")
    if len(found.rest) != len(wanted):
        raise UsageError(f"expected {' '.join(wanted)}, got {len(found.rest)}", "see the command's --help")
    return found


def add_identity_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that say where the identity is; for the help of light commands, and for the others to parse."""
    parser.add_argument(
        "--identity-file",
        metavar="FILE",
        help="the identity that opens what is encrypted (default: as configured)",
    )
    parser.add_argument(
        "--identity-command", metavar="COMMAND", help="a command that prints it, run without a shell"
    )


def identities_of(given: Arguments, places: Places) -> Identities | None:
    """The identities that were given, or else those of the configuration; None when there are none."""
    file, command = given.values.get("identity_file"), given.values.get("identity_command")
    return chosen_identities(file, command, places)


def chosen_identities(
    file: str | None, command: str | None, places: Places, ask: Callable[[str], str] | None = None
) -> Identities | None:
    """What the command line says, or else the configuration; None when neither says anything.

    ``ask`` gets the passphrase of a file that is locked, where there is somebody to ask.
    """
    if file is None and command is None:
        file, command = places.identity_file, places.identity_command
    if file is None and command is None:
        return None
    # Imported only here: what is not encrypted needs no identity.
    from catalog.identity import Identities

    return Identities(file and os.path.abspath(os.path.expanduser(file)), command, ask)
