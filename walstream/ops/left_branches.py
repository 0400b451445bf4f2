"""WAL of timelines that the server has left, as a failover leaves it, up to its last byte. Offline."""

from __future__ import annotations

import os

from catalog import layout
from catalog.errors import Absent, IdentityError, WalstreamError
from catalog.fingerprint import read_stanza
from catalog.lsn import LSN
from catalog.reach import Branch, branches
from catalog.repository import Repository
from catalog.sink import PIECE, Reader
from catalog.timeline import Path
from catalog.walname import Segment
from walstream.ops.held_wal import HeldWal


def left_branches(repository: Repository, home: str, held: HeldWal, path: Path) -> tuple[Branch, ...]:
    """What ``path`` has left; of the files only partial segments of other timelines are read."""
    return branches(path, held.all, lambda segment: _filled(repository, home, segment))


def _filled(repository: Repository, home: str, segment: Segment) -> LSN:
    """The end of a partial segment's last byte that is not zero; of the segment, where it cannot be read."""
    size = repository.identity.wal_segment_size
    name = f"{segment.name(size)}.partial"
    try:
        return segment.start(size) + _length(repository.wal.open(name))
    except Absent:
        path = os.path.join(home, layout.STREAMING, name)
    except IdentityError:
        return segment.start(size) + _encrypted_length(repository, name, size.nbytes)
    except WalstreamError:
        return segment.end(size)
    try:
        with open(path, "rb") as file:
            return segment.start(size) + _length(file)
    except OSError:
        return segment.end(size)


def _encrypted_length(repository: Repository, name: str, otherwise: int) -> int:
    try:
        key, reader = repository.wal.find(name)
        reader.close()
        stored = repository.storage.read(key)
        try:
            return read_stanza(stored)[0]
        finally:
            stored.close()
    except WalstreamError:
        return otherwise


def _length(reader: Reader) -> int:
    position = length = 0
    try:
        while piece := reader.read(PIECE):
            if filled := len(piece.rstrip(b"\0")):
                length = position + filled
            position += len(piece)
    finally:
        reader.close()
    return length
