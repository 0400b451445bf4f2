"""``walstream init``: take a server under protection."""

from __future__ import annotations

import argparse
import shlex
import sys

from catalog.errors import ServerError, UsageError
from walstream.cli.check_cmd import show_item
from walstream.cli.context import Context
from walstream.cli.output import Output
from walstream.ops.init import InitOutcome, InitRequest, init

EXAMPLE = "walstream init main 'host=db.example.com user=walstream dbname=postgres'"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="what the server is to be called here")
    parser.add_argument(
        "conninfo", metavar="CONNINFO", help="a libpq connection string; - reads it from standard input"
    )
    parser.add_argument("--description", metavar="TEXT", help="free text, shown by list-servers")
    parser.add_argument("--home", metavar="DIR", help="walstream_home of a new configuration file")


def run(context: Context, arguments: argparse.Namespace) -> int:
    """Protect a server; 1, and nothing written, if it lacks something."""
    conninfo = arguments.conninfo if arguments.conninfo != "-" else _from_standard_input()
    request = InitRequest(
        arguments.name, conninfo, arguments.description, context.config_file, arguments.home
    )
    outcome = init(request)
    context.output.put(arguments.name, _facts(outcome))
    if outcome.lacks:
        for lack in outcome.lacks:
            context.output.error(ServerError(lack.message, lack.remedy))
        context.output.note("nothing was written: repeat the command when that is done")
        return 1
    program = f"walstream -c {shlex.quote(context.config_file)}" if context.config_file else "walstream"
    _show(context.output, arguments.name, outcome, program)
    return 0


def _from_standard_input() -> str:
    conninfo = sys.stdin.readline().strip()
    if not conninfo:
        raise UsageError("there is no connection string on standard input", "write it on one line")
    return conninfo


def _show(output: Output, name: str, outcome: InitOutcome, program: str) -> None:
    settings, report = outcome.settings, outcome.report
    if settings is None or report is None:
        return
    output.line(
        f"server {name} is added to {outcome.file}" if outcome.added else f"{outcome.file} has {name} already"
    )
    output.line(f"its repository is {settings.repository}")
    for advice in outcome.advice:
        output.warning(advice)
    noted = [item for item in report.items if not item.ok or item.is_warning]
    if noted:
        output.line("walstream check says:")
    for item in noted:
        show_item(output, item)
    output.line("next:")
    output.line(f"  {program} receive-wal {name}    # leave it running, or '{program} run' for all servers")
    output.line(f"  {program} backup {name}         # in another terminal: the first base backup")
    output.line(f"  {program} check {name}")


def _facts(outcome: InitOutcome) -> dict[str, object]:
    return {
        "file": outcome.file,
        "added": outcome.added,
        "repository": outcome.settings.repository if outcome.settings else None,
        "lacks": [{"message": lack.message, "remedy": lack.remedy} for lack in outcome.lacks],
        "advice": list(outcome.advice),
        "failed": [item.key for item in outcome.report.items if not item.ok] if outcome.report else [],
    }
