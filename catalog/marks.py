"""The marks beside a record, which say what happens or happened to a backup: JSON, both ways.

A mark never contradicts the record: a backup is there if its record is. Keys that this version does not know
are kept. Who writes and removes them is another module's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from catalog.document import Document, write_document
from catalog.document_values import optional, plain_fields, read_time, unknown_keys
from catalog.record import Point, read_id, read_point

KEEP_FULL = "full"
KEEP_STANDALONE = "standalone"
KEEP_TARGETS = (KEEP_FULL, KEEP_STANDALONE)


@dataclass(frozen=True, kw_only=True)
class StartedMark:
    """A backup is being taken; ``begin`` is known from the server's first answer on. ``started.json``."""

    pid: int
    name: str | None
    started: datetime
    parent: str | None
    begin: Point | None = None
    extra: Mapping[str, object] = unknown_keys()

    @classmethod
    def from_json(cls, data: bytes, where: str = "started.json") -> StartedMark:
        document = Document.parse(data, where)
        return cls(
            pid=document.integer("pid"),
            name=optional(document, "name", document.text),
            started=read_time(document, "started"),
            parent=optional(document, "parent", lambda key: read_id(document, key)),
            begin=optional(document, "begin", lambda key: read_point(document.below(key))),
            extra=document.rest(),
        )

    def to_json(self) -> bytes:
        return write_document(plain_fields(self))


@dataclass(frozen=True, kw_only=True)
class FailedMark:
    """A backup failed, and its data is gone. ``failed.json``."""

    started: datetime
    ended: datetime
    error: str
    hint: str | None
    extra: Mapping[str, object] = unknown_keys()

    @classmethod
    def from_json(cls, data: bytes, where: str = "failed.json") -> FailedMark:
        document = Document.parse(data, where)
        return cls(
            started=read_time(document, "started"),
            ended=read_time(document, "ended"),
            error=document.text("error"),
            hint=optional(document, "hint", document.text),
            extra=document.rest(),
        )

    def to_json(self) -> bytes:
        return write_document(plain_fields(self))


@dataclass(frozen=True, kw_only=True)
class VerifiedMark:
    """The stored files were read again and had these sums, by file. ``verified.json``.

    ``problems`` is what the last reading found wrong: then the backup does not count as restorable. The stamps
    tell whether the files, and the WAL, are still those that were read (``backup.unchanged``).
    """

    at: datetime
    sums: Mapping[str, str] = field(hash=False)
    problems: tuple[str, ...] = ()
    files_stamp: str | None = None
    wal_stamp: str | None = None
    extra: Mapping[str, object] = unknown_keys()

    @classmethod
    def from_json(cls, data: bytes, where: str = "verified.json") -> VerifiedMark:
        document = Document.parse(data, where)
        sums = document.below("sums")
        return cls(
            at=read_time(document, "at"),
            sums={file: sums.text(file) for file in sums.rest()},
            problems=document.texts("problems") if "problems" in document else (),
            files_stamp=_stamp(document, "files_stamp"),
            wal_stamp=_stamp(document, "wal_stamp"),
            extra=document.rest(),
        )

    def to_json(self) -> bytes:
        return write_document(plain_fields(self))


@dataclass(frozen=True, kw_only=True)
class KeepMark:
    """The backup is kept whatever the policy says. ``keep.json``.

    ``full``: with all WAL behind it; ``standalone``: with the WAL that it needs itself.
    """

    target: str
    since: datetime
    extra: Mapping[str, object] = unknown_keys()

    @classmethod
    def from_json(cls, data: bytes, where: str = "keep.json") -> KeepMark:
        document = Document.parse(data, where)
        target = document.text("target")
        if target not in KEEP_TARGETS:
            raise document.wrong("target", f"one of {', '.join(KEEP_TARGETS)}")
        return cls(target=target, since=read_time(document, "since"), extra=document.rest())

    def to_json(self) -> bytes:
        return write_document(plain_fields(self))


@dataclass(frozen=True, kw_only=True)
class RemovedMark:
    """Somebody decided that the backup goes; what is left of it has no record any more. ``removed.json``."""

    at: datetime
    reason: str
    extra: Mapping[str, object] = unknown_keys()

    @classmethod
    def from_json(cls, data: bytes, where: str = "removed.json") -> RemovedMark:
        document = Document.parse(data, where)
        return cls(at=read_time(document, "at"), reason=document.text("reason"), extra=document.rest())

    def to_json(self) -> bytes:
        return write_document(plain_fields(self))


def _stamp(document: Document, key: str) -> str | None:
    return optional(document, key, document.text) if key in document else None
