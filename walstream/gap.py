"""A gap in front of a stream: where the server's WAL begins again, and what must not be acknowledged meanwhile."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

from catalog.errors import ProtocolError, ServerRefused
from catalog.lsn import LSN, SegmentSize
from catalog.timeline import Path
from walstream import commands
from walstream.connection import COPY_BOTH, COPY_IN, Connection
from walstream.resume import Start
from walstream.session import Session

log = logging.getLogger("walstream.receiver")

GAP_CHECK_INTERVAL = 3.0
UNDEFINED_FILE = "58P01"
_SEGMENT_NAME = re.compile(r"(?<![0-9A-F])[0-9A-F]{24}(?![0-9A-F])")


class SegmentRemoved(Exception):
    """The server no longer has the segment with which a stream was to begin."""

    def __init__(self, start: Start) -> None:
        super().__init__(str(start))
        self.start = start


class GapGuard:
    """Withholds the flushed position from a server that waits for us, while a gap is open.

    Commits behind a gap could not be recovered from here, so they must not be acknowledged.
    """

    def __init__(self, has_open_gap: Callable[[], bool], session: Session) -> None:
        self._has_open_gap = has_open_gap
        self._session = session
        self._next_look = 0.0
        self._asked_for: bool | None = None

    def look(self, now: float, names_us: bool) -> None:
        """Ask whether there is one: at first, when the server begins to wait for us, and while there is."""
        asked, self._asked_for = self._asked_for, names_us
        if asked == names_us and (now < self._next_look or not self._session.withhold_flush):
            return
        self._next_look = now + GAP_CHECK_INTERVAL
        was = self._session.withhold_flush
        self._session.withhold_flush = names_us and self._has_open_gap()
        if self._session.withhold_flush and not was:
            log.error("synchronous commits are not acknowledged until a backup behind the gap is restorable")
        elif was and not self._session.withhold_flush:
            log.info("a backup behind the gap is restorable: synchronous commits are acknowledged again")


def oldest_available(connection: Connection, path: Path, missing: LSN, size: SegmentSize, until: LSN) -> LSN:
    """The beginning of the oldest segment behind ``missing``, at most at ``until``, that the server has."""
    low, high = size.number_at(missing) + 1, size.number_at(until)
    if low > high:
        raise ProtocolError(
            f"the server says that it has removed WAL from {missing} on, but it is at {until}"
        )
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
            # A keepalive says nothing: only WAL itself, or the end of the copy, does.
            has_wal = any(message[0] == ord("w") for message in connection.messages())
            if has_wal:
                connection.end_copy()
                for _ in connection.messages():
                    pass
        while (result := connection.result()) is not None:
            if result.kind == COPY_IN:
                connection.end_copy()
    except ServerRefused as refusal:
        if is_removed_segment(refusal):
            return False
        raise
    return True


def is_removed_segment(refusal: ServerRefused) -> bool:
    """Whether the server says, in whatever language, that a WAL segment is no longer there."""
    return refusal.sqlstate == UNDEFINED_FILE and _SEGMENT_NAME.search(refusal.message) is not None
