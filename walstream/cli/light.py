"""Arguments of the light commands, read without argparse: importing that takes longer than the delivery."""

from __future__ import annotations

from catalog.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Global options that a light command may be given; only the configuration file means anything here.
_GLOBAL_VALUES = {
    "-c": "config",
    "--config": "config",
    "-f": "format",
    "--format": "format",
    "--log-level": "level",
}
_GLOBAL_FLAGS = {"-q": "quiet", "--quiet": "quiet", "-d": "debug", "--debug": "debug"}


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
