"""``walstream show-backup``: all that is known about one backup, in Barman's groups."""

from __future__ import annotations

import argparse
import time

from catalog.retention import UNJUDGED, Verdict
from catalog.survey import Surveyed
from walstream.cli.backup_facts import CATALOG_GROUP, facts_of_details, groups_of_details
from walstream.cli.context import Context
from walstream.cli.units import local_time
from walstream.ops.details import Details, details
from walstream.ops.listing import list_backups
from walstream.ops.retain import judge_all
from walstream.ops.stored import repository_at

EXAMPLE = "walstream show-backup main latest"

Group = tuple[str, list[tuple[str, str]]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("server", metavar="SERVER", help="a name, or the path of a repository")
    parser.add_argument(
        "backup", metavar="ID", help="an id, a name, latest, oldest, latest-full or last-failed"
    )


def run(context: Context, arguments: argparse.Namespace) -> int:
    """Show the backup."""
    places, output = context.places(arguments.server), context.output
    repository = repository_at(places.repository, places.name)
    listing = list_backups(repository, places.home, time.time())
    found = listing.survey.find(arguments.backup)
    facts, groups = _unfinished(found, places.name)
    if found.record is not None:
        shown = details(found.record, listing, repository)
        facts, groups = facts_of_details(shown), groups_of_details(shown, places.name, found.status.word)
        _warn_of_timelines(context, shown)
        rules = context.rules(arguments.server)
        verdict = judge_all(listing.survey, repository, places.home, rules).verdicts[found.id]
        facts, groups = _with_retention(facts, groups, verdict)
    error, hint = found.status.error, found.status.hint
    if error is not None:
        facts |= {"error": error, "hint": hint}
        groups.append(("Error", [("Error", error)] + ([("Hint", hint)] if hint else [])))
    facts |= {"backup_id": found.id, "status": found.status.word, "server_name": places.name}
    output.put(places.name, facts)
    output.line(f"Backup {found.id}:")
    _show(context, groups)
    return 0


def _show(context: Context, groups: list[Group]) -> None:
    for title, lines in groups:
        if title:
            context.output.line()
            context.output.line(f"  {title}:")
        for label, value in lines:
            context.output.line(f"{'    ' if title else '  '}{label:<24}: {value}")
    context.output.line()


def _unfinished(found: Surveyed, server: str) -> tuple[dict[str, object], list[Group]]:
    """What there is to say about a backup without record."""
    mark = found.traces.failed or found.traces.started
    facts: dict[str, object] = {"backup_type": found.type}
    lines = [("Server Name", server), ("Status", found.status.word)]
    if mark is not None:
        facts["begin_time"] = mark.started.astimezone().isoformat(" ")
        lines.append(("Begin time", local_time(mark.started)))
    started = found.traces.started
    if started is not None and started.parent is not None:
        facts["parent_backup_id"] = started.parent
        lines.append(("Parent Backup", started.parent))
    return facts, [("", lines)]


def _with_retention(
    facts: dict[str, object], groups: list[Group], verdict: Verdict
) -> tuple[dict[str, object], list[Group]]:
    """Add what the policy says of the backup to the group in which Barman has it."""
    of_catalog = facts["catalog_information"]
    assert isinstance(of_catalog, dict)
    judged_so = verdict.word != UNJUDGED or verdict.kept is not None
    line = ("Retention Policy", f"{verdict.shown} ({verdict.reason})" if judged_so else "not enforced")
    return (
        facts | {"catalog_information": {"retention_policy": verdict.shown} | of_catalog},
        [(title, [line, *lines] if title == CATALOG_GROUP else lines) for title, lines in groups],
    )


def _warn_of_timelines(context: Context, shown: Details) -> None:
    others = [str(each) for each in shown.wal.timelines if each != shown.record.end.timeline]
    if others:
        context.output.warning(
            f"from backup {shown.record.id} other timelines can be reached too: {', '.join(others)}",
            "name the one to recover along with: restore --target-tli",
        )
