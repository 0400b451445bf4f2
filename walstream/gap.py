"""A gap in front of a stream: where the server's WAL begins again, and what must not be acknowledged meanwhile."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Protocol

from catalog.errors import ProtocolError, ServerRefused
from catalog.lsn import LSN, SegmentSize
from catalog.timeline import Path
from walstream import commands
from walstream.connection import COPY_BOTH, COPY_IN, Connection
from walstream.messages import WalData, parse
from walstream.resume import Start
from walstream.session import UNKNOWN, Session

log = logging.getLogger("walstream.receiver")

GAP_CHECK_INTERVAL = 3.0
UNDEFINED_FILE = "58P01"
_SEGMENT_NAME = re.compile(r"(?<![0-9A-F])[0-9A-F]{24}(?![0-9A-F])")


class SegmentRemoved(Exception):
    """The server no longer has the segment with which a stream was to begin."""

    def __init__(self, start: Start) -> None:
        super().__init__(str(start))
        self.start = start


class Watch(Protocol):
    """Whether the server waits for us: ``walstream.synchronous.SynchronousWatch``."""

    @property
    def names_us(self) -> bool: ...
    @property
    def is_synchronous(self) -> bool: ...
    @property
    def cleared(self) -> LSN: ...
    def begin(self) -> None: ...
    def note(self, flushed: LSN, *, close: bool) -> None: ...


class GapGuard:
    """Withholds the flushed position from a server that waits for us, or may, while a gap is open.

    Commits behind a gap could not be recovered from here, so they must not be acknowledged. What was flushed
    when the server was last asked, and did not wait for us, can release none.
    """

    def __init__(self, has_open_gap: Callable[[], bool], session: Session, watch: Watch) -> None:
        self._has_open_gap = has_open_gap
        self._session = session
        self._watch = watch
        self._next_look = 0.0
        self._is_open = True
        self._named = False
        watch.begin()

    def look(self, now: float) -> None:
        """Ask whether there is one: at first, when the server begins to wait for us, and while there is."""
        names_us = self._watch.names_us
        asked_for, self._named = self._named, names_us
        if names_us != asked_for or (self._is_open and now >= self._next_look):
            self._next_look = now + GAP_CHECK_INTERVAL
            self._is_open = self._has_open_gap()
        self._watch.note(self._session.flushed, close=self._is_open)
        was = self._session.ceiling
        self._session.ceiling = None
        if self._is_open:
            self._session.ceiling = UNKNOWN if names_us else self._watch.cleared
        if self._is_open and names_us and not asked_for:
            log.error("synchronous commits are not acknowledged until a backup behind the gap is restorable")
        elif was is not None and not self._is_open and names_us:
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
        if first_wal(connection, position, path.timeline_of(middle, size)) is not None:
            high = middle
        else:
            low = middle + 1
    return size.start(low)


def first_wal(connection: Connection, position: LSN, timeline: int) -> memoryview | None:
    """The first bytes that a stream from there brings, found out by trying; no flushed position is reported.

    None when the server has removed them; none at all where the timeline ends.
    """
    payload = memoryview(b"")
    try:
        connection.send(commands.start_replication(position, timeline, None))
        first = connection.result()
        if first is not None and first.kind == COPY_BOTH:
            for message in connection.messages():
                # A keepalive says nothing: only WAL itself, or the end of the copy, does.
                if isinstance(wal := parse(message), WalData):
                    payload = wal.payload
                    break
            if payload:
                connection.end_copy()
                for _ in connection.messages():
                    pass
        while (result := connection.result()) is not None:
            if result.kind == COPY_IN:
                connection.end_copy()
    except ServerRefused as refusal:
        if is_removed_segment(refusal):
            return None
        raise
    return payload


def is_removed_segment(refusal: ServerRefused) -> bool:
    """Whether the server says, in whatever language, that a WAL segment is no longer there."""
    return refusal.sqlstate == UNDEFINED_FILE and _SEGMENT_NAME.search(refusal.message) is not None
