"""The record of a backup: ``record.json``, versioned JSON, both ways.

A record is written last and never rewritten: its existence is the backup's existence. It says nothing about
whether the backup can be restored; that is computed. Keys that this version does not know are kept. Times
are the server's, in UTC.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from catalog.document import FORMAT, Document, write_document
from catalog.document_values import optional, plain_fields, read_lsn, read_time, unknown_keys
from catalog.errors import Malformed
from catalog.lsn import LSN, SegmentSize
from catalog.repository_identity import read_segment_size, read_system_identifier
from catalog.walname import Segment

FULL = "full"
INCREMENTAL = "incremental"

_ID = "%Y%m%dT%H%M%S"


def backup_id(now: datetime) -> str:
    """The id of a backup that begins now."""
    return now.astimezone(UTC).strftime(_ID)


def check_backup_id(text: str) -> str:
    """Return ``text`` if it has the form of a backup id; otherwise ``Malformed``."""
    try:
        if re.fullmatch(r"[0-9]{8}T[0-9]{6}", text) and datetime.strptime(text, _ID):
            return text
    except ValueError:
        pass
    raise Malformed(f"not a backup id: {text!r}", "an id is a time in UTC, like 20260131T120000")


@dataclass(frozen=True)
class Point:
    """Where and when a backup began or ended."""

    lsn: LSN
    timeline: int
    time: datetime
    extra: Mapping[str, object] = unknown_keys()


@dataclass(frozen=True)
class Compression:
    """How the archives are compressed; ``none`` has no level."""

    codec: str
    level: int | None = None
    extra: Mapping[str, object] = unknown_keys()


@dataclass(frozen=True)
class Encryption:
    """How the archives are encrypted, and for whom."""

    method: str
    recipients: tuple[str, ...] = ()
    extra: Mapping[str, object] = unknown_keys()


@dataclass(frozen=True)
class Tablespace:
    """A tablespace, and where the server had it."""

    oid: int
    name: str
    location: str
    extra: Mapping[str, object] = unknown_keys()


@dataclass(frozen=True)
class BadFile:
    """A file in which the server found bad page checksums, and in how many pages."""

    file: str
    pages: int
    extra: Mapping[str, object] = unknown_keys()


@dataclass(frozen=True)
class Archive:
    """A stored file of the backup: ``oid`` is the tablespace's, None for main data and the manifest.

    ``sha256`` is of the stored bytes, of an encrypted file those behind its age header.
    """

    file: str
    oid: int | None
    raw_size: int
    stored_size: int
    sha256: str
    extra: Mapping[str, object] = unknown_keys()


@dataclass(frozen=True, kw_only=True)
class BackupRecord:
    """A backup: what it holds, of which cluster, and the WAL that it needs. ``record.json``."""

    walstream: str
    id: str
    name: str | None
    server: str
    type: str
    parent: str | None
    system_identifier: int
    server_version: int
    block_size: int
    wal_segment_size: SegmentSize
    data_checksums: bool
    summarize_wal: bool | None
    data_directory: str
    from_standby: bool
    label: str
    begin: Point
    end: Point
    copy_seconds: float
    cluster_size: int
    compression: Compression
    encryption: Encryption
    checksum_errors: int
    bad_files: tuple[BadFile, ...] = ()
    tablespaces: tuple[Tablespace, ...]
    archives: tuple[Archive, ...]
    manifest: Archive
    extra: Mapping[str, object] = unknown_keys()

    @property
    def raw_size(self) -> int:
        """The bytes of all archives as the server sent them; an incremental backup's cluster is larger."""
        return sum(archive.raw_size for archive in self.archives)

    @property
    def first_segment(self) -> Segment:
        """The segment that holds the begin position."""
        return Segment.at(self.begin.timeline, self.begin.lsn, self.wal_segment_size)

    @property
    def last_segment(self) -> Segment:
        """The segment that holds the last byte before the end position."""
        return Segment(self.end.timeline, self.wal_segment_size.number_before(self.end.lsn))

    @classmethod
    def from_json(cls, data: bytes, where: str = "record.json") -> BackupRecord:
        """Read ``record.json``; ``Corrupt`` names the key that is missing or wrong."""
        document = Document.parse(data, where)
        document.require_format()
        record = cls(
            walstream=document.text("walstream"),
            id=read_id(document, "id"),
            name=optional(document, "name", document.text),
            server=document.text("server"),
            type=_read_type(document),
            parent=optional(document, "parent", lambda key: read_id(document, key)),
            system_identifier=read_system_identifier(document),
            server_version=document.integer("server_version"),
            block_size=document.integer("block_size"),
            wal_segment_size=read_segment_size(document),
            data_checksums=document.flag("data_checksums"),
            summarize_wal=optional(document, "summarize_wal", document.flag),
            data_directory=document.text("data_directory"),
            from_standby=document.flag("from_standby"),
            label=document.text("label"),
            begin=read_point(document.below("begin")),
            end=read_point(document.below("end")),
            copy_seconds=document.number("copy_seconds"),
            cluster_size=document.integer("cluster_size"),
            compression=_read_compression(document.below("compression")),
            encryption=_read_encryption(document.below("encryption")),
            checksum_errors=document.integer("checksum_errors"),
            bad_files=tuple(map(_read_bad_file, document.each("bad_files")))
            if "bad_files" in document
            else (),
            tablespaces=tuple(map(_read_tablespace, document.each("tablespaces"))),
            archives=tuple(map(_read_archive, document.each("archives"))),
            manifest=_read_archive(document.below("manifest")),
            extra=document.rest(),
        )
        if record.begin.lsn >= record.end.lsn:
            raise document.wrong("end.lsn", "a position behind the begin position")
        if (record.type == INCREMENTAL) != (record.parent is not None):
            raise document.wrong("parent", "the parent of an incremental backup, and null for a full one")
        oids = {None, *(space.oid for space in record.tablespaces)}
        if not oids.issuperset(archive.oid for archive in record.archives):
            raise document.wrong("archives", "archives of the backup's tablespaces")
        return record

    def to_json(self) -> bytes:
        """The bytes of ``record.json``."""
        identifier = str(self.system_identifier)  # a string, because it exceeds 2^53
        return write_document({"format": FORMAT, **plain_fields(self), "system_identifier": identifier})


