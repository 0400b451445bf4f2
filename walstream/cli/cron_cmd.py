"""``walstream cron``: one maintenance round for crontab."""

from __future__ import annotations

import argparse
import logging
import os
import sys

from catalog.errors import ConfigurationError, WalstreamError, one_line
from walstream.cli.context import Context
from walstream.ops.rounds import receiver_starter, run_rounds
from walstream.ops.rounds_due import PROBLEMS

EXAMPLE = "walstream cron"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "One maintenance round, for crontab (* * * * * walstream cron): starts missing receivers, archives what "
        "receivers left behind, sweeps killed backups. It says nothing and exits with 0 when all is well, else "
        "with 1 and a line for each problem, also of a receiver that runs: no stream for a minute, or nothing "
        "archived. One that was ended with --stop is no problem. The receivers that it starts log to log_file; "
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
        logging.getLogger("walstream").handlers[:] = [logging.NullHandler()]
    if not arguments.supervised:
        for error in configuration.errors:
            context.output.error(ConfigurationError(one_line(error)))
    active = [settings for settings in configuration.servers.values() if settings.active]
    starter = receiver_starter(configuration.file, arguments.log_level, configuration.globals.log_file)
    problems, ended = run_rounds(active, None if arguments.supervised else starter)
    for name, problem in problems:
        context.output.error(WalstreamError(f"{name}: {problem}"))
    for settings in active:
        found = [problem for name, problem in problems if name == settings.name]
        context.output.put(settings.name, {PROBLEMS: found})
    if not ended:
        # A thread that hangs in the operating system would keep the process from ending.
        context.output.close()
        sys.stdout.flush()
        os._exit(1)
    return 1 if problems or configuration.errors else 0
