"""All backups of a repository, each with its status. Writes nothing: a listing never changes what it lists."""

from __future__ import annotations

from dataclasses import dataclass

from catalog import layout
from catalog.coverage import Holdings
from catalog.errors import Absent, Malformed, RepositoryError
from catalog.lock import holder, is_held
from catalog.lookup import find_backup
from catalog.marks import StartedMark
from catalog.record import FULL, INCREMENTAL, BackupRecord
from catalog.repository import Repository, span_holdings
from catalog.statuses import FAILED, Status, Traces, status_of


@dataclass(frozen=True)
class Surveyed:
    """A backup, or what is left of one, and its status."""

    traces: Traces
    status: Status

    @property
    def id(self) -> str:
        return self.traces.id

    @property
    def type(self) -> str:
        """``full`` or ``incremental``, as far as its traces tell."""
        if self.record is not None:
            return self.record.type
        started = self.traces.started
        return INCREMENTAL if started is not None and started.parent is not None else FULL

    @property
    def record(self) -> BackupRecord | None:
        return self.traces.record


@dataclass(frozen=True)
class Survey:
    """All backups, oldest first; ``holdings`` knows the WAL of their own spans and no other."""

    backups: tuple[Surveyed, ...]
    holdings: Holdings

    @property
    def failed(self) -> list[str]:
        """The ids of those that failed, oldest first."""
        return [each.id for each in self.backups if each.status.word == FAILED]

    def find(self, word: str) -> Surveyed:
        """The backup that an operator calls so: by id, name, or a word such as ``latest``; ``Absent``."""
        ids = {each.id: each for each in self.backups}
        if word in ids:
            return ids[word]
        return ids[find_backup(word, self.holdings.records, self.failed)]

    def require_record(self, word: str) -> BackupRecord:
        """The record of that backup; ``Absent`` says so when it has none."""
        found = self.find(word)
        if found.record is None:
            reason = f": {found.status.error}" if found.status.error else ""
            raise Absent(
                f"backup {found.id} is {found.status.word}{reason}", "only a finished backup can be read"
            )
        return found.record


def survey(repository: Repository) -> Survey:
    """Look at every backup. A document that cannot be read spoils its own backup's status only."""
    found = [_traces(repository, backup_id) for backup_id in repository.backups.ids()]
    holdings = span_holdings(repository, [each.record for each in found if each.record is not None])
    lock = repository.lock_path(layout.BACKUP_LOCK)
    # Under the lock a backup's directory is made before its first mark, and removed after its record.
    in_between = any(_is_bare(each) for each in found) and is_held(lock)
    kept = [each for each in found if not (in_between and _is_bare(each))]
    return Survey(tuple(Surveyed(each, status_of(each, holdings)) for each in kept), holdings)


def _is_bare(traces: Traces) -> bool:
    return not (traces.record or traces.started or traces.failed or traces.unreadable)


def _traces(repository: Repository, backup_id: str) -> Traces:
    shelf = repository.backups
    try:
        # In this order: a mark goes only when the record, or the mark of a failure, is there.
        started = shelf.started(backup_id)
        record, failed = shelf.find(backup_id), shelf.failed(backup_id)
    except (Malformed, RepositoryError) as error:
        return Traces(backup_id, unreadable=str(error))
    running = started is not None and record is None and _is_running(repository, started)
    return Traces(backup_id, record, started, failed, running)


def _is_running(repository: Repository, started: StartedMark) -> bool:
    """Whether the backup lock is held by the process that left the mark, as far as it says who holds it."""
    lock = repository.lock_path(layout.BACKUP_LOCK)
    return is_held(lock) and (holder(lock) or {}).get("pid", started.pid) == started.pid
