"""The receiver's loop: connection, session and destination joined; reconnects; timeline switches.

It decides nothing that can be decided without I/O: what to answer is the session's, where to begin the
target's, what is durable the destination's. A target is where WAL goes: the repository
(``walstream.intake``), or sinks of a library's user.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from catalog.errors import (
    Conflict,
    Malformed,
    ProtocolError,
    ServerError,
    ServerRefused,
    StorageError,
    StreamRefused,
)
from catalog.lsn import LSN, SegmentSize
from catalog.timeline import Path
from walstream import commands
from walstream.connection import COPY_BOTH, ROWS, Connection, EndOfCopy, parsed_conninfo
from walstream.facts import (
    ServerFacts,
    history_content,
    is_synchronous,
    read_end_of_timeline,
    server_facts,
)
from walstream.gap import GapGuard, is_removed_segment, oldest_available
from walstream.resume import Start
from walstream.session import Session, SessionOptions
from walstream.slots import create_slot, ensure_slot, find_slot
from walstream.synchronous import SynchronousWatch
from walstream.wakeup import Wakeup

log = logging.getLogger("walstream.receiver")

MESSAGES_PER_TURN = 64
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
COMMAND_PATIENCE = 60.0
SETTLING = 0.05


class Destination(Protocol):
    """Where one timeline's stream goes; ``walstream.spool.Spool`` says what the words mean."""

    @property
    def written(self) -> LSN: ...
    @property
    def flushed(self) -> LSN: ...
    @property
    def has_room(self) -> bool: ...
    def write(self, data: memoryview) -> None: ...
    def request_sync(self) -> None: ...
    def close(self) -> None: ...


class Connect(Protocol):
    """How a server is reached: ``Connection.open``."""

    def __call__(
        self,
        conninfo: str,
        /,
        *,
        application_name: str,
        replication: bool = True,
        wakeup: int | None = None,
        patience: float | None = None,
    ) -> Connection: ...


class Target(Protocol):
    """What a receiver fills.

    ``durable``: a flushed position of its destinations may be reported, because it is a fact about
    synced bytes; ``whole_segments``: it can only be one at the end of a segment. ``begin`` is asked at every
    connection.
    """

    durable: bool
    whole_segments: bool

    def begin(self, facts: ServerFacts, slot_position: LSN | None) -> Start: ...
    def keep_history(self, timeline: int, content: bytes) -> None: ...
    def open(self, start: Start, synchronous: bool, on_flush: Callable[[], None]) -> Destination: ...
    def end_of_timeline(self, timeline: int, switch: LSN) -> None: ...
    def note_progress(self, timeline: int, session: Session) -> None: ...
    def accept_gap(self, path: Path, start: LSN, end: LSN) -> None: ...
    def has_open_gap(self) -> bool: ...
    def raise_error(self) -> None: ...


@dataclass(frozen=True, slots=True)
class ReceiveOptions:
    """How to receive; times in seconds.

    ``synchronous`` None asks the server whether its ``synchronous_standby_names`` names us.
    Without ``slot``, ``temporary_slot`` keeps the server from removing WAL for as long as a connection lasts.
    ``end_position``: stop once everything before it is flushed. Without ``reconnect`` the first lost
    connection is raised; with it only a failure before the first byte of WAL is, and a new connection is
    tried after ``first_pause``, then after longer and longer ones.
    """

    conninfo: str
    application_name: str = "walstream_receive_wal"
    slot: str | None = None
    create_slot: bool = True
    temporary_slot: bool = False
    synchronous: bool | None = None
    flush_interval: float = 1.0
    status_interval: float = 10.0
    report_applied: bool = False
    end_position: LSN | None = None
    reconnect: bool = True
    first_pause: float = FIRST_PAUSE


