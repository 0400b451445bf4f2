"""Ends of a chain: a sink that keeps what it was given, and readers over bytes."""

from __future__ import annotations

from catalog.sink import BytesLike, Reader


class Kept:
    """A sink that keeps the pieces it was given, and says how it ended."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.finished = 0
        self.aborted = 0

    @property
    def content(self) -> bytes:
        return b"".join(self.pieces)

    def write(self, data: BytesLike) -> None:
        self.pieces.append(bytes(data))

    def finish(self) -> None:
        self.finished += 1

    def abort(self) -> None:
        self.aborted += 1


class Given:
    """A reader over bytes that hands out at most ``most`` of them at once, and counts closes."""

    def __init__(self, content: bytes, most: int = 1 << 30) -> None:
        self.taken = 0
        self.closed = 0
        self._content = content
        self._most = most

    def read(self, n: int, /) -> bytes:
        piece = self._content[self.taken : self.taken + min(n, self._most)]
        self.taken += len(piece)
        return piece

    def close(self) -> None:
        self.closed += 1


def drain(reader: Reader, n: int = 1 << 20) -> bytes:
    """All that a reader has, taken n bytes at a time; fails when it gives more than asked for."""
    pieces = []
    while piece := reader.read(n):
        assert len(piece) <= n
        pieces.append(piece)
    return b"".join(pieces)
