"""Repositories made without a server: segments with true page headers, backups with archives that fit them."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from support.members import Content, archive, directory, file

from backup.checksum import checksum
from backup.manifest import write
from backup.manifest_entry import FileEntry, WalRange
from backup.tar import Kind
from catalog import layout
from catalog.codec import Codec
from catalog.frames import Workers, encoder
from catalog.lsn import LSN, SegmentSize
from catalog.record import Archive, BackupRecord, Compression, Encryption, Point, Tablespace, backup_id
from catalog.repository import Repository, create_repository
from catalog.repository_identity import RepositoryIdentity
from catalog.sink import Measured, Sink
from catalog.walname import Segment
from catalog.walpage import PAGE_SIZE

SYSTEM = 7_300_000_000_000_000_001
SIZE = SegmentSize(1 << 20)
ZSTD = Codec.of("zstd")
PLAIN = Codec.of("none")
START = datetime(2026, 1, 31, 12, tzinfo=UTC)

_MAGIC = 0xD118
_PAGE = struct.Struct("<HHIQI4x")
_FIRST_PAGE = struct.Struct("<HHIQI4xQII")

MAIN: tuple[Content, ...] = (
    file("backup_label", b"START WAL LOCATION: 0/200028 (file 000000010000000000000002)\n"),
    directory("base"),
    file("base/1", b"one" * 9000),
    file("base/2", bytes(range(256)) * 64),
    file("pg_wal/archive_status/nothing"),
    file("global/pg_control", b"c" * 8192),
)
SPACE: tuple[Content, ...] = (file("PG_18_1/5/1", b"x" * 9000), file("PG_18_1/5/2", b"y" * 9000))


def new_repository(root: Path, size: SegmentSize = SIZE) -> Repository:
    """An empty repository of a cluster of PostgreSQL 18."""
    identity = RepositoryIdentity(SYSTEM, 18, size, b"salt" * 4, START.isoformat())
    return create_repository(str(root), identity)


def segment_bytes(segment: Segment, size: SegmentSize = SIZE, system_identifier: int = SYSTEM) -> bytes:
    """A whole segment: every page has its header, and something behind it."""
    start = segment.start(size).value
    first = _FIRST_PAGE.pack(_MAGIC, 2, segment.timeline, start, 0, system_identifier, size.nbytes, PAGE_SIZE)
    pages = [first.ljust(PAGE_SIZE, b"w")]
    for at in range(start + PAGE_SIZE, start + size.nbytes, PAGE_SIZE):
        pages.append(_PAGE.pack(_MAGIC, 0, segment.timeline, at, 0).ljust(PAGE_SIZE, b"w"))
    return b"".join(pages)


def store_wal(
    repository: Repository, numbers: Iterable[int], timeline: int = 1, codec: Codec = ZSTD
) -> list[str]:
    """Put whole segments onto the shelf; the paths of their files."""
    size = repository.identity.wal_segment_size
    keys = []
    for number in numbers:
        segment = Segment(timeline, number)
        keys.append(layout.wal_key(segment.name(size), codec.suffix))
        _store(repository.storage.write(keys[-1]), segment_bytes(segment, size), codec)
    return [repository.storage.path(key) for key in keys]


def store_backup(
    repository: Repository,
    *,
    after: timedelta = timedelta(),
    first: int = 2,
    last: int = 3,
    main: Sequence[Content] = MAIN,
    spaces: Mapping[int, Sequence[Content]] | None = None,
    codec: Codec = ZSTD,
    **fields: object,
) -> BackupRecord:
    """A backup whose WAL is segments ``first`` to ``last`` of timeline 1, which are not stored here.

    It begins ``after`` the first possible one; ``fields`` are the record's.
    """
    begins = START + after
    its_id = backup_id(begins)
    size = repository.identity.wal_segment_size
    archives = [(oid, members) for oid, members in (spaces or {}).items()] + [(None, main)]
    record = BackupRecord(
        walstream="0",
        id=its_id,
        name=None,
        server="main",
        type="full",
        parent=None,
        system_identifier=SYSTEM,
        server_version=180000,
        block_size=8192,
        wal_segment_size=size,
        data_checksums=True,
        summarize_wal=False,
        data_directory="/var/lib/postgresql/18/main",
        from_standby=False,
        label=f"walstream {its_id}",
        begin=Point(LSN(size.start(first).value + 0x28), 1, begins),
        end=Point(LSN(size.start(last).value + 0x9000), 1, begins + timedelta(minutes=5)),
        copy_seconds=300.0,
        cluster_size=sum(member.size for _, members in archives for member, _ in members),
        compression=Compression(codec.name, codec.level),
        encryption=Encryption("age" if codec.recipients else "none", codec.recipients),
        checksum_errors=0,
        tablespaces=tuple(Tablespace(oid, f"space{oid}", f"/srv/{oid}") for oid in spaces or {}),
        archives=tuple(
            _store_file(repository, its_id, layout.archive_name(oid), oid, archive(members), codec)
            for oid, members in archives
        ),
        manifest=Archive("", None, 0, 0, ""),
    )
    manifest = manifest_of(archives, record.begin.lsn, record.end.lsn)
    stored = _store_file(repository, its_id, layout.MANIFEST, None, manifest, codec.clear)
    record = replace(record, manifest=stored, **fields)  # type: ignore[arg-type]  # whatever a test wants
    repository.backups.commit(record)
    return record


def manifest_of(
    archives: Iterable[tuple[int | None, Sequence[Content]]],
    begin: LSN,
    end: LSN,
    system_identifier: int = SYSTEM,
) -> bytes:
    """The manifest that a server would send behind these archives."""
    entries = []
    for oid, members in archives:
        prefix = "" if oid is None else f"pg_tblspc/{oid}/"
        for member, data in members:
            if member.kind is Kind.FILE:
                total = checksum("CRC32C")
                total.update(data)
                entries.append(FileEntry(prefix + member.name, len(data), "", "CRC32C", total.hexdigest()))
    return b"".join(write(entries, [WalRange(1, begin, end)], system_identifier))


def file_of(repository: Repository, record: BackupRecord, archive: Archive) -> Path:
    """Where a stored file of a backup lies."""
    return Path(repository.storage.path(layout.backup_key(record.id, archive.file)))


def flip(path: Path | str, offset: int) -> None:
    """Change one byte of a file; a negative offset counts from its end."""
    with open(path, "r+b") as target:
        target.seek(offset, os.SEEK_END if offset < 0 else os.SEEK_SET)
        byte = target.read(1)
        target.seek(-1, os.SEEK_CUR)
        target.write(bytes([byte[0] ^ 1]))


def truncate(path: Path | str, fewer: int = 1) -> None:
    """Cut bytes off the end of a file."""
    os.truncate(path, os.path.getsize(path) - fewer)


def store_in_backup(repository: Repository, record: BackupRecord, name: str, content: bytes) -> None:
    """Store a segment with a backup itself, as it is done for the incomplete last one."""
    _store(repository.backups.wal_writer(record.id, name, ZSTD), content, ZSTD)


def _store_file(
    repository: Repository, backup_id: str, name: str, oid: int | None, raw: bytes, codec: Codec
) -> Archive:
    writer = repository.backups.writer(backup_id, name + codec.suffix)
    measured = Measured(writer)
    _store(measured, raw, codec, writer)
    return Archive(name + codec.suffix, oid, len(raw), measured.nbytes, measured.sha256)


def _store(sink: Sink, raw: bytes, codec: Codec, front: Sink | None = None) -> None:
    with Workers(1) as workers:
        chain = encoder(codec, sink, workers, front=front)
        chain.write(raw)
        chain.finish()
