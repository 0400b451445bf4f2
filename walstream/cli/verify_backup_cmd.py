"""``walstream verify-backup``: read a backup again and say what is wrong with it."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from backup.verify import Problem, VerifyReport, note, verify
from catalog.errors import Corrupt, StorageError
from catalog.record import BackupRecord
from catalog.repository import Repository
from catalog.statuses import bad_pages
from catalog.survey import survey
from walstream.cli.context import Context
from walstream.cli.units import duration, size
from walstream.ops.stored import repository_at

EXAMPLE = "walstream verify-backup main latest"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("server", metavar="SERVER", help="a name, or the path of a repository")
    parser.add_argument("backup", metavar="ID", help="an id, a name, latest, oldest or latest-full")


def run(context: Context, arguments: argparse.Namespace) -> int:
    """Verify the backup; ``Corrupt`` when there are problems, which are shown one by one."""
    places, output = context.places(arguments.server), context.output
    repository = repository_at(places.repository, places.name)
    found = survey(repository)
    record = found.require_record(arguments.backup)
    with output.progress(f"verifying {record.id}") as progress:
        report = verify(repository, record, found.holdings, progress.update)
    output.put(places.name, _facts(report))
    _warn(context, record)
    _note(context, repository, report)
    for problem in report.problems:
        output.line(f"{output.paint('FAILED', 'red')} {problem.what}: {problem.message}")
    if report.problems:
        raise _failure(places.name, report)
    output.line(f"{places.name} {record.id}: {output.paint('OK', 'green')}, {_checked(report)}")
    return 0


def _note(context: Context, repository: Repository, report: VerifyReport) -> None:
    try:
        note(repository, report, datetime.now(UTC))
    except StorageError as error:
        context.output.warning(f"the verification could not be noted: {error}", error.hint)


def _warn(context: Context, record: BackupRecord) -> None:
    if record.checksum_errors:
        context.output.warning(
            f"the server found {bad_pages(record)} while backup {record.id} ran: "
            "its files are as the server sent them, bad pages included"
        )


def _failure(server: str, report: VerifyReport) -> Corrupt:
    count = len(report.problems)
    hints = list(dict.fromkeys(problem.hint for problem in report.problems if problem.hint))
    return Corrupt(
        f"backup {report.backup_id} of {server!r} has {count} problem{'s' if count > 1 else ''}",
        "; ".join(hints) or None,
    )


def _checked(report: VerifyReport) -> str:
    return (
        f"{report.files} files in {report.archives} stored files, {report.segments} segments of WAL, "
        f"{size(report.nbytes)} in {duration(report.seconds)}"
    )


def _facts(report: VerifyReport) -> dict[str, object]:
    return {
        "backup_id": report.backup_id,
        "verified": not report.problems,
        "no_of_archives": report.archives,
        "no_of_files": report.files,
        "no_of_segments": report.segments,
        "checked": size(report.nbytes),
        "checked_bytes": report.nbytes,
        "seconds": round(report.seconds, 3),
        "sha256": dict(report.sums),
        "problems": [_problem_facts(each) for each in report.problems],
    }


def _problem_facts(problem: Problem) -> dict[str, object]:
    return {"file": problem.what, "problem": problem.message, "hint": problem.hint}
