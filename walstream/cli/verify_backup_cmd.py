"""``walstream verify-backup``: read backups again and say what is wrong with them."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime

from backup.verify import Problem, VerifyReport, note, verify
from catalog.coverage import Holdings
from catalog.errors import Absent, Corrupt, Malformed, StorageError, UsageError, WalstreamError
from catalog.lineage import defect
from catalog.marks import VerifiedMark
from catalog.record import BackupRecord
from catalog.repository import Repository
from catalog.statuses import STARTED, bad_pages
from catalog.survey import Survey, survey
from catalog.units import counted, duration, size
from walstream.cli.context import Context
from walstream.cli.light import add_identity_arguments
from walstream.cli.stored import add_full_argument, readable_repository
from walstream.cli.units import local_time

EXAMPLE = "walstream verify-backup main --all"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("server", metavar="SERVER", help="a name, or the path of a repository")
    parser.add_argument(
        "backups", metavar="ID", nargs="*", help="ids, names, latest, oldest or latest-full"
    )  # fmt: skip
    parser.add_argument("--all", action="store_true", help="every finished backup of the server")
    add_full_argument(parser)
    add_identity_arguments(parser)


def run(context: Context, arguments: argparse.Namespace) -> int:
    """Verify each backup; problems are shown one by one, and one backup keeps no other from being verified."""
    if bool(arguments.backups) == arguments.all:
        raise UsageError("which backup is to be verified?", "give ids, or --all and no id")
    places, output = context.places(arguments.server), context.output
    repository = readable_repository(places, arguments, context.ask_secret)
    found = survey(repository)
    if arguments.all:
        return _verify_all(context, places.name, repository, found, arguments.full)
    records = list(dict.fromkeys(map(found.require_record, arguments.backups)))
    if len(records) == 1:
        report = _verify(context, repository, records[0], found, arguments.full)
        output.put(places.name, _facts(report) | _chain_facts(found.holdings, records[0]))
        _show(context, places.name, records[0], report, found.holdings, [])
        return 0
    return _verify_each(context, places.name, repository, found, records, arguments.full)


def _verify_all(context: Context, server: str, repository: Repository, found: Survey, full: bool) -> int:
    code = 0
    for each in found.backups:
        if each.traces.unreadable is not None:
            context.output.error(Corrupt(f"backup {each.id}: {each.status.error}", each.status.hint))
            code = 1
        elif each.record is None and each.status.word != STARTED:
            context.output.note(f"backup {each.id} is {each.status.word}: there is nothing to verify")
    return max(code, _verify_each(context, server, repository, found, list(found.holdings.records), full))


def _verify_each(
    context: Context,
    server: str,
    repository: Repository,
    found: Survey,
    records: list[BackupRecord],
    full: bool,
) -> int:
    code = 0
    facts = []
    done: list[str] = []
    for record in records:
        try:
            report = _verify(context, repository, record, found, full)
            facts.append(_facts(report) | _chain_facts(found.holdings, record))
            done.append(record.id)
            _show(context, server, record, report, found.holdings, done)
        except Absent as error:
            context.output.note(error.message)
        except WalstreamError as error:
            context.output.error(error)
            code = 1
    context.output.put(server, facts)
    return code


def _verify(
    context: Context, repository: Repository, record: BackupRecord, found: Survey, full: bool
) -> VerifyReport:
    with context.output.progress(f"verifying {record.id}") as progress:
        known = None if full else _known(repository, record)
        report = verify(repository, record, found.holdings, progress.update, known)
    try:
        note(repository, report, datetime.now(UTC))
    except StorageError as error:
        context.output.warning(f"the verification could not be noted: {error}", error.hint)
    return replace(report, problems=(*report.problems, *_problems_of_chain(found.holdings, record)))


def _problems_of_chain(holdings: Holdings, record: BackupRecord) -> list[Problem]:
    """What is wrong with what an incremental backup is laid over, as far as it is known; it is not read here."""
    if record.parent is None:
        return []
    others = {backup_id: what for backup_id, what in holdings.damaged.items() if backup_id != record.id}
    wrong = defect(record, holdings.records, others)
    hint = "put the files back from a copy of the repository, or take a new full backup"
    return [] if wrong is None else [Problem(record.parent, wrong, hint)]


def _chain_facts(holdings: Holdings, record: BackupRecord) -> dict[str, object]:
    return {"chain": [each.id for each in holdings.lineage(record).records]}


def _known(repository: Repository, record: BackupRecord) -> VerifiedMark | None:
    try:
        return repository.backups.verified(record.id)
    except Malformed:
        return None  # then everything is read, and the mark is written anew


def _show(
    context: Context,
    server: str,
    record: BackupRecord,
    report: VerifyReport,
    holdings: Holdings,
    done: Collection[str],
) -> None:
    """Show the result; ``Corrupt`` when there are problems. ``done`` are those that were read in this run."""
    output = context.output
    if record.checksum_errors:
        output.warning(
            f"the server found {bad_pages(record)} while backup {record.id} ran: "
            "its files are as the server sent them, bad pages included"
        )
    for problem in report.problems:
        output.line(f"{output.paint('FAILED', 'red')} {problem.what}: {problem.message}")
    if report.problems:
        raise _failure(server, report)
    parents = [each.id for each in holdings.lineage(record).parents]
    over = f", laid over {', '.join(parents)}" if parents else ""
    output.line(f"{server} {record.id}: {output.paint('OK', 'green')}, {_checked(report)}{over}")
    unread = [each for each in parents if each not in done]
    if unread:
        output.line(f"not read was what it is laid over: walstream verify-backup {server} {' '.join(unread)}")


def _failure(server: str, report: VerifyReport) -> Corrupt:
    count = len(report.problems)
    hints = list(dict.fromkeys(problem.hint for problem in report.problems if problem.hint))
    return Corrupt(
        f"backup {report.backup_id} of {server!r} has {count} problem{'s' if count > 1 else ''}",
        "; ".join(hints) or None,
    )


def _checked(report: VerifyReport) -> str:
    unchanged = "" if report.files_from is None else f"unchanged since {local_time(report.files_from)}"
    if unchanged and not report.read_wal:
        return unchanged
    files = (
        f"files {unchanged}"
        if unchanged
        else f"{counted(report.files, 'file')} in {counted(report.archives, 'stored file')}"
    )
    wal = f"{counted(report.segments, 'segment')} of WAL" if report.read_wal else "WAL unchanged"
    return f"{files}, {wal}, {size(report.nbytes)} in {duration(report.seconds)}"


def _facts(report: VerifyReport) -> dict[str, object]:
    files_from = report.files_from
    return {
        "backup_id": report.backup_id,
        "verified": not report.problems,
        "no_of_archives": report.archives,
        "no_of_files": report.files,
        "no_of_segments": report.segments,
        "checked": size(report.nbytes),
        "checked_bytes": report.nbytes,
        "files_unchanged_since": None if files_from is None else files_from.astimezone().isoformat(" "),
        "wal_unchanged": not report.read_wal,
        "seconds": round(report.seconds, 3),
        "sha256": dict(report.sums),
        "problems": [
            {"file": each.what, "problem": each.message, "hint": each.hint} for each in report.problems
        ],
    }
