"""``walstream list-files``: the files that a backup consists of."""

from __future__ import annotations

import argparse

from catalog.survey import survey
from walstream.cli.context import Context
from walstream.ops.stored import repository_at
from walstream.ops.stored_files import STANDALONE, TARGETS, stored_files

EXAMPLE = "walstream list-files main latest --target full"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("server", metavar="SERVER", help="a name, or the path of a repository")
    parser.add_argument("backup", metavar="ID", help="an id, a name, latest, oldest or latest-full")
    parser.add_argument(
        "--target", choices=TARGETS, default=STANDALONE,
        help="standalone: the backup and the WAL it needs (default); data: the backup alone; wal: the WAL from "
        "its begin to the next backup; full: data and wal",
    )  # fmt: skip


def run(context: Context, arguments: argparse.Namespace) -> int:
    """List the files, one path a line."""
    places, output = context.places(arguments.server), context.output
    repository = repository_at(places.repository, places.name)
    found = survey(repository)
    record = found.require_record(arguments.backup)
    paths = stored_files(repository, record, found.holdings, arguments.target)
    output.put(places.name, {"backup_id": record.id, "target": arguments.target, "files": paths})
    for path in paths:
        output.line(path)
    return 0
