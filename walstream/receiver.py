"""The receiver: connects, begins where the target says, follows timelines, and tries again when it breaks.

What to answer is the session's to decide, where to begin the target's, what is durable the destination's;
one stream's messages are ``walstream.streaming``'s. A target is where WAL goes: the repository
(``walstream.intake``), or sinks of a library's user.
"""

from __future__ import annotations

import logging
import random
import time

from catalog.errors import (
    Conflict,
    Malformed,
    ProtocolError,
    ServerError,
    ServerRefused,
    SpoolFull,
    StorageError,
    StreamRefused,
    WalstreamError,
)
from catalog.lsn import LSN
from catalog.timeline import Path
from walstream.connection import COPY_BOTH, ROWS, Connection, Result
from walstream.continuity import keep_ancestry, keep_history, require_continuation
from walstream.control import Control
from walstream.elsewhere import Elsewhere
from walstream.facts import (
    ServerFacts,
    is_synchronous,
    read_end_of_timeline,
    server_facts,
)
from walstream.gap import SegmentRemoved, is_removed_segment, oldest_available
from walstream.receiving import COMMAND_PATIENCE, Connect, ReceiveOptions, Target
from walstream.resume import Start
from walstream.session import Session, SessionOptions
from walstream.slots import (
    NOT_IN_PREREQUISITE_STATE,
    OBJECT_IN_USE,
    create_slot,
    ensure_slot,
    find_slot,
    renew_slot,
)
from walstream.standing import CONNECTING, ENDED, STREAMING, WAITING, Standing
from walstream.streaming import Destination, Streaming, Surroundings, begin_stream
from walstream.synchronous import SynchronousWatch
from walstream.telling import Telling

log = logging.getLogger("walstream.receiver")

LONGEST_PAUSE = 5.0  # commits may wait for us when the server is back
SLOT_PATIENCE = 90.0
ROOM_CHECK_INTERVAL = 1.0


