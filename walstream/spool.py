"""The spool: received bytes at positions in, synced and completed segments out.

Three threads share the work. The receiver's own thread calls ``write`` and never waits for the disk;
a syncing thread makes bytes durable, moves ``flushed`` forward, and completes segments; a third
keeps one blank file ready, so that opening the next segment is a rename. ``flushed`` is only ever set
behind a successful fsync of everything before it, directory entries included. A failed sync is final
for this spool: it is raised from the next call, nothing more is reported, and the stream has to begin
again, which writes the bytes anew.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass

from catalog import durable
from catalog.errors import StorageError
from catalog.local_storage import failed
from catalog.lsn import LSN, SegmentSize
from catalog.walname import Segment
from catalog.walpage import PageChecker
from walstream.segment import PartialSegment, blank_file


@dataclass(frozen=True, slots=True)
class SpoolOptions:
    """Where and how; ``unsynced_limit`` in bytes."""

    directory: str
    size: SegmentSize
    system_identifier: int
    unsynced_limit: int = 64 << 20
    synchronous: bool = False


class Spool:
    """Writes one timeline's stream from ``start`` into ``options.directory``.

    ``on_complete`` is called from the syncing thread with the name of each completed segment, and
    ``on_flush`` whenever ``flushed`` has moved or an error waits.
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
        self._closing = False
        self._changed = threading.Condition()
        self._blanks = _Blanks(options.directory, options.size, options.synchronous)
        self._syncer = threading.Thread(target=self._sync_loop, name="walstream-sync", daemon=True)
        self._syncer.start()

    @property
    def written(self) -> LSN:
        """Everything before this position was handed to the files."""
        return self._written

    @property
    def flushed(self) -> LSN:
        """Everything before this position survives a power loss."""
        with self._changed:
            return self._flushed

    @property
    def has_room(self) -> bool:
        """Whether more may be written before the next sync has ended."""
        with self._changed:
            return self._written - self._flushed < self._options.unsynced_limit

    def write(self, data: memoryview) -> None:
        """Take in the bytes at ``written``; they are checked, written, and not yet synced."""
        self.raise_error()
        self._checker.feed(data)
        size = self._options.size
        while data:
            offset = size.offset(self._written)
            piece = data[: size.nbytes - offset]
            try:
                self._open_segment().write(offset, piece)
            except OSError as error:
                raise failed("write", self._options.directory, error) from error
            data = data[len(piece) :]
            with self._changed:
                self._written = self._written + len(piece)
                if offset + len(piece) == size.nbytes and self._current is not None:
                    self._full.append(self._current)
                    self._current = None
                    self._changed.notify_all()

    def request_sync(self) -> None:
        """Ask for everything written so far to be synced; returns at once.

        Raises what went wrong in the other threads: on an idle server no ``write`` would.
        """
        self.raise_error()
        with self._changed:
            self._sync_requested = True
            self._changed.notify_all()

    def raise_error(self) -> None:
        """Raise what went wrong in the other threads, if anything did."""
        with self._changed:
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

    def _open_segment(self) -> PartialSegment:
        if self._current is None:
            options = self._options
            segment = Segment.at(self._timeline, self._written, options.size)
            path = os.path.join(options.directory, f"{segment.name(options.size)}.partial")
            blank = None if os.path.exists(path) else self._blanks.take()
            opened = PartialSegment(options.directory, segment, options.size, blank)
            with self._changed:
                self._current = opened
        return self._current

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
                self._changed.wait()
            self._sync_requested = False
            closing = self._closing
            full = list(self._full)
            current, written = self._current, self._written
        for segment in full:
            segment.sync()
            segment.complete()
            with self._changed:
                self._full.remove(segment)
                self._flushed = max(self._flushed, segment.segment.end(self._options.size))
            self._on_complete(segment.name)
            self._on_flush()
        if current is not None and written > self._flushed:
            current.sync()
            with self._changed:
                self._flushed = max(self._flushed, written)
            self._on_flush()
        return not closing

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            self._error = error
        self._on_flush()


class _Blanks:
    """Keeps one blank file ready on a thread of its own."""

    def __init__(self, directory: str, size: SegmentSize, zero_fill: bool) -> None:
        self._directory = directory
        self._size = size
        self._zero_fill = zero_fill
        self._ready: str | None = None
        self._error: BaseException | None = None
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._loop, name="walstream-blank", daemon=True)
        self._thread.start()

    def take(self) -> str:
        """A blank file, waiting for it if need be; it is the caller's to rename."""
        with self._changed:
            while self._ready is None and self._error is None:
                self._changed.wait()
            if self._ready is None:
                raise self._error or StorageError("no blank segment")
            path, self._ready = self._ready, None
            self._changed.notify_all()
        return path

    def close(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        if self._ready is not None:
            durable.remove_if_present(self._ready)

    def _loop(self) -> None:
        while True:
            with self._changed:
                while self._ready is not None and not self._closing:
                    self._changed.wait()
                if self._closing:
                    return
            try:
                path = blank_file(self._directory, self._size, zero_fill=self._zero_fill)
            except BaseException as error:  # whatever it is: the one who waits must hear of it
                what = failed("write", self._directory, error) if isinstance(error, OSError) else error
                with self._changed:
                    self._error = what
                    self._changed.notify_all()
                return
            with self._changed:
                self._ready = path
                self._changed.notify_all()
