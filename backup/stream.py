"""The copy stream of BASE_BACKUP: one message in, one event out. Pure.

PostgreSQL 15 and later send everything in one copy stream whose messages begin with a type byte
(``basebackup_copy.c``): a new archive, data, the manifest, progress. What data belongs to is told by
the last ``ArchiveStarted`` or ``ManifestStarted`` before it; nothing marks the end of the last.

13 and 14 send one copy stream per archive, of plain tar bytes without these types. There nothing
has to be parsed, but the two zero blocks that end a tar archive are missing: ``TAR_END``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

from backup import names
from catalog.errors import ProtocolError
from catalog.sink import BytesLike

TAR_END = bytes(1024)

_DATA = ord("d")
_ARCHIVE_NAME = re.compile(r"(?:base|([1-9][0-9]{0,9}))\.tar(?:\.gz|\.lz4|\.zst)?", re.ASCII)
_HINT = "the server speaks a dialect of BASE_BACKUP that this version of walstream does not know"


@dataclass(frozen=True, slots=True)
class ArchiveStarted:
    """A new archive begins; the one before it is complete.

    ``location`` is the tablespace's directory on the server, empty for the main archive.
    """

    name: str
    location: str

    @property
    def tablespace(self) -> int | None:
        """The oid of the tablespace whose archive this is, or None for the main archive."""
        match = _ARCHIVE_NAME.fullmatch(self.name)
        return int(match[1]) if match and match[1] else None


@dataclass(frozen=True, slots=True)
class Data:
    """The next bytes of the current archive, or of the manifest; valid as long as the message is."""

    payload: memoryview


@dataclass(frozen=True, slots=True)
class ManifestStarted:
    """All archives are complete, the manifest begins."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How many bytes of all archives the server has processed so far."""

    nbytes: int


Event: TypeAlias = ArchiveStarted | Data | ManifestStarted | Progress

_MANIFEST_STARTED = ManifestStarted()


def parse(message: BytesLike) -> Event:
    """The event that one message of the copy stream means; ``ProtocolError`` for any other bytes."""
    view = memoryview(message).cast("B")
    if view and view[0] == _DATA:
        return Data(view[1:])
    kind = bytes(view[:1])
    if kind == b"n":
        return _archive(bytes(view[1:]))
    if kind == b"p" and len(view) == 9:
        return Progress(int.from_bytes(view[1:], "big"))
    if kind == b"m" and len(view) == 1:
        return _MANIFEST_STARTED
    raise ProtocolError(
        f"unexpected message of {len(view)} bytes in a base backup: {bytes(view[:16])!r}", _HINT
    )


def _archive(body: bytes) -> ArchiveStarted:
    match body.split(b"\0"):
        case [raw_name, raw_location, b""]:
            name, location = names.decode(raw_name), names.decode(raw_location)
        case _:
            raise ProtocolError(f"malformed start of an archive in a base backup: {body[:200]!r}", _HINT)
    if not _ARCHIVE_NAME.fullmatch(name):
        raise ProtocolError(f"unexpected name of an archive in a base backup: {name[:200]!r}", _HINT)
    return ArchiveStarted(name, location)
