"""The end of what is held, which a server must continue: its last page with anything in it, or the fingerprint."""

from __future__ import annotations

from collections.abc import Callable

from catalog.errors import Absent, Conflict, IdentityError, Malformed, StorageError
from catalog.fingerprint import sealed_page
from catalog.lsn import LSN
from catalog.repository import Repository
from catalog.walname import Segment
from walstream.leftovers import Leftovers
from walstream.resume import Start

Tail = tuple[LSN, Callable[[bytes], bool]]


def tail(
    repository: Repository, leftovers: Leftovers, start: Start, say: Callable[[str], None]
) -> Tail | None:
    """Where that page of the segment before ``start`` is, if held; and what judges the server's bytes there.

    ``say`` gets why that cannot be told.
    """
    size = repository.identity.wal_segment_size
    before = Segment(start.timeline, size.number_at(start.position) - 1)
    name = before.name(size) if before.number >= 0 else ""
    try:
        found = leftovers.last_page(name) if name else None
        if not found or not found[1]:
            return None
        offset, page = found
        return before.start(size) + offset, lambda sent: sent[: len(page)] == page[: len(sent)]
    except IdentityError:
        return _sealed(repository, before.start(size), name, say)
    except (Malformed, StorageError) as damage:
        say(f"it cannot be seen whether the server continues {name}: {damage}")
        return None


def _sealed(repository: Repository, start: LSN, name: str, say: Callable[[str], None]) -> Tail | None:
    """The same of an encrypted segment, by its fingerprint."""
    try:
        key, reader = repository.wal.find(name)
        reader.close()
        stored = repository.storage.read(key)
        try:
            offset, agrees = sealed_page(stored, repository.identity.salt)
        finally:
            stored.close()
    except (Absent, Conflict, Malformed, StorageError) as damage:
        say(f"it cannot be seen whether the server continues {name}: {damage}")
        return None
    return start + offset, agrees
