"""Compression, and encryption, in front of a sink: what is written is cut into frames that threads compress.

In go raw bytes in pieces of any size, out come complete frames of the codec's standard format, in
order; a file of several frames is a valid file of each of these formats. Pieces are gathered until
a frame is full, because one call of a library per 4 MiB hands the interpreter's lock over once,
where a call per message was measured to take longer than the compression itself.

Memory of one encoder: twice as many frames in flight as there are threads (raw, and compressed
when done) and one being filled. With two threads these are 5 x 4 MiB raw, at worst 4 x 4 MiB
compressed, and what the library needs. ``write`` waits only when that many are in flight. The sink
behind is used by the writing thread alone, so it needs no locks and its errors surface in place.
"""

from __future__ import annotations

import threading
from collections import deque

from catalog.sink import PIECE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from catalog.age.header import Stanza
    from catalog.codec import Codec
    from catalog.sink import BytesLike, Reader, Sink

FRAME_SIZE = 4 * 1024 * 1024
_IDLE = 1.0


class Workers:
    """A fixed number of daemon threads for any number of encoders, and the buffers that these fill.

    Buffers go from one encoder to the next, because memory that is new to the process costs as much as reading a
    segment into it; they are let go when nothing was to do for a second. ``close`` (or leaving the ``with`` block)
    ends the threads once their jobs are done.
    """

    def __init__(self, threads: int = 2) -> None:
        if threads < 1:
            raise ValueError("at least one thread is needed")
        self.threads = threads
        self._waiting: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._spare: deque[memoryview] = deque(maxlen=2 * threads + 1)
        self._threads = [
            threading.Thread(target=self._work, name=f"codec-{number}", daemon=True)
            for number in range(1, threads + 1)
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the threads and wait for them; harmless when called again."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def buffer(self, size: int) -> memoryview:
        """A buffer of that size, with anything in it."""
        try:
            spare = self._spare.pop()
        except IndexError:
            return memoryview(bytearray(size))
        return spare if len(spare) == size else memoryview(bytearray(size))

    def give_back(self, buffer: memoryview) -> None:
        """Let a buffer be filled anew."""
        with self._changed:
            self._spare.append(buffer)
            self._changed.notify()  # whoever waits for work now waits for the moment to let go of it, too

    def submit(self, job: Callable[[], None]) -> None:
        """Have ``job``, which must not raise, called by the next thread that is free."""
        with self._changed:
            if self._closed:
                raise RuntimeError("the codec threads are closed")
            self._waiting.append(job)
            self._changed.notify()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    if self._closed:
                        return
                    if not self._changed.wait(_IDLE if self._spare else None):
                        self._spare.clear()
                job = self._waiting.popleft()
            job()
            del job  # it holds a frame, which must not live until the next one comes


def push(reader: Reader, sink: Sink) -> int:
    """Push all that ``reader`` still has into ``sink``, and return the number of bytes; finishes nothing.

    What has ``readinto``, as files have, reads into the very frames that are compressed.
    """
    readinto = getattr(reader, "readinto", None)
    if readinto is not None and isinstance(sink, _Encoder):
        return sink.fill_from(readinto)
    total = 0
    while piece := reader.read(PIECE):
        sink.write(piece)
        total += len(piece)
    return total


class _Frame:
    """Raw bytes on their way to being one frame. ``buffer`` is what may be filled anew afterwards."""

    __slots__ = ("_compress", "_compressed", "_done", "_error", "_raw", "buffer")

    def __init__(
        self, compress: Callable[[BytesLike], bytes], raw: memoryview, buffer: memoryview | None
    ) -> None:
        self.buffer = buffer
        self._compress = compress
        self._raw: memoryview | None = raw
        self._compressed = b""
        self._error: BaseException | None = None
        self._done = threading.Event()

    @property
    def done(self) -> bool:
        return self._done.is_set()

    def run(self) -> None:
        """Compress; never raises, because what fails belongs to the thread that waits."""
        raw, self._raw = self._raw, None
        try:
            if raw is not None:
                self._compressed = self._compress(raw)
        except BaseException as error:
            self._error = error
        self._done.set()

    def cancel(self) -> None:
        """Spare the threads a frame that nobody wants any more."""
        self._raw = None

    def result(self) -> bytes:
        """Wait for the compressed bytes, or raise what went wrong."""
        self._done.wait()
        if self._error is not None:
            raise self._error
        return self._compressed


def encoder(
    codec: Codec,
    sink: Sink,
    workers: Workers,
    frame_size: int = FRAME_SIZE,
    *,
    front: Sink | None = None,
    extra: Sequence[Stanza] = (),
) -> Sink:
    """A sink that compresses and encrypts into ``sink``; ``sink`` itself for ``none`` without recipients.

    The header of what is encrypted, with the ``extra`` stanzas in it, is written at once, past ``sink`` into
    ``front`` if that is given: it has ``sink`` measure what is behind the header.

    Nothing written still makes one (empty) frame, so that the format's own tool accepts the file.
    What fails in a thread or in ``sink`` is raised by that or the next ``write`` or ``finish``, and
    by every later one; ``abort`` is all that is left then.
    """
    if codec.recipients:
        sink = _encrypting(codec, sink, front or sink, extra)
    compress = codec.compressor()
    return sink if compress is None else _Encoder(compress, sink, workers, frame_size)


def _encrypting(codec: Codec, sink: Sink, front: Sink, extra: Sequence[Stanza]) -> Sink:
    # Imported only here: cryptography is loaded by who encrypts, and by nobody else.
    from catalog.age.keys import Recipient, wrap
    from catalog.age.payload import EncryptingSink

    header, file_key = wrap([Recipient.parse(text) for text in codec.recipients], extra)
    try:
        front.write(header)
        return EncryptingSink(file_key, sink)
    except BaseException:
        sink.abort()
        raise


class _Encoder:
    """Cuts, hands out, and puts back in order."""

    def __init__(
        self, compress: Callable[[BytesLike], bytes], sink: Sink, workers: Workers, frame_size: int
    ) -> None:
        self._compress = compress
        self._sink = sink
        self._workers = workers
        self._frame_size = frame_size
        self._most_in_flight = 2 * workers.threads
        self._in_flight: deque[_Frame] = deque()
        self._buffer: memoryview | None = None
        self._filled = 0
        self._empty = True
        self._error: BaseException | None = None

    def write(self, data: BytesLike) -> None:
        self._refuse_after_an_error()
        rest = memoryview(data).cast("B")
        try:
            # Bytes cannot change, so whole frames of them need no copy.
            while isinstance(data, bytes) and not self._filled and len(rest) >= self._frame_size:
                self._submit(rest[: self._frame_size], None)
                rest = rest[self._frame_size :]
            while rest:
                rest = rest[self._fill(rest) :]
        except BaseException as error:
            self._error = error
            raise

    def fill_from(self, readinto: Callable[[memoryview], int]) -> int:
        """Have frames filled by ``readinto`` until it has no more bytes; how many there were."""
        self._refuse_after_an_error()
        total = 0
        try:
            while count := readinto(self._room()):
                total += count
                self._advance(count)
        except BaseException as error:
            self._error = error
            raise
        return total

    def finish(self) -> None:
        self._refuse_after_an_error()
        try:
            if self._filled or self._empty:
                self._submit_buffer()
            while self._in_flight:
                self._pass_on_the_oldest()
        except BaseException as error:
            self._error = error
            raise
        self._sink.finish()

    def abort(self) -> None:
        for frame in self._in_flight:
            frame.cancel()
        self._in_flight.clear()
        self._buffer = None
        self._sink.abort()

    def _refuse_after_an_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _fill(self, data: memoryview) -> int:
        """Copy what fits into the frame being filled; how much that was."""
        room = self._room()
        count = min(len(data), len(room))
        room[:count] = data[:count]
        self._advance(count)
        return count

    def _room(self) -> memoryview:
        """What is still to be filled of a frame, a new one if need be."""
        if self._buffer is None:
            self._buffer = self._workers.buffer(self._frame_size)
        return self._buffer[self._filled :]

    def _advance(self, count: int) -> None:
        self._filled += count
        if self._filled == self._frame_size:
            self._submit_buffer()

    def _submit_buffer(self) -> None:
        buffer = self._buffer if self._buffer is not None else memoryview(b"")
        filled, self._filled, self._buffer = self._filled, 0, None
        self._submit(buffer[:filled], buffer)

    def _submit(self, raw: memoryview, buffer: memoryview | None) -> None:
        while self._in_flight and (self._in_flight[0].done or len(self._in_flight) >= self._most_in_flight):
            self._pass_on_the_oldest()
        frame = _Frame(self._compress, raw, buffer)
        self._workers.submit(frame.run)
        self._in_flight.append(frame)
        self._empty = False

    def _pass_on_the_oldest(self) -> None:
        frame = self._in_flight.popleft()
        self._sink.write(frame.result())
        if frame.buffer is not None:
            self._workers.give_back(frame.buffer)
