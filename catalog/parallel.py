"""The way back of ``catalog.frames``: the frames of one stored file decompressed on several threads, in order.

Where a frame of zstd or lz4 ends is found by walking over its block headers, without decompressing. What is not
cut into frames of a few MiB that say how much they hold, as other tools write it, or is damaged, goes through
``catalog.decoding.decoder`` from there on, so that errors are the same. Memory of one decoder: twice as many
frames in flight as there are threads, each of at most 16 MiB, stored and raw; of those that we write 4 MiB.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import deque

from catalog.decoding import decoder, decompress_frame
from catalog.errors import Corrupt
from catalog.frames import Workers
from catalog.sink import Reader

MOST = 16 << 20
_FEED = 1 << 20


class _Walk(ABC):
    """How far a frame is known to go: to ``end``, and not beyond when ``complete``.

    ``content`` is how many bytes it says that it holds; None as long as it does not.
    """

    __slots__ = ("complete", "content", "end", "foreign", "trailer")

    def __init__(self) -> None:
        self.end = 0
        self.complete = False
        self.foreign = False
        self.content: int | None = None
        self.trailer = 0

    def look(self, data: bytearray) -> None:
        """Walk on over the bytes of the frame that are there."""
        if not self.end and not self.foreign:
            self._read_header(data)
        while self.end and not self.complete and not self.foreign and self._read_block(data):
            pass

    @abstractmethod
    def _read_header(self, data: bytearray) -> None:
        """Step over the header of the frame, once it is there."""

    @abstractmethod
    def _read_block(self, data: bytearray) -> bool:
        """Step over one block; False when its header is not there yet."""


class _ZstdWalk(_Walk):
    """RFC 8878, 3.1.1."""

    __slots__ = ()

    def _read_header(self, data: bytearray) -> None:
        if len(data) < 5:
            return
        flags = data[4]
        single = flags >> 5 & 1
        width = (single, 2, 4, 8)[flags >> 6]
        at = 5 + (not single) + (0, 1, 2, 4)[flags & 3]
        if data[:4] != b"\x28\xb5\x2f\xfd" or not width:
            self.foreign = True
        elif len(data) >= at + width:
            self.content = int.from_bytes(data[at : at + width], "little") + (256 if width == 2 else 0)
            self.trailer = 4 * (flags >> 2 & 1)
            self.end = at + width

    def _read_block(self, data: bytearray) -> bool:
        if len(data) < self.end + 3:
            return False
        header = int.from_bytes(data[self.end : self.end + 3], "little")
        repeated = header >> 1 & 3 == 1
        self.end += 3 + (1 if repeated else header >> 3)
        if header & 1:
            self.end += self.trailer
            self.complete = True
        return True


class _Lz4Walk(_Walk):
    """The frame format of lz4, version 1."""

    __slots__ = ("block_trailer",)

    def _read_header(self, data: bytearray) -> None:
        if len(data) < 15:
            return
        flags = data[4]
        has_size, has_dictionary = flags >> 3 & 1, flags & 1
        if data[:4] != b"\x04\x22\x4d\x18" or flags >> 6 != 1 or not has_size or has_dictionary:
            self.foreign = True
            return
        self.content = int.from_bytes(data[6:14], "little")
        self.block_trailer = 4 * (flags >> 4 & 1)
        self.trailer = 4 * (flags >> 2 & 1)
        self.end = 15

    def _read_block(self, data: bytearray) -> bool:
        if len(data) < self.end + 4:
            return False
        size = int.from_bytes(data[self.end : self.end + 4], "little") & 0x7FFFFFFF
        self.end += 4
        if size:
            self.end += size + self.block_trailer
        else:
            self.end += self.trailer
            self.complete = True
        return True


_WALKS: dict[str, type[_Walk]] = {".zst": _ZstdWalk, ".lz4": _Lz4Walk}


def parallel_decoder(reader: Reader, suffix: str, workers: Workers) -> Reader:
    """Like ``catalog.decoding.decoder``, on the threads of ``workers`` where the format allows it."""
    walk = _WALKS.get(suffix)
    return decoder(reader, suffix) if walk is None else _ParallelDecoder(reader, suffix, walk, workers)


class _Frame:
    """One frame on its way to being raw bytes."""

    __slots__ = ("_content", "_done", "_error", "_raw", "_stored", "_suffix")

    def __init__(self, suffix: str, stored: bytes, content: int) -> None:
        self._suffix = suffix
        self._stored = stored
        self._content = content
        self._raw = b""
        self._error: BaseException | None = None
        self._done = threading.Event()

    def run(self) -> None:
        """Decompress; never raises, because what fails belongs to the thread that waits."""
        stored, self._stored = self._stored, b""
        try:
            if stored:
                self._raw = decompress_frame(stored, self._content, self._suffix)
        except BaseException as error:
            self._error = error
        self._done.set()

    def cancel(self) -> None:
        """Spare the threads a frame that nobody wants any more."""
        self._stored = b""

    def result(self) -> bytes:
        """Wait for the raw bytes, or raise what went wrong."""
        self._done.wait()
        if self._error is not None:
            raise self._error
        return self._raw


class _ParallelDecoder:
    """Cuts, hands out, and puts back in order."""

    def __init__(self, reader: Reader, suffix: str, walk: type[_Walk], workers: Workers) -> None:
        self._reader = reader
        self._suffix = suffix
        self._walk = walk
        self._workers = workers
        self._in_flight: deque[_Frame] = deque()
        self._pending = bytearray()  # read, and not yet part of a frame
        self._raw = memoryview(b"")
        self._frames = 0
        self._rest: Reader | None = None  # what is not decompressed here
        self._ended = False
        self._corrupt: Corrupt | None = None

    def read(self, n: int, /) -> bytes:
        if self._corrupt is not None:
            raise self._corrupt
        try:
            while not self._raw and self._next_frame():
                pass
            if not self._raw:
                return self._rest.read(n) if self._rest is not None else b""
        except Corrupt as error:
            self._corrupt = error
            raise
        piece = bytes(self._raw[:n])
        self._raw = self._raw[n:]
        return piece

    def close(self) -> None:
        for frame in self._in_flight:
            frame.cancel()
        self._in_flight.clear()
        self._raw = memoryview(b"")
        self._reader.close()

    def _next_frame(self) -> bool:
        """Take the next raw bytes; False when there are no more of them from here."""
        while len(self._in_flight) < 2 * self._workers.threads and self._submit():
            pass
        if not self._in_flight:
            return False
        self._raw = memoryview(self._in_flight.popleft().result())
        return True

    def _submit(self) -> bool:
        """Hand out one more frame; False when there is none."""
        if self._ended or self._rest is not None:
            return False
        walk = self._walk()
        walk.look(self._pending)
        while not walk.foreign and not (walk.complete and len(self._pending) >= walk.end):
            if len(self._pending) > MOST:
                break
            piece = self._reader.read(_FEED)
            if not piece:
                self._ended = True
                break
            self._pending += piece
            walk.look(self._pending)
        if not self._pending and self._frames:
            return False
        content = walk.content
        if not walk.complete or len(self._pending) < walk.end or content is None or content > MOST:
            self._rest = decoder(_Behind(bytes(self._pending), self._reader), self._suffix)
            self._pending.clear()
            return False
        with memoryview(self._pending) as pending:
            stored = bytes(pending[: walk.end])
        frame = _Frame(self._suffix, stored, content)
        del self._pending[: walk.end]
        self._frames += 1
        self._workers.submit(frame.run)
        self._in_flight.append(frame)
        return True


class _Behind:
    """A reader of some bytes, and of what another reader has behind them."""

    def __init__(self, first: bytes, reader: Reader) -> None:
        self._first = first
        self._reader = reader

    def read(self, n: int, /) -> bytes:
        if not self._first:
            return self._reader.read(n)
        piece, self._first = self._first[:n], self._first[n:]
        return piece

    def close(self) -> None:
        self._reader.close()
