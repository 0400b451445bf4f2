"""``walstream cron``: one maintenance round for crontab."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time

from catalog.errors import ConfigurationError, WalstreamError, one_line
from walstream.cli.context import Context
from walstream.ops.last_said import LastSaid
from walstream.ops.rounds import receiver_starter, run_rounds
from walstream.ops.rounds_due import PROBLEMS

EXAMPLE = "walstream cron"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "One maintenance round, for crontab (* * * * * walstream cron): starts missing receivers, archives what "
        "receivers left behind, sweeps killed backups. It exits with 0 and says nothing when all is well, else "
        "with 1 and a line for each problem, also of a receiver that runs: no stream for a minute, or nothing "
        "archived. One that was ended with --stop is no problem. On a terminal, and with -f json, it says all of "
        "them; elsewhere, so that nobody gets a mail each minute, each when it begins and once a day while it "
        "lasts, and when a server is in order again. The receivers that it starts log to log_file; "
        "where that is not set, to receive-wal.log in walstream_home, which is begun anew when it has more than "
        "10 MiB at such a start."
    )
    parser.add_argument(
        "--supervised",
        action="store_true",
        help="as run calls it: start no receivers, and do not repeat what is wrong with the configuration",
    )


def run(context: Context, arguments: argparse.Namespace) -> int:
    configuration = context.configuration
    if arguments.supervised or configuration.globals.log_file is not None:
        context.start_logging(errors=False)
    else:
        # Problems are this command's result; to a terminal or a mail they are not logged as well.
        logging.getLogger("walstream").setLevel(logging.CRITICAL)
    active = [settings for settings in configuration.servers.values() if settings.active]
    starter = receiver_starter(configuration.file, arguments.log_level, configuration.globals.log_file)
    left_out: set[str] = set()
    problems, ended = run_rounds(active, None if arguments.supervised else starter, left_out=left_out.add)
    found = {
        settings.name: [problem for name, problem in problems if name == settings.name]
        for settings in active
        if settings.name not in left_out
    }
    for name, lines in found.items():
        context.output.put(name, {PROBLEMS: lines})
    if not arguments.supervised:
        found[""] = [one_line(error) for error in configuration.errors]
        _say(context, found)
    if not ended:
        # A thread that hangs in the operating system would keep the process from ending.
        context.output.close()
        sys.stdout.flush()
        os._exit(1)
    return 1 if problems or (configuration.errors and not arguments.supervised) else 0


def _say(context: Context, found: dict[str, list[str]]) -> None:
    """A line for each problem: to a person for all of them, by mail for those that are new."""
    output, home = context.output, context.configuration.globals.walstream_home
    news = [(name, problem) for name, problems in found.items() for problem in problems]
    over: list[str] = []
    if home is not None and not sys.stderr.isatty() and not output.as_json:
        news, over = LastSaid(home).news(found, time.time())
    for name, problem in news:
        output.error(WalstreamError(f"{name}: {problem}") if name else ConfigurationError(problem))
    for name in over:
        output.line(f"{name or 'the configuration'}: in order again")