def read_id(document: Document, key: str) -> str:
    """A backup id."""
    text = document.text(key)
    try:
        return check_backup_id(text)
    except Malformed as error:
        raise document.wrong(key, "a backup id") from error


def read_point(document: Document) -> Point:
    """A ``begin`` or ``end``."""
    timeline = document.integer("timeline")
    if not 0 < timeline < 1 << 32:
        raise document.wrong("timeline", "a timeline")
    return Point(read_lsn(document, "lsn"), timeline, read_time(document, "time"), document.rest())


def _read_type(document: Document) -> str:
    type = document.text("type")
    if type not in (FULL, INCREMENTAL):
        raise document.wrong("type", f"{FULL!r} or {INCREMENTAL!r}")
    return type


def _read_compression(document: Document) -> Compression:
    level = optional(document, "level", document.integer)
    return Compression(document.text("codec"), level, document.rest())


def _read_encryption(document: Document) -> Encryption:
    return Encryption(document.text("method"), document.texts("recipients"), document.rest())


def _read_tablespace(document: Document) -> Tablespace:
    oid, name, location = document.integer("oid"), document.text("name"), document.text("location")
    return Tablespace(oid, name, location, document.rest())


def _read_bad_file(document: Document) -> BadFile:
    return BadFile(document.text("file"), document.integer("pages"), document.rest())


def _read_archive(document: Document) -> Archive:
    file = document.text("file")
    if not file or "/" in file or "\0" in file or file in (".", ".."):
        raise document.wrong("file", "the name of a file beside the record")
    return Archive(
        file,
        optional(document, "oid", document.integer),
        document.integer("raw_size"),
        document.integer("stored_size"),
        document.text("sha256"),
        document.rest(),
    )
