"""``walstream keep``: keep a backup whatever the retention policy says, or no longer."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from catalog.coverage import carries, missing, names, newest
from catalog.errors import UsageError
from catalog.marks import KEEP_FULL, KEEP_TARGETS, KeepMark
from catalog.record import INCREMENTAL
from catalog.repository import Repository, stored_holdings
from catalog.statuses import DONE
from catalog.survey import Surveyed, survey
from walstream.cli.context import Context
from walstream.ops.local import stored_repository
from walstream.ops.retain import current_path, kept
from walstream.ops.stored import backup_lock
from walstream.settings.server import ServerSettings

EXAMPLE = "walstream keep main latest --target standalone"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("server", metavar="SERVER", help="a server of the configuration")
    parser.add_argument("backup", metavar="ID", help="an id, a name, latest, oldest or latest-full")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--target", choices=KEEP_TARGETS,
        help="full: with all WAL behind it; standalone: with the WAL that it needs itself",
    )  # fmt: skip
    what.add_argument("--release", "-r", action="store_true", help="keep it no longer")
    what.add_argument("--status", "-s", action="store_true", help="show whether it is kept")


def run(context: Context, arguments: argparse.Namespace) -> int:
    """Set, remove or show the mark."""
    settings, output = context.server(arguments.server), context.output
    repository = stored_repository(settings)
    found = survey(repository).find(arguments.backup)
    if not arguments.status:
        with backup_lock(repository, settings.name):
            _keep(
                repository, survey(repository).find(found.id), None if arguments.release else arguments.target
            )
            if arguments.target == KEEP_FULL:
                _warn_of_holes(context, settings, repository, found)
    mark = kept(repository, found.id)
    word = mark.target if mark is not None else "nokeep"
    output.put(settings.name, {"backup_id": found.id, "keep_status": {"message": f"Keep: {word}"}})
    output.line(f"Keep: {word}")
    return 0


def _warn_of_holes(
    context: Context, settings: ServerSettings, repository: Repository, found: Surveyed
) -> None:
    """Say so when WAL behind the backup is gone already, as behind one that was kept alone."""
    record, holdings = found.record, stored_holdings(repository)
    path = current_path(holdings, repository, settings.home)
    if record is None or not carries(path, record):
        return
    end = newest(path, holdings.inventory, holdings.size)
    last = max(record.last_segment.number, end.number if end is not None else 0)
    holes = missing(path, holdings.inventory_for(record), record.first_segment.number, last, holdings.size)
    if holes:
        context.output.warning(
            f"WAL behind backup {record.id} is missing already: {names(holes, holdings.size)}",
            "what is behind that cannot be restored from this backup",
        )


def _keep(repository: Repository, found: Surveyed, target: str | None) -> None:
    if target is None:
        repository.backups.keep(found.id, None)
        return
    if found.record is None or found.status.word != DONE:
        raise UsageError(
            f"backup {found.id} is {found.status.word}", "only a backup that is DONE can be kept"
        )
    if found.record.type == INCREMENTAL:
        raise UsageError(
            f"backup {found.id} is incremental",
            f"keep what it rests on, from its full backup: {found.record.parent}",
        )
    repository.backups.keep(found.id, KeepMark(target=target, since=datetime.now(UTC)))
