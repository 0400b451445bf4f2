"""From arguments to an exit code, for all commands but the light ones.

Only the chosen command's module is imported. Global options may stand before and after the command.
Every error becomes a line and a hint here, and nowhere else.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from itertools import pairwise
from typing import NoReturn, Protocol

from catalog.errors import Interrupted, StorageError, UsageError, WalstreamError
from walstream import __version__
from walstream.cli import flush_or_forget, forget_stdout, nagios
from walstream.cli.commands import COMMANDS, GROUPS, Command, find_command
from walstream.cli.context import Context
from walstream.cli.output import Output
from walstream.settings.nearest import suggestion

_SEE_COMMANDS = "the commands are listed by: walstream --help"


class CommandModule(Protocol):
    """What the module of a command has."""

    EXAMPLE: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...
    def run(self, context: Context, arguments: argparse.Namespace) -> int: ...


def run(word: str | None, rest: Sequence[str]) -> int:
    """Run the command called ``word`` with all other arguments; the exit code."""
    output = Output(sys.stdout, sys.stderr, as_json=_asks_for_json(rest))
    if output.as_json and "--supervised" in rest:
        output.leave_to_parent()
    try:
        code = _guarded(word, rest, output)
        output.close()
        flush_or_forget(sys.stdout)
    except BrokenPipeError:
        forget_stdout()
        return 1
    except OSError as error:
        output.error(_as_ours(error))
        return 1
    return code


def _guarded(word: str | None, rest: Sequence[str], output: Output) -> int:
    """Run a command; errors become output and an exit code. A broken pipe is passed on."""
    try:
        return _run(word, rest, output)
    except SystemExit as finished:
        # argparse has shown help or the version.
        return finished.code if isinstance(finished.code, int) else 0
    except BrokenPipeError:
        raise
    except (Exception, KeyboardInterrupt) as error:
        # The boundary of the process: what nobody handled is shown, once.
        ours = _as_ours(error)
        output.error(ours)
        if "-d" in rest or "--debug" in rest:
            traceback.print_exc(file=sys.stderr)
        # What failed before the command could answer is not what a monitoring system knows as 1 or 2.
        return nagios.UNKNOWN if word == "check" and "--nagios" in rest else ours.exit_code


def _as_ours(error: BaseException) -> WalstreamError:
    if isinstance(error, WalstreamError):
        return error
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename is not None else ""
        return StorageError(f"{where}{error.strerror or error}")
    if isinstance(error, KeyboardInterrupt):
        return Interrupted("interrupted")
    message = f"internal error: {type(error).__name__}: {error}"
    return WalstreamError(message, "please report it, with what the same command shows with -d")


def _run(word: str | None, rest: Sequence[str], output: Output) -> int:
    if word is None:
        return _without_command(rest, output)
    command = find_command(word)
    if command is None:
        hint = suggestion(word, [name for known in COMMANDS for name in (known.name, *known.aliases)])
        raise UsageError(f"there is no command {word!r}", hint or _SEE_COMMANDS)
    module: CommandModule = import_module(command.module)
    arguments = command_parser(command, module).parse_args(rest)
    output.configure(as_json=arguments.format == "json", quiet=arguments.quiet)
    context = Context(arguments, output)
    if "logging" not in sys.modules:  # nothing of what the command needs can log
        return module.run(context, arguments)
    # Slow to import, and most commands that answer at once have no need of it.
    from walstream.cli.logs import said_through

    with said_through(lambda: context.output):
        return module.run(context, arguments)


def _without_command(rest: Sequence[str], output: Output) -> int:
    parser = _Parser(prog="walstream", add_help=False, allow_abbrev=False)
    _add_global_options(parser)
    parser.add_argument("-h", "--help", action="store_true")
    if not parser.parse_args(rest).help:
        raise UsageError("no command was given", _SEE_COMMANDS)
    output.configure(as_json=False, quiet=False)
    output.line(overview())
    return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message, f"see: {self.prog} --help")


def command_parser(command: Command, module: CommandModule) -> argparse.ArgumentParser:
    """The parser of one command, global options included."""
    parser = _Parser(
        prog=f"walstream {command.name}",
        description=f"{command.summary[:1].upper()}{command.summary[1:]}.",
        epilog=f"example:\n  {module.EXAMPLE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    _add_global_options(parser.add_argument_group("global options"))
    return parser


def _add_global_options(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("-c", "--config", metavar="FILE", help="the configuration file")
    parser.add_argument(
        "-f", "--format", choices=("console", "json"), default="console", help="form of the output"
    )
    parser.add_argument("--log-level", metavar="LEVEL", help="in place of the configuration's log_level")
    parser.add_argument("-q", "--quiet", action="store_true", help="show errors only")
    parser.add_argument("-d", "--debug", action="store_true", help="show where an error came from")
    parser.add_argument("-v", "--version", action="version", version=f"walstream {__version__}")


def overview() -> str:
    """What ``walstream --help`` shows."""
    width = max(len(command.name) for command in COMMANDS) + 2
    parts = ["usage: walstream [global options] COMMAND …", "", "Continuous protection for PostgreSQL."]
    for group in GROUPS:
        members = [command for command in COMMANDS if command.group == group]
        if members:
            parts += ["", f"{group}:", *(f"  {member.name:{width}}{member.summary}" for member in members)]
    options = _Parser(add_help=False, usage=argparse.SUPPRESS)
    _add_global_options(options.add_argument_group("Global options, before or after the command"))
    parts += ["", options.format_help().strip()]
    parts += ["", "walstream COMMAND --help shows the rest, with an example."]
    return "\n".join(parts)


def _asks_for_json(arguments: Sequence[str]) -> bool:
    """Whether JSON is wanted, guessed before the arguments are understood, for errors in them."""
    return any(
        first in ("-fjson", "--format=json") or (first in ("-f", "--format") and second == "json")
        for first, second in pairwise([*arguments, ""])
    )
