"""``walstream verify-backup``: read a backup again and say what is wrong with it."""

from __future__ import annotations

import argparse
from dataclasses import replace
from datetime import UTC, datetime

from backup.verify import Problem, VerifyReport, note, verify
from catalog.coverage import Holdings
from catalog.errors import Corrupt, StorageError
from catalog.lineage import defect
from catalog.record import BackupRecord
from catalog.repository import Repository
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
    _warn(context, record)
    _note(context, repository, report)
    report = replace(report, problems=(*report.problems, *_problems_of_chain(found.holdings, record)))
    output.put(places.name, _facts(report) | _chain_facts(found.holdings, record))
    for problem in report.problems:
        output.line(f"{output.paint('FAILED', 'red')} {problem.what}: {problem.message}")
    if report.problems:
        raise _failure(places.name, report)
    output.line(f"{places.name} {record.id}: {output.paint('OK', 'green')}, {_checked(report)}")
    parents = [each.id for each in found.holdings.lineage(record).parents]
    if parents:
        output.line(f"it is laid over {', '.join(parents)}: they were not read, verify each by itself")
    return 0


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


def _note(context: Context, repository: Repository, report: VerifyReport) -> None:
    try:
        note(repository, report, datetime.now(UTC))
    except StorageError as error:
        context.output.warning(f"the verification could not be noted: {error}", error.hint)


def _warn(context: Context, record: BackupRecord) -> None:
    if record.checksum_errors:
        context.output.warning(
            f"the server reported {record.checksum_errors} bad page checksums while backup {record.id} ran: "
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
