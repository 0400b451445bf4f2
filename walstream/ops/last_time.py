"""The last moment that a recovery can reach by its time: the newest end of a transaction held. Offline."""

from __future__ import annotations

from datetime import datetime

from backup.wal_log import StoredWal
from catalog.errors import WalstreamError
from catalog.reach import Window
from catalog.recordtypes import as_time
from catalog.repository import Repository
from catalog.timeline import Path
from catalog.walname import Segment
from walstream.ops.held_wal import HeldWal

# Status is asked for often. An idle server's last transaction may be a long way back: it is not looked for there.
READ_AT_MOST = 64 << 20


def last_time(
    repository: Repository, home: str, held: HeldWal, path: Path, windows: tuple[Window, ...]
) -> datetime | None:
    """When the last transaction in the newest window ended; None when none did near its end."""
    if not windows:
        return None
    window, size = windows[-1], held.all.size
    last = window.last.number
    if Segment(path.timeline_of(last + 1, size), last + 1) in held.all.inventory.partials:
        last += 1
    first = max(window.first.first_segment.number, last + 1 - READ_AT_MOST // size.nbytes)
    log = StoredWal(repository, home, partial=True).along(path, first, last, window.first.id)
    try:
        for number in range(last, first - 1, -1):
            found = log.facts(number).last
            if found is not None:
                return as_time(found.time)
    except WalstreamError:
        pass  # what cannot be read is said elsewhere; this would only be nice to know
    return None
