"""The command line: which command, and nothing more.

``get-wal`` and ``wal-restore`` run once per segment of a recovery, and PostgreSQL takes any exit code
from 1 to 125 as the end of WAL. So they are told apart here, before argparse is imported, and whatever
goes wrong in them ends with 255.
"""

from __future__ import annotations

import os
import sys

from walstream.cli.commands import find_command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

TROUBLE = 255

_TAKES_VALUE = ("-c", "--config", "-f", "--format", "--log-level")


def main(argv: list[str] | None = None) -> int:
    """Run the command that ``argv`` names, and return the exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    word, rest = split_command(arguments)
    command = find_command(word) if word is not None else None
    if command is not None and command.light and "--help" not in rest and "-h" not in rest:
        return run_light(command.module, rest)
    # Not for a light command: argparse and what it imports take longer than a segment's delivery.
    from walstream.cli.program import run

    code = run(word, rest)
    if code and command is None and _means_light(arguments):
        return TROUBLE
    return code


def split_command(arguments: list[str]) -> tuple[str | None, list[str]]:
    """The command's word, which is the first argument that is no global option, and all the others."""
    position = 0
    while position < len(arguments) and arguments[position].startswith("-"):
        position += 2 if arguments[position] in _TAKES_VALUE else 1
    if position >= len(arguments):
        return None, list(arguments)
    return arguments[position], arguments[:position] + arguments[position + 1 :]


def _means_light(arguments: list[str]) -> bool:
    """Whether arguments that name no command were meant for a light one: ``-c get-wal main``."""
    return any((command := find_command(word)) is not None and command.light for word in arguments)


def run_light(module: str, arguments: list[str]) -> int:
    """Call ``light_main`` of a module; 255 for everything that it does not answer itself."""
    try:
        __import__(module)
        light_main: Callable[[list[str]], int] = sys.modules[module].light_main
        code = light_main(arguments)
        flush_or_forget(sys.stdout)
    except BaseException as error:
        # The process ends here; any code but this could be taken for the end of WAL.
        say(f"walstream: error: {str(error) or type(error).__name__}")
        hint = getattr(error, "hint", None)
        if hint:
            say(f"hint: {hint}")
        code = TROUBLE
    return code


def say(line: str) -> None:
    """Write a line to standard error, if there is still anybody who reads it."""
    try:
        os.write(2, line.encode(errors="backslashreplace") + b"\n")
    except OSError:
        pass


def flush_or_forget(stream: object) -> None:
    """Flush a standard stream now; on failure raise, and leave nothing that fails again at exit.

    The interpreter would end with 120 for it, whatever ``main`` answered.
    """
    flush = getattr(stream, "flush", None)
    if flush is None:
        return
    try:
        flush()
    except OSError:
        forget_stdout()
        raise


def forget_stdout() -> None:
    """Let what is still to be written to standard output go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
