"""Sinks: where bytes are pushed. And the few that only observe or join others.

A chain is built end first, each sink with the one behind it. Readers are any object with
``read(n) -> bytes`` and ``close()``; bytes are pulled out of them.
"""

from __future__ import annotations

import hashlib
from typing import Protocol, TypeAlias

BytesLike: TypeAlias = bytes | bytearray | memoryview


class Sink(Protocol):
    """Somewhere bytes are pushed.

    ``write`` any number of times, then exactly one of ``finish`` or ``abort``. Once ``finish``
    returns, what was written is durable and readable; after ``abort`` it is as if nothing had been
    written. ``abort`` may also follow a ``finish`` that raised, and may be called twice.
    """

    def write(self, data: BytesLike) -> None: ...
    def finish(self) -> None: ...
    def abort(self) -> None: ...


class Reader(Protocol):
    """Somewhere bytes are pulled from: ``read`` returns at most n bytes, and b"" only at the end."""

    def read(self, n: int, /) -> bytes: ...
    def close(self) -> None: ...


class Measured:
    """An observer in front of a sink: counts the bytes and computes their SHA-256."""

    def __init__(self, sink: Sink) -> None:
        self.nbytes = 0
        self._sink = sink
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """The hash of what has been written so far, in hex."""
        return self._hash.hexdigest()

    def write(self, data: BytesLike) -> None:
        self.nbytes += memoryview(data).nbytes
        self._hash.update(data)
        self._sink.write(data)

    def finish(self) -> None:
        self._sink.finish()

    def abort(self) -> None:
        self._sink.abort()


class MeasuredReader:
    """An observer behind a reader: counts the bytes and computes their SHA-256."""

    def __init__(self, reader: Reader) -> None:
        self.nbytes = 0
        self._reader = reader
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """The hash of what has been read so far, in hex."""
        return self._hash.hexdigest()

    def read(self, n: int, /) -> bytes:
        piece = self._reader.read(n)
        self.nbytes += len(piece)
        self._hash.update(piece)
        return piece

    def close(self) -> None:
        self._reader.close()


PIECE = 256 * 1024


def pump(reader: Reader, sink: Sink) -> int:
    """Push all that ``reader`` has into ``sink``, finish it, and return the number of bytes.

    The sink is aborted when anything fails; the reader stays the caller's to close.
    """
    total = 0
    try:
        while piece := reader.read(PIECE):
            sink.write(piece)
            total += len(piece)
        sink.finish()
    except BaseException:
        sink.abort()
        raise
    return total
