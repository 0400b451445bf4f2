"""One timeline's stream, message by message: connection, session and destination joined until it ends.

It decides nothing that can be decided without I/O: what to answer is the session's, what is durable the
destination's. What is left here is the order of things, and how long to sleep.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Protocol

from catalog.errors import ProtocolError, ServerError
from catalog.lsn import LSN
from walstream import commands
from walstream.connection import COPY_BOTH, ROWS, Connection, EndOfCopy, Result
from walstream.control import Control
from walstream.gap import GapGuard, Watch
from walstream.resume import Start
from walstream.session import UNKNOWN, Session
from walstream.standing import ENDED, Standing

log = logging.getLogger("walstream.receiver")

MESSAGES_PER_TURN = 64
SETTLING = 0.05
GOODBYE = 5.0


def begin_stream(connection: Connection, start: Start, slot: str | None) -> Result:
    """START_REPLICATION: a copy, or the rows that say that the timeline ends at ``start`` already.

    A copy is no proof that the server has what was asked for: an error may follow it.
    """
    connection.send(commands.start_replication(start.position, start.timeline, slot))
    first = connection.result()
    if first is None or first.kind not in (COPY_BOTH, ROWS):
        raise ProtocolError("the server did not start to stream")
    return first


class Destination(Protocol):
    """Where one timeline's stream goes; ``walstream.spool.Spool`` says what the words mean."""

    @property
    def written(self) -> LSN: ...
    @property
    def flushed(self) -> LSN: ...
    @property
    def has_room(self) -> bool: ...
    def write(self, data: memoryview) -> None: ...
    def request_sync(self, *, awaited: bool = False) -> None: ...
    def close(self) -> None: ...


class Listener(Protocol):
    """Who hears of progress, and may end it: the receiver's target."""

    def has_open_gap(self) -> bool: ...
    def note(self, standing: Standing) -> None: ...
    def require_room(self) -> None: ...
    def raise_error(self) -> None: ...


class Unwatched:
    """For a stream on which nothing is acknowledged."""

    names_us = False
    is_synchronous = False
    cleared = UNKNOWN

    def begin(self) -> None:
        """Nothing: there is nothing to forget."""

    def note(self, flushed: LSN, *, close: bool) -> None:
        """Nothing: nobody asks."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What stays the same from one stream of a receiver to the next; ``flush_interval`` in seconds."""

    control: Control
    listener: Listener
    standing: Standing
    flush_interval: float


class Streaming:
    """Receives from one stream that has begun; good for one ``run``."""

    def __init__(
        self,
        connection: Connection,
        session: Session,
        destination: Destination,
        watch: Watch,
        surroundings: Surroundings,
        until: LSN | None = None,
    ) -> None:
        """``until``: end behind this position, too."""
        self._connection = connection
        self._session = session
        self._destination = destination
        self._watch = watch
        self._control = surroundings.control
        self._listener = surroundings.listener
        self._standing = surroundings.standing
        self._flush_interval = surroundings.flush_interval
        self._until = until
        self._guard = GapGuard(surroundings.listener.has_open_gap, session, watch)
        self._last_sync = time.monotonic()

    def run(self) -> bool:
        """Receive until the server ends the copy (False), or we do (True).

        A turn begins with what commits wait for, up to the report; everything else comes behind it.
        """
        session, control = self._session, self._control
        noted = self._destination.flushed
        self._look_around()
        self._report(time.monotonic())
        count, ended = self._receive_some()
        while True:
            control.wakeup.clear()  # what happens from here on is seen in this turn, or ends its sleep
            if not ended:
                now = time.monotonic()
                self._sync_if_due(count < MESSAGES_PER_TURN, now)
                self._report(now)
            self._look_around()
            if count and not control.streaming:
                control.streaming = True
            if ended:
                return False
            if control.stopping or self._reached_end():
                self._end()
                return True
            count, ended = self._receive_some()  # before sleeping: a poll does not see what TLS has taken in
            if not (count or ended):
                moved, noted = session.flushed != noted, session.flushed
                self._sleep(moved)
                count, ended = self._receive_some()

    def _look_around(self) -> None:
        """See what others did meanwhile, and let them see where we are."""
        self._listener.raise_error()
        self._listener.require_room()
        self._standing.synchronous = self._watch.is_synchronous
        self._standing.names_us = self._watch.names_us
        self._listener.note(self._standing)
        self._guard.look(time.monotonic())

    def _receive_some(self) -> tuple[int, bool]:
        """Take in what has arrived, up to a bound; how many messages, and whether the copy ended."""
        if not self._destination.has_room:
            return 0, False
        for count in range(MESSAGES_PER_TURN):
            try:
                message = self._connection.copied()
            except EndOfCopy:
                return count, True
            if message is None:
                return count, False
            data = self._session.receive(message, time.monotonic())
            if data is not None:
                self._destination.write(data.payload)
        return MESSAGES_PER_TURN, False

    def _sync_if_due(self, idle: bool, now: float) -> None:
        """Ask for a sync when one is due; a synchronous batch is first taken in as far as it has arrived."""
        destination, synchronous = self._destination, self._watch.is_synchronous
        if destination.written <= destination.flushed or (synchronous and not idle):
            return
        at_once = synchronous or self._session.sync_wanted or not destination.has_room
        if at_once or now >= self._last_sync + self._flush_interval:
            destination.request_sync(awaited=synchronous)
            self._last_sync = now

    def _report(self, now: float) -> None:
        """Send the status update that is due; ``now`` is when we last listened, before any sync that took long."""
        destination = self._destination
        self._session.advance(destination.written, destination.flushed)
        update = self._session.due(now, time.time())
        if update is not None:
            self._connection.put(update)

    def _sleep(self, moved: bool) -> None:
        """Until the server says something, a sync has ended, or the next moment at which something is due."""
        now = time.monotonic()
        timeout = self._session.deadline(now)
        if moved:
            timeout = min(timeout, SETTLING)  # a listener that publishes only so often is told once more
        if self._destination.written > self._destination.flushed:
            timeout = min(timeout, max(0.0, self._last_sync + self._flush_interval - now))
        if self._destination.has_room:
            self._connection.wait(timeout)
        else:
            self._session.not_listening(now)
            self._control.wakeup.wait(min(timeout, 1.0))

    def _reached_end(self) -> bool:
        ends = (self._control.end_position, self._until)
        return any(end is not None and self._session.written >= end for end in ends)

    def _end(self) -> None:
        """Sync, report what is synced, and leave the stream in order."""
        session, connection = self._session, self._connection
        self._destination.close()
        session.advance(self._destination.written, self._destination.flushed)
        connection.take_leave(GOODBYE)
        try:
            connection.put(session.final(time.monotonic(), time.time()))
            connection.end_copy()
            for _ in connection.messages():
                pass
            while connection.result() is not None:
                pass
        except ServerError as error:
            log.debug("the server left first: %s", error)
        self._standing.enter(ENDED)
        self._listener.note(self._standing)
