"""Two copies of a WAL file, read side by side: the same bytes, or one the beginning of the other?"""

from __future__ import annotations

from collections.abc import Iterator

from catalog.sink import PIECE, Reader

SAME = "same"
LONGER = "longer"
SHORTER = "shorter"
OTHER = "other"


def same_bytes(a: Reader, b: Reader) -> bool:
    """Whether two readers give the same bytes to the end."""
    return all(left == right for left, right in _pairs(a, b))


def compare_padded(stored: Reader, arriving: Reader) -> str:
    """What an arriving copy of a partial segment is, seen from the stored one; both are padded with zeros.

    Where the received bytes of a copy end is not known, but it is not before its last byte that is not zero.
    ``OTHER`` where they differ before both ends, or in length: neither continues the other.
    """
    position, differs_at = 0, -1
    ends = [0, 0]
    for pieces in _pairs(stored, arriving):
        if len(pieces[0]) != len(pieces[1]):
            return OTHER
        for copy, piece in enumerate(pieces):
            if length := len(piece.rstrip(b"\0")):
                ends[copy] = position + length
        if differs_at < 0 and pieces[0] != pieces[1]:
            differs_at = position + next(i for i, (a, b) in enumerate(zip(*pieces, strict=True)) if a != b)
        position += len(pieces[0])
    if differs_at < 0:
        return SAME
    if differs_at < min(ends):
        return OTHER
    return LONGER if ends[1] > ends[0] else SHORTER


def _pairs(a: Reader, b: Reader) -> Iterator[tuple[bytes, bytes]]:
    """Pieces of equal length of both; at last one of unequal length if one reader has more than the other."""
    left = right = b""
    while True:
        left = left or a.read(PIECE)
        right = right or b.read(PIECE)
        if not left or not right:
            break
        common = min(len(left), len(right))
        yield left[:common], right[:common]
        left, right = left[common:], right[common:]
    if left or right:
        yield left, right
