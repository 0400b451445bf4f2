"""``walstream list-backups``: the backups of servers, newest first."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping

from catalog.errors import WalstreamError
from catalog.record import FULL
from catalog.retention import OBSOLETE, POTENTIALLY_OBSOLETE, Verdict
from catalog.statuses import DONE, bad_pages
from catalog.survey import Surveyed
from catalog.units import size
from walstream.cli.backup_facts import bad_page_facts
from walstream.cli.context import Context
from walstream.cli.units import local_time
from walstream.ops.listing import Listing, Room, list_backups
from walstream.ops.retain import judge_all
from walstream.ops.stored import repository_at

EXAMPLE = "walstream list-backups main"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("servers", metavar="SERVER", nargs="+", help="names, paths of repositories, or 'all'")
    parser.add_argument("--minimal", action="store_true", help="show ids only")


def run(context: Context, arguments: argparse.Namespace) -> int:
    """List the backups of each server; what is wrong with one server does not keep the others from it."""
    code = 0
    for given in context.server_names(arguments.servers):
        try:
            _list(context, given, arguments.minimal)
        except WalstreamError as error:
            context.output.error(error)
            code = max(code, error.exit_code)
    return code


def _list(context: Context, given: str, minimal: bool) -> None:
    places, output = context.places(given), context.output
    repository = repository_at(places.repository, places.name)
    found = list_backups(repository, places.home, time.time())
    verdicts = judge_all(found.survey, repository, places.home, context.rules(given)).verdicts
    newest_first = list(reversed(found.backups))
    output.put(places.name, [_facts(each, found, verdicts) for each in newest_first])
    for each in newest_first:
        output.line(each.id if minimal else _line(places.name, each, found, verdicts))
        damaged = each.record is not None or each.traces.unreadable is not None
        if damaged and each.status.error is not None:
            output.warning(f"backup {each.id} of {places.name!r}: {each.status.error}", each.status.hint)


def _line(server: str, each: Surveyed, found: Listing, verdicts: Mapping[str, Verdict]) -> str:
    record = each.record
    if record is None:
        return f"{server} {each.id} - {_letter(each)} - {each.status.word}"
    room = found.rooms[each.id]
    name = f" '{record.name}'" if record.name is not None else ""
    mark = f" - {each.status.word}" if each.status.word != DONE else ""
    mark += f" ({bad_pages(record)})" if record.checksum_errors else ""
    verdict = verdicts[each.id]
    if verdict.kept is not None or verdict.word in (OBSOLETE, POTENTIALLY_OBSOLETE):
        mark += f" - {verdict.shown}"
    return (
        f"{server} {each.id}{name} - {_letter(each)} - {local_time(record.end.time)}"
        f" - Size: {size(room.with_span)} - WAL Size: {size(room.behind.nbytes)}{mark}"
    )


def _letter(each: Surveyed) -> str:
    return "F" if each.type == FULL else "I"


def _facts(each: Surveyed, found: Listing, verdicts: Mapping[str, Verdict]) -> dict[str, object]:
    record = each.record
    if record is None:
        return {"backup_id": each.id, "backup_type": each.type, "status": each.status.word}
    facts: dict[str, object] = {
        "backup_id": each.id,
        "backup_type": record.type,
        "end_time": record.end.time.astimezone().ctime(),
        "end_time_timestamp": str(int(record.end.time.timestamp())),
        "retention_status": verdicts[each.id].shown,
        "status": each.status.word,
    }
    if record.parent is not None:
        facts["parent_backup_id"] = record.parent
    if record.name is not None:
        facts["backup_name"] = record.name
    if record.checksum_errors:
        facts |= bad_page_facts(record)
    return facts | _sizes(found.rooms[each.id])


def _sizes(room: Room) -> dict[str, object]:
    return {
        "size": size(room.with_span),
        "size_bytes": room.with_span,
        "wal_size": size(room.behind.nbytes),
        "wal_size_bytes": room.behind.nbytes,
    }
