"""What ``show-backup`` shows beyond the record: the WAL around a backup, and its neighbours. Offline."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime

from catalog.coverage import carries
from catalog.errors import Absent
from catalog.lineage import children
from catalog.marks import VerifiedMark
from catalog.record import BackupRecord
from catalog.repository import Repository
from catalog.usage import Usage
from walstream.ops.listing import Listing, Room, next_end, segment_names


@dataclass(frozen=True)
class WalAround:
    """The WAL behind a backup up to the next one's end; ``until`` is when its last segment was stored."""

    usage: Usage
    last: str | None
    until: datetime | None
    timelines: tuple[int, ...]

    def per_second(self, since: datetime) -> float | None:
        """Segments per second since the end of the backup; None when there is nothing to tell it from."""
        seconds = (self.until - since).total_seconds() if self.until else 0.0
        return self.usage.files / seconds if seconds > 0 else None


@dataclass(frozen=True)
class Details:
    """A finished backup, seen among the others; ``timelines`` of ``wal`` are those it can be recovered along.

    ``chain`` has the backups that it is laid over, as far as they are there, and itself; ``children`` those that
    are based on it.
    """

    record: BackupRecord
    room: Room
    wal: WalAround
    previous: str | None
    following: str | None
    children: tuple[str, ...]
    chain: tuple[str, ...]
    verified: VerifiedMark | None
    own_wal: tuple[str, ...]


def details(record: BackupRecord, listing: Listing, repository: Repository) -> Details:
    """All that is to be said about one of the listing's backups."""
    ids = [each.id for each in listing.records]
    at = ids.index(record.id)
    return Details(
        record=record,
        room=listing.rooms[record.id],
        wal=_wal_around(record, listing, repository),
        previous=ids[at - 1] if at else None,
        following=ids[at + 1] if at + 1 < len(ids) else None,
        children=children(record, listing.records),
        chain=tuple(each.id for each in listing.survey.holdings.lineage(record).records),
        verified=repository.backups.verified(record.id),
        own_wal=tuple(sorted(repository.backups.wal_names(record.id))),
    )


def compression_ratio(usage: Usage, record: BackupRecord) -> float:
    """The part of its size that WAL was spared by compression, from 0 to 1."""
    raw = usage.files * record.wal_segment_size.nbytes
    return max(1 - usage.nbytes / raw, 0.0) if raw else 0.0


def _wal_around(record: BackupRecord, listing: Listing, repository: Repository) -> WalAround:
    end = segment_names(record)[1]
    last = listing.usage.newest(end, next_end(record, listing.records))
    paths = listing.survey.holdings.paths()
    timelines = sorted(timeline for timeline, path in paths.items() if carries(path, record))
    until = None if last is None else _stored_at(repository, last)
    return WalAround(listing.rooms[record.id].behind, last, until, tuple(timelines))


def _stored_at(repository: Repository, name: str) -> datetime | None:
    """When a segment was stored; None if it was removed meanwhile."""
    try:
        key, reader = repository.wal.find(name)
        reader.close()
        return datetime.fromtimestamp(os.stat(repository.storage.path(key)).st_mtime, UTC)
    except (Absent, FileNotFoundError):
        return None
