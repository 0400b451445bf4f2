"""Rates of a bench: WAL that the server has already, streamed again and again into something that takes it.

No slot is used, and no flushed position is ever reported (``walstream.stream``), so nothing on the server
waits for this or is let go by it.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from catalog.codec import Codec
from catalog.errors import ServerRefused, StorageError, StreamRefused
from catalog.frames import Workers, encoder
from catalog.lsn import LSN, SegmentSize
from catalog.sink import BytesLike, Sink
from walstream.ops.bench_measures import Rate
from walstream.spool import Spool, SpoolOptions
from walstream.stream import stream

APPLICATION_NAME = "walstream_bench"
_LOOK = 0.2  # seconds between two looks at the spool while it has no room


@dataclass(frozen=True, slots=True)
class Source:
    """WAL of one timeline that a server has: whole segments from ``start`` to ``end``."""

    conninfo: str
    system_identifier: int
    timeline: int
    size: SegmentSize
    start: LSN
    end: LSN

    @property
    def nbytes(self) -> int:
        """How much it is."""
        return self.end - self.start


class Nowhere:
    """A sink that forgets."""

    def write(self, data: BytesLike) -> None:
        pass

    def finish(self) -> None:
        pass

    def abort(self) -> None:
        pass


class SpoolSink:
    """A spool as the receiver's, in a directory of its own; a segment is removed as soon as it is complete."""

    def __init__(self, source: Source, directory: str, flush_interval: float, unsynced_limit: int) -> None:
        self._directory = directory
        self._flush_interval = flush_interval
        self._flushed = threading.Event()
        options = SpoolOptions(directory, source.size, source.system_identifier, unsynced_limit)
        self._spool = Spool(options, source.timeline, source.start, self._remove, self._flushed.set)
        self._next_sync = time.monotonic() + flush_interval

    def write(self, data: BytesLike) -> None:
        self._spool.write(memoryview(data))
        now = time.monotonic()
        if now >= self._next_sync:
            self._next_sync = now + self._flush_interval
            self._spool.request_sync()
        while not self._spool.has_room:
            self._spool.request_sync()
            self._flushed.wait(_LOOK)
            self._flushed.clear()

    def finish(self) -> None:
        """Sync all of it."""
        try:
            self._spool.close()
        finally:
            self._clear()

    def abort(self) -> None:
        with contextlib.suppress(StorageError, StreamRefused):
            self._spool.close()
        self._clear()

    def _remove(self, name: str) -> None:
        os.unlink(os.path.join(self._directory, name))

    def _clear(self) -> None:
        for name in os.listdir(self._directory):
            os.unlink(os.path.join(self._directory, name))


def rate_to_nowhere(source: Source, seconds: float) -> Rate:
    """How fast the server sends."""
    return _rate(source, Nowhere, seconds)


def rate_to_disk(
    source: Source, seconds: float, directory: str, flush_interval: float, unsynced_limit: int
) -> Rate:
    """How fast WAL is written and synced as the receiver does; ``directory`` is empty, and is so again."""
    return _rate(source, lambda: SpoolSink(source, directory, flush_interval, unsynced_limit), seconds)


def rate_through(codec: Codec, source: Source, seconds: float) -> Rate:
    """How fast WAL is compressed and encrypted while it arrives; the result goes nowhere."""
    with Workers() as workers:
        return _rate(source, lambda: encoder(codec, Nowhere(), workers), seconds)


def _rate(source: Source, new_sink: Callable[[], Sink], seconds: float) -> Rate:
    """Stream all of it into one sink after the other until the time is up."""
    until = time.monotonic() + seconds
    rounds = [_round(source, new_sink(), until)]
    while time.monotonic() < until:
        rounds.append(_round(source, new_sink(), until))
    cpu = sum(each.cpu or 0.0 for each in rounds)
    return Rate(sum(each.nbytes for each in rounds), sum(each.seconds for each in rounds), cpu)


def _round(source: Source, sink: Sink, until: float) -> Rate:
    try:
        return _streamed(source, sink, until)
    except BaseException:
        sink.abort()
        raise


def _streamed(source: Source, sink: Sink, until: float) -> Rate:
    with contextlib.closing(
        stream(source.conninfo, source.start, end=source.end, application_name=APPLICATION_NAME)
    ) as messages:
        # Connecting is not what is measured.
        wal = next(messages, None)
        began, cpu, nbytes = time.monotonic(), time.process_time(), 0
        while wal is not None:
            sink.write(wal.payload)
            nbytes += len(wal.payload)
            wal = next(messages, None) if time.monotonic() < until else None
        sink.finish()
        took = Rate(nbytes, time.monotonic() - began, time.process_time() - cpu)
    if not nbytes:
        raise ServerRefused("the server sent no WAL", "see its log; then measure again")
    return took
