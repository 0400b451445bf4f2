"""The files that a backup consists of, as paths: what ``list-files`` shows, and what to copy. Offline.

The targets are Barman's: the backup alone; with the WAL that it needs; the WAL from its begin to the begin of
the next backup; and all of that. Of an incremental backup the ones it builds on belong to it, except for
the backup alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from backup.verify_segments import stored_keys
from catalog import layout
from catalog.coverage import Holdings
from catalog.errors import Absent
from catalog.lsn import SegmentSize
from catalog.record import BackupRecord
from catalog.repository import Repository
from catalog.walname import Segment, timeline_in

DATA = "data"
STANDALONE = "standalone"
WAL = "wal"
FULL = "full"
TARGETS = (STANDALONE, DATA, WAL, FULL)


def stored_files(repository: Repository, record: BackupRecord, holdings: Holdings, target: str) -> list[str]:
    """The paths of the files, each once: data first, then WAL in the order of names.

    ``Absent`` when ``STANDALONE`` is asked for and WAL that the backup needs is not stored.
    """
    keys: list[str] = []
    if target == DATA:
        keys += _data(record)
    else:
        if target in (STANDALONE, FULL):
            keys += (key for each in _chain(record, holdings) for key in _data(each))
        if target == STANDALONE:
            keys += _needed(repository, record, holdings)
        else:
            keys += _between(repository, record, holdings.records)
    return [repository.storage.path(key) for key in dict.fromkeys(keys)]


def _data(record: BackupRecord) -> list[str]:
    files = (layout.RECORD, *(each.file for each in (*record.archives, record.manifest)))
    return [layout.backup_key(record.id, file) for file in files]


def _chain(record: BackupRecord, holdings: Holdings) -> Sequence[BackupRecord]:
    """The backup and those it builds on, the full one first; ``Absent`` when one of them is gone."""
    found = holdings.lineage(record)
    if found.missing is not None:
        raise Absent(
            f"backup {found.records[0].id} builds on {found.missing}, which is not there",
            "list it with --target data, or use another backup",
        )
    return found.records


def _needed(repository: Repository, record: BackupRecord, holdings: Holdings) -> list[str]:
    keys = stored_keys(repository, record, holdings)
    if keys is None:
        raise Absent(
            f"not all WAL that backup {record.id} needs is stored",
            "let a receiver run; what there is, is listed with --target full",
        )
    histories = (each for each in repository.wal.names([""]) if timeline_in(each) <= record.end.timeline)
    return [*sorted(keys), *(layout.wal_key(each) for each in sorted(histories))]


def _between(repository: Repository, record: BackupRecord, records: Sequence[BackupRecord]) -> list[str]:
    """All WAL from the begin of the backup up to where the next one begins, on its timeline and later ones."""
    first = record.first_segment
    later = [each.first_segment.number for each in records if each.first_segment.number > first.number]
    end = min(later, default=None)
    found = {name: layout.wal_key(name) for name in repository.wal.names([""])}
    for directory in repository.wal.directories():
        if _may_hold(directory, first, end, record.wal_segment_size):
            keys = repository.wal.keys(directory)
            found |= {name: key for name, key in keys.items() if _lies_between(name, first, end, record)}
    own = sorted(repository.backups.wal_names(record.id))
    return [
        *(layout.backup_wal_key(record.id, name) for name in own),
        *(found[name] for name in sorted(found)),
    ]


def _may_hold(directory: str, first: Segment, end: int | None, size: SegmentSize) -> bool:
    """Whether segments from ``first`` up to a number lie in a directory, so that it is worth listing."""
    timeline, log = int(directory[:8], 16), int(directory[8:], 16)
    begins = log * size.per_log
    return (
        timeline >= first.timeline and begins + size.per_log > first.number and (end is None or begins < end)
    )


def _lies_between(name: str, first: Segment, end: int | None, record: BackupRecord) -> bool:
    number = Segment.parse(name[:24], record.wal_segment_size).number
    return number >= first.number and (end is None or number < end)