class Receiver:
    """Receives WAL into a target until it is stopped; ``run`` in one thread, ``stop`` from anywhere."""

    def __init__(self, options: ReceiveOptions, target: Target, connect: Connect = Connection.open) -> None:
        self._options = options
        self._target = target
        self._connect = connect
        self._control = Control(options.end_position)
        self._standing = Standing(options.slot)
        self._telling = Telling()
        self._streamed = False
        self._began = time.monotonic()

    def stop(self) -> None:
        """Ask ``run`` to sync what it has and return; safe in a signal handler."""
        self._control.stop()

    def stop_at(self, position: LSN) -> None:
        """Ask ``run`` to return once everything before ``position`` is flushed."""
        self._control.stop_at(position)

    @property
    def has_streamed(self) -> bool:
        """Whether the first stream has begun, and the target knows of it."""
        return self._control.streaming

    def run(self) -> None:
        """Receive until stopped, or until the end position is flushed.

        Raises what cannot be mended by trying again (``StreamRefused``, ``WrongServer``, ``Conflict``, what
        ended the target), any failure before the first stream has begun unless ``patient``, and after ``stop``
        that what was received could not be made durable. What it raises is published before.
        """
        try:
            self._run()
        except WalstreamError as error:
            self._standing.enter(ENDED, error.message)
            self._target.note(self._standing)
            raise

    def _run(self) -> None:
        pause = self._options.first_pause
        while self._wait_for_room():
            self._standing.enter(CONNECTING, self._standing.trouble)
            before = self._standing.session
            try:
                if self._connect_and_stream():
                    return
            except (Conflict, StreamRefused):
                raise
            except SpoolFull:
                continue
            except (ServerError, StorageError, Malformed) as error:
                self._target.raise_error()
                if self._control.stopping:
                    if isinstance(error, ServerError):
                        return
                    raise
                if not self._may_try_again(error):
                    raise
                session = self._standing.session
                brought_wal = (
                    session is not None and session is not before and session.received > session.start
                )
                if brought_wal and not isinstance(error, StorageError):
                    pause = self._options.first_pause
                self._telling.broke(error, pause)
                self._standing.enter(WAITING, error.message)
                self._target.note(self._standing)
                self._control.sleep(pause * random.uniform(0.8, 1.2))
                pause = min(pause * 2, LONGEST_PAUSE)

    def _wait_for_room(self) -> bool:
        """Wait until there is room for more WAL; False when stopped."""
        said = False
        while not self._control.stopping:
            try:
                self._target.require_room()
            except SpoolFull as full:
                if not said:
                    self._standing.enter(WAITING, full.message)
                said = True
                self._telling.pauses(full)
                self._target.raise_error()
                self._target.note(self._standing)
                self._control.sleep(ROOM_CHECK_INTERVAL)
                continue
            return True
        return False

    def _may_try_again(self, error: WalstreamError) -> bool:
        if self._options.patient:
            return True
        if isinstance(error, ServerRefused) and not self._control.streaming:
            # A slot may still be held for a connection of ours that the server has not yet given up.
            busy = error.sqlstate == OBJECT_IN_USE
            return busy and time.monotonic() - self._began < SLOT_PATIENCE
        return self._streamed and self._options.reconnect

    def _connect_and_stream(self) -> bool:
        options, control, standing = self._options, self._control, self._standing
        with self._connect(
            options.conninfo,
            application_name=options.application_name,
            wakeup=control.wakeup.fileno(),
            patience=COMMAND_PATIENCE,
            unless=self._is_given_up,
        ) as connection:
            facts = server_facts(connection)
            self._target.require(facts)
            standing.host = connection.host
            # Before the slot: an error, as for a history that is not there, drops a temporary one.
            keep_ancestry(connection, self._target, facts.history)
            slot, slot_position = self._take_slot(connection)
            begin = self._target.begin(facts, slot_position)
            if not require_continuation(connection, self._target, begin) and options.slot is None:
                slot, _ = self._take_slot(connection)  # an error drops a temporary one
            start: Start | None = begin
            with self._watch(connection) as watch:
                while start is not None:
                    try:
                        start = self._stream_timeline(connection, start, slot, watch, facts)
                    except SegmentRemoved as removed:
                        start, slot = self._behind_gap(connection, facts, removed.start, slot)
        return True

    def _watch(self, connection: Connection) -> SynchronousWatch:
        name = self._options.application_name
        return SynchronousWatch(
            self._options.synchronous,
            is_synchronous(connection, name),
            lambda: self._open_beside(connection, replication=True),
            name,
            self._control.wakeup.set,
        )

    def _take_slot(self, connection: Connection) -> tuple[str | None, LSN | None]:
        options = self._options

        def open_sql() -> Connection:
            return self._open_beside(connection, replication=False)

        if options.slot is not None:
            position = ensure_slot(connection, options.slot, create=options.create_slot, open_sql=open_sql)
            return options.slot, position
        if not options.temporary_slot:
            return None, None
        name = f"walstream_{connection.backend_pid}"
        create_slot(connection, name, temporary=True)
        return name, find_slot(connection, name, open_sql).restart

    def _open_beside(self, connection: Connection, *, replication: bool) -> Connection:
        """Another connection to the same server, for a short question."""
        return self._connect(
            connection.conninfo,
            application_name="walstream",
            replication=replication,
            patience=COMMAND_PATIENCE,
            unless=lambda: self._control.stopping,
        )

    def _is_given_up(self) -> bool:
        """Asked all the time while something is waited for: meanwhile the state is published."""
        self._target.note(self._standing)
        return self._control.stopping

    def _stream_timeline(
        self,
        connection: Connection,
        start: Start,
        slot: str | None,
        watch: SynchronousWatch,
        facts: ServerFacts,
    ) -> Start | None:
        """Stream one timeline to its end; where to go on, or None when it was we who ended it."""
        if start.timeline > facts.system.timeline:  # the server was promoted since it was asked
            keep_history(connection, self._target, start.timeline)
        destination = self._target.open(start, watch.is_synchronous, self._control.wakeup.set)
        try:
            first = self._begin_stream(connection, start, slot)
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
                raise SegmentRemoved(start) from refusal
            raise
        finally:
            destination.close()
        about = {"timeline": timeline, "position": switch}
        log.info(
            "timeline %d ends at %s; following timeline %d", start.timeline, switch, timeline, extra=about
        )
        self._target.end_of_timeline(start.timeline, switch)
        return Start(timeline, facts.size.floor(switch))

    def _begin_stream(self, connection: Connection, start: Start, slot: str | None) -> Result:
        try:
            return begin_stream(connection, start, slot)
        except ServerRefused as refusal:
            if slot is None or slot != self._options.slot or refusal.sqlstate != NOT_IN_PREREQUISITE_STATE:
                raise
            renew_slot(connection, slot, create=self._options.create_slot)
        return begin_stream(connection, start, slot)

    def _stream(
        self, connection: Connection, start: Start, destination: Destination, watch: SynchronousWatch
    ) -> bool:
        """Receive until the server ends the copy (False), or we do (True)."""
        options, standing = self._options, self._standing
        session = Session(
            start.position,
            SessionOptions(
                status_interval=options.status_interval,
                timeout=options.timeout,
                report_flush=self._target.durable,
                whole_segments=self._target.whole_segments,
                report_applied=options.report_applied,
            ),
            time.monotonic(),
        )
        standing.enter(STREAMING)
        standing.timeline, standing.session = start.timeline, session
        listener = self._telling.stream(start, self._target)
        surroundings = Surroundings(self._control, listener, standing, options.flush_interval)
        return Streaming(connection, session, destination, watch, surroundings).run()

    def _behind_gap(
        self, connection: Connection, facts: ServerFacts, missing: Start, slot: str | None
    ) -> tuple[Start, str | None]:
        """Have another host fill the hole; else accept that it is there for good, and go on behind it."""
        path, size = Path.of(facts.history), facts.size
        oldest = oldest_available(connection, path, missing.position, size, facts.system.position)
        if self._options.slot is None:
            slot, _ = self._take_slot(connection)  # an error, as of asking in vain, drops a temporary slot
        elsewhere = Elsewhere(self._options, self._target, self._control, self._connect)
        if not elsewhere.fill(connection.conninfo, missing, oldest):
            self._target.raise_error()
            self._target.accept_gap(path, missing.position, oldest, self._is_given_up)
        return self._target.begin(facts, None), slot
