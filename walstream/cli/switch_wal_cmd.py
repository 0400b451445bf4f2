"""``walstream switch-wal``: end the current segment, so that it is archived now."""

from __future__ import annotations

import argparse

from catalog.errors import UsageError, WalstreamError
from walstream.cli.context import Context
from walstream.cli.numbers import seconds
from walstream.ops.switch import switch, wait_until_stored

EXAMPLE = "walstream switch-wal main --force --archive"
ARCHIVE_TIMEOUT = 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("servers", metavar="SERVER", nargs="+", help="names of servers, or all")
    parser.add_argument(
        "--force", action="store_true", help="do a checkpoint first, so that there is WAL to switch"
    )
    parser.add_argument("--archive", action="store_true", help="wait until the segment is in the repository")
    parser.add_argument(
        "--archive-timeout",
        metavar="SECONDS",
        type=seconds,
        help=f"wait no longer than this ({ARCHIVE_TIMEOUT:g})",
    )


def run(context: Context, arguments: argparse.Namespace) -> int:
    """Switch on each server; the code of the last that failed."""
    if arguments.archive_timeout is not None and not arguments.archive:
        raise UsageError("--archive-timeout is for --archive only", "add --archive")
    timeout = ARCHIVE_TIMEOUT if arguments.archive_timeout is None else arguments.archive_timeout
    settings = [context.server(name) for name in context.server_names(arguments.servers)]
    code = 0
    for server in settings:
        try:
            segment = switch(server, force=arguments.force)
            context.output.put(server.name, {"segment": segment})
            context.output.line(f"{server.name}: segment {segment} is ended")
            if arguments.archive:
                wait_until_stored(server, segment, timeout)
                context.output.put(server.name, {"segment": segment, "archived": True})
                context.output.line(f"{server.name}: segment {segment} is in the repository")
        except WalstreamError as error:
            context.output.error(error)
            code = error.exit_code
    return code
