"""A repository as large as years make it, from nothing: a hundred backups, half a million segments.

What is listed, counted and measured is as in a true one: names, sizes, times, records, manifests. What is inside
the files is not: they are holes, all segments of a directory one file with many names, so that it takes seconds
to make, and hardly any room.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path

from backup.manifest import write
from backup.manifest_entry import FileEntry, WalRange
from catalog import layout
from catalog.lsn import LSN, SegmentSize
from catalog.record import FULL, INCREMENTAL, Archive, BackupRecord, Compression, Encryption, Point, backup_id
from catalog.repository import Repository, create_repository
from catalog.repository_identity import RepositoryIdentity
from catalog.timeline import History, Switch
from catalog.walname import Segment, history_name

SIZE = SegmentSize(16 << 20)
SPAN = timedelta(days=366)
SYSTEM = 7_300_000_000_000_000_001
SUFFIX = ".zst"
ONE_FULL_IN = 4  # the others are incremental
WAL_OF_BACKUP = 3  # segments
CLUSTER = 1 << 30
FILES = 1000  # in a manifest


@dataclass(frozen=True, slots=True)
class Large:
    """How much there is to be, ending at ``now``. A failover lies behind the middle."""

    backups: int
    segments: int
    now: datetime

    @property
    def last(self) -> int:
        return self.segments

    @property
    def switch(self) -> int:
        """The number of the first segment of timeline 2; of timeline 1 it is there as a partial one."""
        return self.segments * 7 // 10

    def timeline(self, number: int) -> int:
        return 2 if number >= self.switch else 1

    def at(self, number: int) -> datetime:
        """When a segment was stored."""
        return self.now - SPAN * ((self.last - number) / self.segments)

    def name(self, number: int) -> str:
        return Segment(self.timeline(number), number).name(SIZE)

    def position(self, number: int, offset: int = 0x28) -> LSN:
        return LSN(SIZE.start(number).value + offset)


def make(root: Path, large: Large) -> Repository:
    """Make it in a directory that is empty or absent."""
    identity = RepositoryIdentity(SYSTEM, 18, SIZE, b"salt" * 4, large.at(0).isoformat())
    repository = create_repository(str(root), identity)
    for each in (layout.STREAMING, layout.INCOMING, layout.ERRORS, layout.STATE):
        (root / each).mkdir()
    _store_wal(root / layout.WALS, large)
    for record in _backups(large):
        _store_backup(repository, record)
    return repository


def _store_wal(wals: Path, large: Large) -> None:
    history = History(2, (Switch(1, large.position(large.switch), "no recovery target specified"),))
    (wals / history_name(2)).write_bytes(history.format())
    partial = Segment(1, large.switch).name(SIZE)
    for first in range(1, large.last + 1, SIZE.per_log):
        # Directories begin at multiples of what one holds.
        begin = first - first % SIZE.per_log
        numbers = range(max(begin, 1), min(begin + SIZE.per_log, large.last + 1))
        for timeline in {large.timeline(number) for number in numbers}:
            names = [large.name(number) for number in numbers if large.timeline(number) == timeline]
            names += [f"{partial}.partial"] if partial[:16] == names[0][:16] else []
            _store_directory(wals / names[0][:16], names, large.at(numbers[-1]), begin)


def _store_directory(directory: Path, names: list[str], at: datetime, number: int) -> None:
    directory.mkdir()
    first = directory / f"{names[0]}{SUFFIX}"
    first.touch()
    os.truncate(first, 4_000_000 + number % 1000 * 1000)
    os.utime(first, times=(at.timestamp(), at.timestamp()))
    for name in names[1:]:
        os.link(first, f"{directory}/{name}{SUFFIX}")
    # As it is when the last of them came: what is remembered of a directory counts as long as it is unchanged.
    os.utime(directory, times=(at.timestamp(), at.timestamp()))


def _backups(large: Large) -> Iterable[BackupRecord]:
    parent = None
    for number in range(large.backups):
        begin = 2 + (large.segments - 2 * WAL_OF_BACKUP) * number // large.backups
        parent = parent if number % ONE_FULL_IN else None
        record = _record(large, begin, parent)
        yield record
        parent = record.id


def _record(large: Large, begin: int, parent: str | None) -> BackupRecord:
    end = begin + WAL_OF_BACKUP - 1
    begins, ends = large.at(begin), large.at(end)
    its_id = backup_id(begins)
    raw = CLUSTER // (1 if parent is None else 10)
    return BackupRecord(
        walstream="0",
        id=its_id,
        name=None,
        server="main",
        type=FULL if parent is None else INCREMENTAL,
        parent=parent,
        system_identifier=SYSTEM,
        server_version=180000,
        block_size=8192,
        wal_segment_size=SIZE,
        data_checksums=True,
        summarize_wal=True,
        data_directory="/var/lib/postgresql/18/main",
        from_standby=False,
        label=f"walstream {its_id}",
        begin=Point(large.position(begin), large.timeline(begin), begins),
        end=Point(large.position(end, 0x9000), large.timeline(end), ends),
        copy_seconds=60.0,
        cluster_size=CLUSTER,
        compression=Compression("zstd", 1),
        encryption=Encryption("none"),
        checksum_errors=0,
        tablespaces=(),
        archives=(Archive(f"{layout.MAIN_ARCHIVE}{SUFFIX}", None, raw, raw // 3, "0" * 64),),
        manifest=Archive("", None, 0, 0, ""),
    )


def _store_backup(repository: Repository, record: BackupRecord) -> None:
    directory = Path(repository.storage.path(layout.backup_directory(record.id)))
    directory.mkdir()
    for archive in record.archives:
        (directory / archive.file).touch()
        os.truncate(directory / archive.file, archive.stored_size)
    manifest = _manifest(record)
    (directory / layout.MANIFEST).write_bytes(manifest)
    stored = Archive(layout.MANIFEST, None, len(manifest), len(manifest), sha256(manifest).hexdigest())
    (directory / layout.RECORD).write_bytes(replace(record, manifest=stored).to_json())


def _manifest(record: BackupRecord) -> bytes:
    files = (FileEntry(f"base/5/{oid}", CLUSTER // FILES, "", "CRC32C", "00000000") for oid in range(FILES))
    span = WalRange(record.end.timeline, record.begin.lsn, record.end.lsn)
    return b"".join(write(files, [span], SYSTEM))
