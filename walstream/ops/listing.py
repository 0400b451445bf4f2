"""What ``list-backups`` shows: each backup with its status and the room that it takes. Offline.

As in Barman, a backup's size includes the WAL that it needs itself, and the WAL behind its end counts as its
own up to the end of the next one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from catalog import layout
from catalog.record import BackupRecord
from catalog.repository import Repository
from catalog.survey import Survey, Surveyed, survey
from catalog.usage import Usage, WalUsage, wal_usage


@dataclass(frozen=True)
class Room:
    """What a backup takes, stored: its files, the WAL it needs, and the WAL behind it up to the next one's end."""

    nbytes: int
    span: Usage
    behind: Usage

    @property
    def with_span(self) -> int:
        """Its files and the WAL it needs."""
        return self.nbytes + self.span.nbytes


@dataclass(frozen=True)
class Listing:
    """The backups of one server, oldest first, and the room that each finished one takes, by id."""

    survey: Survey
    usage: WalUsage
    rooms: Mapping[str, Room]

    @property
    def backups(self) -> tuple[Surveyed, ...]:
        return self.survey.backups

    @property
    def records(self) -> tuple[BackupRecord, ...]:
        return self.survey.holdings.records


def list_backups(repository: Repository, home: str, now: float) -> Listing:
    """Look at all backups; sizes are remembered in the server's home, ``now`` is Unix time."""
    found = survey(repository)
    usage = wal_usage(repository.storage, os.path.join(home, layout.STATE), now)
    ends = _ends(found.holdings.records)
    rooms = {record.id: _room(record, repository, usage, ends) for record in found.holdings.records}
    return Listing(found, usage, rooms)


def next_end(record: BackupRecord, records: Sequence[BackupRecord]) -> str | None:
    """The last segment of the next backup behind this one; None for the newest."""
    return _next(record, _ends(records))


def segment_names(record: BackupRecord) -> tuple[str, str]:
    """The names of the first and the last segment that a backup needs."""
    size = record.wal_segment_size
    return record.first_segment.name(size), record.last_segment.name(size)


def _ends(records: Sequence[BackupRecord]) -> list[str]:
    """The last segments of all backups, in the order of WAL."""
    return sorted({segment_names(record)[1] for record in records})


def _next(record: BackupRecord, ends: list[str]) -> str | None:
    last = segment_names(record)[1]
    return next((end for end in ends if end > last), None)


def _room(record: BackupRecord, repository: Repository, usage: WalUsage, ends: list[str]) -> Room:
    first, last = segment_names(record)
    files = sum(archive.stored_size for archive in (*record.archives, record.manifest))
    own = sum(repository.backups.wal_sizes(record.id).values())
    return Room(files + own, usage.span(first, last), usage.between(last, _next(record, ends)))
