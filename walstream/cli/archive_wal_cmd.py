"""``walstream archive-wal``: file WAL that waits, while no receiver runs."""

from __future__ import annotations

import argparse
import math

from catalog.errors import Busy
from catalog.state import receiver_holder
from walstream.cli.context import Context
from walstream.ops.archive import archive_waiting
from walstream.ops.local import stored_repository

EXAMPLE = "walstream archive-wal main"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("server", metavar="SERVER", help="a server of the configuration")


def run(context: Context, arguments: argparse.Namespace) -> int:
    """File what there is; a receiver that runs does that by itself, which is no error."""
    settings, output = context.server(arguments.server), context.output
    repository = stored_repository(settings)
    try:
        done = archive_waiting(settings, repository, math.inf)
    except Busy:
        if receiver_holder(settings.home) is None:
            raise
        output.line(f"{settings.name}: the receiver files WAL by itself, as it comes")
        output.put(settings.name, {"streamed": 0, "delivered": 0})
        return 0
    output.line(f"{settings.name}: {done.streamed} streamed and {done.delivered} delivered files were filed")
    output.put(settings.name, {"streamed": done.streamed, "delivered": done.delivered})
    return 0
