"""A sink in front of another one, which then works on a thread of its own.

So the writing thread goes on listening to a server, or decompressing, while what it wrote is hashed and
stored. Small pieces are gathered in one of a few buffers; ``bytes``, which cannot change, are passed on as
they are when they are large. ``write`` waits when as many are on their way: memory is bounded. What
fails behind is raised by a later ``write``, or by ``finish``.
"""

from __future__ import annotations

import threading
from queue import SimpleQueue

from catalog.sink import BytesLike, Sink

BUFFER_SIZE = 1 << 20
BUFFERS = 4


class Relay:
    """Passes on what is written to ``sink``; the pieces are good only until its ``write`` returns."""

    def __init__(self, sink: Sink, size: int = BUFFER_SIZE, count: int = BUFFERS) -> None:
        self._sink = sink
        self._size = size
        self._free: SimpleQueue[memoryview] = SimpleQueue()
        self._full: SimpleQueue[tuple[memoryview, memoryview] | None] = SimpleQueue()
        for _ in range(count):
            self._free.put(memoryview(bytearray(size)))
        self._buffer = self._free.get()
        self._filled = 0
        self._error: BaseException | None = None
        self._aborted = False
        self._thread: threading.Thread | None = threading.Thread(
            target=self._pass_on, name="relay", daemon=True
        )
        self._thread.start()

    def write(self, data: BytesLike) -> None:
        rest = memoryview(data).cast("B")
        if isinstance(data, bytes) and len(data) * 2 >= self._size:
            self._submit_buffer()
            self._submit(rest)
            return
        while rest:
            count = min(len(rest), self._size - self._filled)
            self._buffer[self._filled : self._filled + count] = rest[:count]
            self._filled += count
            rest = rest[count:]
            if self._filled == self._size:
                self._submit_buffer()

    def finish(self) -> None:
        """Wait until all is passed on, and finish the sink, on the calling thread."""
        self._submit_buffer()
        self._end()
        self._raise_error()
        self._sink.finish()

    def abort(self) -> None:
        self._aborted = True
        self._end()
        self._sink.abort()

    def _submit_buffer(self) -> None:
        if self._filled:
            self._submit(self._buffer[: self._filled])
            self._filled = 0

    def _submit(self, piece: memoryview) -> None:
        # Each piece takes a buffer out of the round, its own or not, so that only so many are on their way.
        self._raise_error()
        self._full.put((self._buffer, piece))
        self._buffer = self._free.get()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _end(self) -> None:
        if self._thread is not None:
            self._full.put(None)
            self._thread.join()
            self._thread = None

    def _pass_on(self) -> None:
        while (job := self._full.get()) is not None:
            buffer, piece = job
            try:
                # After a failure buffers still go round, so that nobody waits for one.
                if self._error is None and not self._aborted:
                    self._sink.write(piece)
            except BaseException as error:
                self._error = error
            del job, piece  # large ones must not live until the next one comes
            self._free.put(buffer)
