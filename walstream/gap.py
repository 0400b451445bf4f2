"""A gap in front of a stream: where the server's WAL begins again, and what must not be acknowledged meanwhile."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable

from catalog.errors import ServerRefused
from catalog.lsn import LSN, SegmentSize
from catalog.timeline import Path
from walstream import commands
from walstream.connection import COPY_BOTH, COPY_IN, Connection, EndOfCopy
from walstream.messages import status_update
from walstream.session import Session

log = logging.getLogger("walstream.receiver")

GAP_CHECK_INTERVAL = 30.0
UNDEFINED_FILE = "58P01"


class GapGuard:
    """Withholds the flushed position from a server that waits for us, while a gap is open.

    Commits behind a gap could not be recovered from here, so they must not be acknowledged.
    """

    def __init__(self, has_open_gap: Callable[[], bool], session: Session) -> None:
        self._has_open_gap = has_open_gap
        self._session = session
        self._next_look = 0.0

    def look(self, now: float) -> None:
        """Ask whether there is one, now and then."""
        if now < self._next_look or (self._next_look and not self._session.withhold_flush):
            return
        self._next_look = now + GAP_CHECK_INTERVAL
        was, self._session.withhold_flush = self._session.withhold_flush, self._has_open_gap()
        if self._session.withhold_flush and not was:
            log.error("synchronous commits are not acknowledged until a backup behind the gap is restorable")
        elif was and not self._session.withhold_flush:
            log.info("a backup behind the gap is restorable: synchronous commits are acknowledged again")


def oldest_available(connection: Connection, path: Path, missing: LSN, size: SegmentSize, until: LSN) -> LSN:
    """The beginning of the oldest segment behind ``missing``, at most at ``until``, that the server has."""
    low, high = size.number_at(missing) + 1, size.number_at(until)
    while low < high:
        middle = (low + high) // 2
        position = size.start(middle)
        if _can_stream(connection, position, path.timeline_of(middle, size)):
            high = middle
        else:
            low = middle + 1
    return size.start(low)


def _can_stream(connection: Connection, position: LSN, timeline: int) -> bool:
    """Whether a stream can begin there, found out by trying; no flushed position is reported."""
    try:
        connection.send(commands.start_replication(position, timeline, None))
        first = connection.result()
        if first is not None and first.kind == COPY_BOTH:
            zero = LSN(0)
            connection.put(status_update(zero, zero, zero, time.time(), reply_requested=True))
            with contextlib.suppress(EndOfCopy):
                while connection.copied() is None:
                    connection.wait(1.0)
                connection.end_copy()
                for _ in connection.messages():
                    pass
        while (result := connection.result()) is not None:
            if result.kind == COPY_IN:
                connection.end_copy()
    except ServerRefused as refusal:
        if refusal.sqlstate == UNDEFINED_FILE:
            return False
        raise
    return True
