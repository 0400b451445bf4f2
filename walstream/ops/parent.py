"""The backup that an incremental one is based on: found by what the operator calls it, and refused if unfit.

Only its files and those of its own parents must be there. Its WAL is not asked for: restoring the new backup
does not need it.
"""

from __future__ import annotations

from catalog.coverage import carries
from catalog.errors import BackupFailed
from catalog.record import BackupRecord
from catalog.repository import Repository
from catalog.survey import survey
from catalog.timeline import History, Path

_FULL = "take a full backup, or name another one ('walstream list-backups')"


def find_parent(word: str, repository: Repository, history: History, checksums: bool) -> BackupRecord:
    """The backup that ``word`` means; ``history`` is that of the server's timeline.

    ``checksums`` says whether the server's pages have them. ``Absent`` when there is no such backup,
    ``BackupFailed`` when it cannot be built upon.
    """
    found = survey(repository)
    record = found.require_record(word)
    defect = found.holdings.defect(record)
    if defect is not None:
        raise BackupFailed(f"backup {record.id} cannot be built upon: {defect}", _FULL)
    if found.holdings.is_suspect(record):
        raise BackupFailed(
            f"backup {record.id} cannot be built upon: it is SUSPECT, the server reported bad page checksums",
            _FULL,
        )
    if record.system_identifier != repository.identity.system_identifier:
        raise BackupFailed(
            f"backup {record.id} cannot be built upon: it is of the cluster with system identifier "
            f"{record.system_identifier}, not {repository.identity.system_identifier}",
            _FULL,
        )
    if checksums and not record.data_checksums:
        raise BackupFailed(
            f"backup {record.id} cannot be built upon: page checksums were switched on since, which changes every "
            "page and leaves no trace in the WAL",
            _FULL,
        )
    if not carries(Path.of(history), record):
        raise BackupFailed(
            f"backup {record.id} cannot be built upon: it ended at {record.end.lsn} on timeline "
            f"{record.end.timeline}, and the server, on timeline {history.timeline}, went another way",
            _FULL,
        )
    return record
