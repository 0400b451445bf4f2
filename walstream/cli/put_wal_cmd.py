"""``walstream put-wal``: an archive_command, beside streaming."""

from __future__ import annotations

import argparse
import os
import sys

from catalog.errors import UsageError
from catalog.local_storage import LocalReader
from catalog.sink import Reader
from walstream.archiver import open_file
from walstream.cli.context import Context
from walstream.ops.deliver import deliver
from walstream.ops.local import stored_repository

EXAMPLE = "ssh backup@host walstream put-wal main --stdin %f < %p"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("server", metavar="SERVER", help="a server of the configuration, with archiver = on")
    parser.add_argument("wal", metavar="FILE", help="the file (%%p); with --stdin only its name (%%f)")
    parser.add_argument(
        "--stdin", action="store_true", help="read the content from standard input, as over ssh"
    )


def run(context: Context, arguments: argparse.Namespace) -> int:
    """Store the file; exit code 0 only when it is durable here."""
    settings = context.server(arguments.server)
    if not settings.archiver:
        raise UsageError(
            f"server {settings.name!r} takes no WAL from an archive_command",
            "set archiver = on in its section",
        )
    name = os.path.basename(arguments.wal)
    repository = stored_repository(settings)
    content = _standard_input() if arguments.stdin else open_file(arguments.wal)
    try:
        new = deliver(settings, repository, name, content)
    finally:
        content.close()
    context.output.put(settings.name, {"wal": name, "stored": new})
    context.output.note(f"{name} {'was taken in' if new else 'is held already'}")
    return 0


def _standard_input() -> Reader:
    return LocalReader(os.dup(sys.stdin.fileno()), "standard input")
