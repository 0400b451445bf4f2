"""The spool: received bytes at positions in, synced and completed segments out.

Three threads share the work. The receiver's own thread calls ``write``; a syncing thread makes bytes
durable, moves ``flushed`` forward, and completes segments; a third keeps one blank file ready
(``Blanks``). A sync that commits wait for is made by the receiver's thread itself, because handing it
over takes as long as a fast disk does; but not when the last sync was slow, so that the receiver goes on
receiving and answering while a slow disk works. ``flushed`` is only ever set behind a successful fsync
of everything before it, directory entries included. A failed sync is final for this spool: it is raised
from that call or the next one, nothing is synced or reported any more, and the stream has to begin again,
which writes the bytes anew.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from catalog.local_storage import failed
from catalog.lsn import LSN, SegmentSize
from catalog.walname import Segment
from catalog.walpage import PageChecker
from walstream.blanks import Blanks
from walstream.segment import PartialSegment

_NOTHING = memoryview(b"")
SLOW_SYNC = 0.02
"""Seconds. Behind a sync that took longer, the next one is the syncing thread's."""


@dataclass(frozen=True, slots=True)
class SpoolOptions:
    """Where and how; ``unsynced_limit`` in bytes, ``synchronous`` when commits will wait for us."""

    directory: str
    size: SegmentSize
    system_identifier: int
    unsynced_limit: int = 64 << 20
    synchronous: bool = False


class Spool:
    """Writes one timeline's stream from ``start`` into ``options.directory``.

    ``on_complete`` is called from the syncing thread with the name of each completed segment, and
    ``on_flush`` whenever that thread has moved ``flushed`` or an error waits.
    """

    def __init__(
        self,
        options: SpoolOptions,
        timeline: int,
        start: LSN,
        on_complete: Callable[[str], None],
        on_flush: Callable[[], None],
    ) -> None:
        self._options = options
        self._timeline = timeline
        self._on_complete = on_complete
        self._on_flush = on_flush
        self._checker = PageChecker(options.size, options.system_identifier, timeline, start)
        self._current: PartialSegment | None = None
        self._full: list[PartialSegment] = []
        self._written = start
        self._flushed = start
        self._error: BaseException | None = None
        self._sync_requested = False
        self._syncing = False
        self._last_sync_took = 0.0
        self._closing = False
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._blanks = Blanks(options.directory, options.size, options.synchronous)
        self._syncer = threading.Thread(target=self._sync_loop, name="walstream-sync", daemon=True)
        self._syncer.start()

    @property
    def written(self) -> LSN:
        """Everything before this position was handed to the files."""
        return self._written

    @property
    def flushed(self) -> LSN:
        """Everything before this position survives a power loss."""
        return self._flushed

    @property
    def has_room(self) -> bool:
        """Whether more may be written before the next sync has ended."""
        return self._written - self._flushed < self._options.unsynced_limit

    def write(self, data: memoryview) -> None:
        """Take in the bytes at ``written``; they are checked, written, and not yet synced."""
        if self._error is not None:
            raise self._error
        self._checker.feed(data)
        size = self._options.size.nbytes
        while data:
            offset = self._written.value % size
            room = size - offset
            piece, data = (data, _NOTHING) if len(data) <= room else (data[:room], data[room:])
            try:
                (self._current or self._open_segment()).write(offset, piece)
            except OSError as error:
                raise failed("write", self._options.directory, error) from error
            if len(piece) == room:
                self._hand_over(self._written + len(piece))
            else:
                self._written += len(piece)

    def request_sync(self, *, awaited: bool = False) -> None:
        """Ask for everything written so far to be synced.

        Returns at once, or with the sync done when it is ``awaited`` (by commits) and likely to be quick.
        Raises what went wrong in the other threads: on an idle server no ``write`` would.
        """
        self.raise_error()
        if awaited:
            self._blanks.zero_fill = True
            if self._sync_here():
                return
        with self._changed:
            self._sync_requested = True
            self._changed.notify_all()

    def raise_error(self) -> None:
        """Raise what went wrong in the other threads, if anything did."""
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Sync everything, end the threads, close the files; raises when the sync failed."""
        with self._changed:
            self._closing = True
            self._sync_requested = True
            self._changed.notify_all()
        self._syncer.join()
        self._blanks.close()
        for segment in [*self._full, *([self._current] if self._current else [])]:
            segment.close()
        self.raise_error()

    def _hand_over(self, written: LSN) -> None:
        """Leave the segment that is complete with this position to the syncing thread."""
        with self._changed:
            self._written = written
            if self._current is not None:
                self._full.append(self._current)
                self._current = None
            self._changed.notify_all()

    def _sync_here(self) -> bool:
        """Sync, unless the syncing thread is at work (only this one gives it any) or the disk is slow."""
        with self._lock:
            busy = self._syncing or self._sync_requested or self._full
        if busy or self._current is None or self._last_sync_took >= SLOW_SYNC:
            return False
        try:
            self._sync(self._current, self._written)
        except OSError as error:
            self._fail(failed("sync", self._options.directory, error))
        except BaseException as error:
            self._fail(error)
        self.raise_error()
        return True

    def _sync(self, segment: PartialSegment, written: LSN) -> None:
        """Sync the last segment begun, up to a position behind ``flushed``; only ever one thread is here."""
        began = time.monotonic()
        segment.sync()
        self._last_sync_took = time.monotonic() - began
        self._flushed = written

    def _open_segment(self) -> PartialSegment:
        options = self._options
        segment = Segment.at(self._timeline, self._written, options.size)
        path = os.path.join(options.directory, f"{segment.name(options.size)}.partial")
        blank = None if os.path.exists(path) else self._blanks.take()
        opened = PartialSegment(options.directory, segment, options.size, blank)
        with self._changed:
            self._current = opened
        return opened

    def _sync_loop(self) -> None:
        try:
            while self._sync_once():
                pass
        except OSError as error:
            self._fail(failed("sync", self._options.directory, error))
        except BaseException as error:
            self._fail(error)

    def _sync_once(self) -> bool:
        with self._changed:
            while not (self._sync_requested or self._full or self._closing):
                self._syncing = False
                self._changed.wait()
            if self._error is not None:
                return False  # a sync failed in the receiver's thread: it must not be tried again
            self._syncing = True
            self._sync_requested = False
            closing = self._closing
            full = list(self._full)
            current, written = self._current, self._written
        for segment in full:
            segment.sync()
            segment.complete()
            self._flushed = max(self._flushed, segment.segment.end(self._options.size))
            with self._changed:
                self._full.remove(segment)
            self._on_complete(segment.name)
            self._on_flush()
        if current is not None and written > self._flushed:
            self._sync(current, written)
            self._on_flush()
        return not closing

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            self._error = error
        self._on_flush()