class Receiver:
    """Receives WAL into a target until it is stopped; ``run`` in one thread, ``stop`` from anywhere."""

    def __init__(self, options: ReceiveOptions, target: Target, connect: Connect = Connection.open) -> None:
        self._options = options
        self._target = target
        self._connect = connect
        self._wakeup = Wakeup()
        self._stopping = False
        self._streamed = False
        self._streaming = threading.Event()
        self._end_position = options.end_position
        self._slot: str | None = None

    def stop(self) -> None:
        """Ask ``run`` to sync what it has and return; safe in a signal handler."""
        self._stopping = True
        self._wakeup.set()

    def stop_at(self, position: LSN) -> None:
        """Ask ``run`` to return once everything before ``position`` is flushed."""
        self._end_position = position
        self._wakeup.set()

    def wait_until_streaming(self, timeout: float) -> bool:
        """Wait until the first stream has begun, and the target knows of it; whether it has."""
        return self._streaming.wait(timeout)

    def run(self) -> None:
        """Receive until stopped, or until the end position is flushed.

        Raises what cannot be mended by trying again (``StreamRefused``, ``WrongServer``, ``Conflict``, what
        ended the target), any failure before the first stream has begun, and after ``stop`` that what was
        received could not be made durable.
        """
        pause = self._options.first_pause
        while not self._stopping:
            began = time.monotonic()
            try:
                if self._connect_and_stream():
                    return
            except (Conflict, StreamRefused):
                raise
            except (ServerError, StorageError, Malformed) as error:
                self._target.raise_error()
                lost = isinstance(error, StorageError) and self._stopping
                # A server that accepts a stream may refuse it behind that.
                refused = isinstance(error, ServerRefused) and not self._streaming.is_set()
                if lost or refused or not (self._streamed and self._options.reconnect):
                    raise
                if time.monotonic() - began > LONGEST_PAUSE:
                    pause = self._options.first_pause
                log.warning("%s; trying again in %.1f s", error, pause)
                self._sleep(pause * random.uniform(0.8, 1.2))
                pause = min(pause * 2, LONGEST_PAUSE)

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopping and (left := until - time.monotonic()) > 0:
            self._wakeup.clear()
            if self._stopping:
                return
            self._wakeup.wait(left)

    def _connect_and_stream(self) -> bool:
        options = self._options
        with self._connect(
            options.conninfo,
            application_name=options.application_name,
            wakeup=self._wakeup.fileno(),
            patience=COMMAND_PATIENCE,
        ) as connection:
            facts = server_facts(connection)
            self._slot, slot_position = self._take_slot(connection)
            start: Start | None = self._target.begin(facts, slot_position)
            with self._watch(connection) as watch:
                while start is not None:
                    try:
                        start = self._stream_timeline(connection, start, watch, facts.size)
                    except _SegmentRemoved as removed:
                        start = self._behind_gap(connection, facts, removed)
                        if options.slot is None:
                            self._slot, _ = self._take_slot(connection)  # an error drops a temporary slot
        return True

    def _watch(self, connection: Connection) -> SynchronousWatch:
        name = self._options.application_name
        return SynchronousWatch(
            self._options.synchronous,
            is_synchronous(connection, name),
            self._open_short,
            name,
            self._wakeup.set,
        )

    def _take_slot(self, connection: Connection) -> tuple[str | None, LSN | None]:
        options = self._options
        if options.slot is not None:
            position = ensure_slot(
                connection, options.slot, create=options.create_slot, open_sql=self._open_sql
            )
            return options.slot, position
        if not options.temporary_slot:
            return None, None
        name = f"walstream_{connection.backend_pid}"
        create_slot(connection, name, temporary=True)
        return name, find_slot(connection, name, self._open_sql).restart

    def _open_short(self) -> Connection:
        return self._connect(self._options.conninfo, application_name="walstream", patience=COMMAND_PATIENCE)

    def _open_sql(self) -> Connection:
        return self._connect(
            self._options.conninfo, application_name=self._options.application_name, replication=False
        )

    def _stream_timeline(
        self, connection: Connection, start: Start, watch: SynchronousWatch, size: SegmentSize
    ) -> Start | None:
        """Stream one timeline to its end; where to go on, or None when it was we who ended it."""
        self._target.keep_history(start.timeline, history_content(connection, start.timeline))
        destination = self._target.open(start, watch.is_synchronous, self._wakeup.set)
        try:
            connection.send(commands.start_replication(start.position, start.timeline, self._slot))
            first = connection.result()
            if first is None or first.kind not in (COPY_BOTH, ROWS):
                raise ProtocolError("the server did not start to stream")
            log.info("streaming timeline %d from %s", start.timeline, start.position)
            self._streamed = True
            if first.kind == COPY_BOTH and self._stream(connection, start, destination, watch):
                return None
            row = first.rows[0] if first.kind == ROWS else None
            timeline, switch = read_end_of_timeline(connection, row)
            if timeline <= start.timeline or switch > destination.written:
                raise ProtocolError(
                    f"the server ended timeline {start.timeline} with timeline {timeline} at {switch}, "
                    f"but sent WAL up to {destination.written}"
                )
        except ServerRefused as refusal:
            if is_removed_segment(refusal) and destination.written == start.position:
                raise _SegmentRemoved(start) from refusal
            raise
        finally:
            destination.close()
        log.info("timeline %d ends at %s; following timeline %d", start.timeline, switch, timeline)
        self._target.end_of_timeline(start.timeline, switch)
        return Start(timeline, size.floor(switch))

    def _stream(
        self, connection: Connection, start: Start, destination: Destination, watch: SynchronousWatch
    ) -> bool:
        """Receive until the server ends the copy (False), or we do (True)."""
        options = self._options
        session = Session(
            start.position,
            SessionOptions(
                status_interval=options.status_interval,
                report_flush=self._target.durable,
                whole_segments=self._target.whole_segments,
                report_applied=options.report_applied,
            ),
            time.monotonic(),
        )
        guard = GapGuard(self._target.has_open_gap, session)
        last_sync = time.monotonic()
        noted = destination.flushed
        ended = False
        while not ended:
            self._wakeup.clear()
            self._target.raise_error()
            session.advance(destination.written, destination.flushed)
            moved, noted = session.flushed != noted, session.flushed
            self._target.note_progress(start.timeline, session)
            synchronous = watch.is_synchronous
            guard.look(time.monotonic(), watch.names_us)
            if self._stopping or self._reached_end(session):
                self._end(connection, session, destination)
                self._target.note_progress(start.timeline, session)
                return True
            update = session.due(time.monotonic(), time.time())
            if update is not None:
                connection.put(update)
            count = 0
            if destination.has_room:
                count, ended = self._receive_some(connection, session, destination)
            now = time.monotonic()
            at_once = synchronous or session.sync_wanted or not destination.has_room
            interval = 0.0 if at_once else options.flush_interval
            behind = destination.written > destination.flushed
            idle = count < MESSAGES_PER_TURN
            if behind and (now - last_sync >= interval) and (idle or not synchronous):
                destination.request_sync()
                last_sync = now
            if count:
                self._streaming.set()
            if ended or (count and not idle):
                continue
            timeout = session.deadline(now)
            if moved:
                # a target that publishes only so often is told once more
                timeout = min(timeout, SETTLING)
            if behind:
                timeout = min(timeout, max(0.0, last_sync + options.flush_interval - now))
            if not destination.has_room:
                session.not_listening(now)
                self._wakeup.wait(min(timeout, 1.0))
            else:
                connection.wait(timeout)
        return False

    def _receive_some(
        self, connection: Connection, session: Session, destination: Destination
    ) -> tuple[int, bool]:
        """Take in what has arrived, up to a bound; how many messages, and whether the copy ended."""
        for count in range(MESSAGES_PER_TURN):
            try:
                message = connection.copied()
            except EndOfCopy:
                return count, True
            if message is None:
                return count, False
            data = session.receive(message, time.monotonic())
            if data is not None:
                destination.write(data.payload)
        return MESSAGES_PER_TURN, False

    def _reached_end(self, session: Session) -> bool:
        return self._end_position is not None and session.written >= self._end_position

    def _end(self, connection: Connection, session: Session, destination: Destination) -> None:
        """Sync, report what is synced, and leave the stream in order."""
        destination.close()
        session.advance(destination.written, destination.flushed)
        try:
            connection.put(session.final(time.monotonic(), time.time()))
            connection.end_copy()
            for _ in connection.messages():
                pass
            while connection.result() is not None:
                pass
        except ServerError as error:
            log.debug("the server left first: %s", error)

    def _behind_gap(self, connection: Connection, facts: ServerFacts, removed: _SegmentRemoved) -> Start:
        """Accept that WAL is gone for good, and go on at the oldest segment that the server still has."""
        missing = removed.start
        if "," in str(parsed_conninfo(self._options.conninfo).get("host", "")):
            raise StreamRefused(
                f"WAL from {missing.position} on timeline {missing.timeline} is needed next, but this server has "
                "removed it already, and the connection string names others that may have it",
                "name one host after the other; if none has it, the gap is accepted with the last one alone",
            )
        path = Path.of(facts.history)
        oldest = oldest_available(connection, path, missing.position, facts.size, facts.system.position)
        self._target.accept_gap(path, missing.position, oldest)
        log.error(
            "WAL from %s to %s is gone from the server and is not stored: a gap. Take a new backup now",
            missing.position,
            oldest,
        )
        return self._target.begin(facts, None)


class _SegmentRemoved(Exception):
    """The server no longer has the segment with which a stream was to begin."""

    def __init__(self, start: Start) -> None:
        super().__init__(str(start))
        self.start = start
