"""Repositories for tests: with segments of 1 MB whose pages are well-formed and whose records are noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from support.streams import Given
from support.values import MB
from support.wal_pages import SYSTEM_IDENTIFIER, make_pages

from catalog.codec import Codec
from catalog.filing import Filing
from catalog.frames import Workers
from catalog.repository import Repository, create_repository
from catalog.repository_identity import RepositoryIdentity
from catalog.sink import Reader
from catalog.storage import Storage
from catalog.walname import Segment

IDENTITY = RepositoryIdentity(SYSTEM_IDENTIFIER, 15, MB, bytes(16), "2026-01-31T12:00:00+00:00")


def segment_bytes(number: int, timeline: int = 1, fill: bytes = b"\xa5") -> bytes:
    """A complete segment."""
    return bytes(make_pages(number << 20, (number + 1) << 20, MB, timeline, fill=fill))


def name(number: int, timeline: int = 1) -> str:
    """A segment's name."""
    return Segment(timeline, number).name(MB)


def giving(data: bytes) -> Callable[[], Reader]:
    """What ``Filing.put`` wants: a way to open these bytes."""
    return lambda: Given(data)


def new_repository(root: object) -> Repository:
    """An empty one."""
    return create_repository(str(root), IDENTITY)


@contextmanager
def filing(storage: Storage, codec: str | Codec = "none") -> Iterator[Filing]:
    """What files WAL into a storage."""
    codec = Codec.of(codec) if isinstance(codec, str) else codec
    with Workers(1) as workers:
        yield Filing(storage, MB, SYSTEM_IDENTIFIER, codec, workers, IDENTITY.salt)


def store(repository: Repository, files: dict[str, bytes], codec: str | Codec = "none") -> None:
    """File WAL by name."""
    with filing(repository.storage, codec) as ours:
        for each, data in files.items():
            ours.put(each, giving(data))
