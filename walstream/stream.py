"""WAL as an iteration: messages as they arrive, or whole segments; nothing is stored.

For users of the library who want to look at WAL. A generator holds one connection from its first step to its
end (``close`` it, or leave it to its scope) and reports no flushed position, so no slot moves and no commit is
let go because of it. Timelines are followed; a lost connection is raised, not made again. Whoever takes
longer between two steps than the server's ``wal_sender_timeout`` (a minute) is disconnected by the server.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator

from catalog.errors import ProtocolError
from catalog.lsn import LSN, SegmentSize
from catalog.timeline import Path
from catalog.walname import Segment
from walstream import commands
from walstream.connection import COPY_BOTH, ROWS, Connection, EndOfCopy
from walstream.facts import read_end_of_timeline, server_facts
from walstream.messages import WalData
from walstream.session import UNKNOWN, Session, SessionOptions


def stream(
    conninfo: str,
    start: LSN | None = None,
    *,
    end: LSN | None = None,
    slot: str | None = None,
    application_name: str = "walstream",
) -> Generator[WalData, None, None]:
    """Iterate over WAL as the server sends it, from ``start`` (its flushed position if None).

    One message follows the other without a hole, up to ``end`` or for ever. Payloads are views of memory that
    stays valid for as long as they are kept. Raises ``ServerError``; ``ServerRefused`` if the server has no
    WAL from ``start`` any more.
    """
    with _Conversation(conninfo, application_name, slot) as conversation:
        for _, wal in conversation.messages(start, whole_segments=False):
            if end is None or wal.end < end:
                yield wal
                continue
            if wal.start < end:
                yield wal._replace(payload=wal.payload[: end - wal.start])
            return


def segments(
    conninfo: str,
    start: LSN | None = None,
    *,
    end: LSN | None = None,
    slot: str | None = None,
    application_name: str = "walstream",
) -> Iterator[tuple[str, bytes]]:
    """Iterate over complete segments, name and bytes, from the one that holds ``start``.

    ``start`` None is the server's flushed position; with ``end`` the last one is the last that ends at or
    before it. Holds one segment and a copy of it in memory.
    """
    with _Conversation(conninfo, application_name, slot) as conversation:
        held = bytearray()
        for timeline, wal in conversation.messages(start, whole_segments=True):
            size, position, data = conversation.size, wal.start, wal.payload
            while data:
                if size.offset(position) == 0:
                    held.clear()  # there is something only where a timeline ended inside a segment
                    if end is not None and position + size.nbytes > end:
                        return
                piece = data[: size.nbytes - len(held)]
                held += piece
                position += len(piece)
                data = data[len(piece) :]
                if len(held) == size.nbytes:
                    name = Segment(timeline, size.number_before(position)).name(size)
                    yield name, bytes(held)


class _Conversation:
    """One connection, streamed from one timeline to the next; a context manager that closes it."""

    def __init__(self, conninfo: str, application_name: str, slot: str | None) -> None:
        self._connection = Connection.open(conninfo, application_name=application_name)
        self._slot = slot
        self.size: SegmentSize

    def __enter__(self) -> _Conversation:
        return self

    def __exit__(self, *exc: object) -> None:
        self._connection.close()

    def messages(self, start: LSN | None, *, whole_segments: bool) -> Iterator[tuple[int, WalData]]:
        """Every message with its timeline; each timeline from its segment's beginning if ``whole_segments``."""
        connection = self._connection
        facts = server_facts(connection)
        self.size = facts.size
        path = Path.of(facts.history)
        position = start or facts.system.position
        timeline = path.timeline_at(position)
        if whole_segments:
            timeline = path.timeline_of(self.size.number_at(position), self.size)
            position = self.size.floor(position)
        while True:
            connection.send(commands.start_replication(position, timeline, self._slot))
            first = connection.result()
            if first is None or first.kind not in (COPY_BOTH, ROWS):
                raise ProtocolError("the server did not start to stream")
            if first.kind == COPY_BOTH:
                for wal in self._one_timeline(position):
                    yield timeline, wal
            timeline, position = read_end_of_timeline(connection, first.rows[0] if first.rows else None)
            if whole_segments:
                position = self.size.floor(position)

    def _one_timeline(self, start: LSN) -> Iterator[WalData]:
        connection = self._connection
        session = Session(start, SessionOptions(report_flush=False), time.monotonic())
        while True:
            update = session.due(time.monotonic(), time.time())
            if update is not None:
                connection.put(update)
            try:
                message = connection.copied()
            except EndOfCopy:
                return
            if message is None:
                connection.wait(session.deadline(time.monotonic()))
                continue
            wal = session.receive(message, time.monotonic())
            if wal is not None:
                yield wal
                session.advance(wal.end, UNKNOWN)
                session.not_listening(time.monotonic())
