"""Is this the WAL that is stored? Two copies of a file, read side by side; and the page that tells most."""

from __future__ import annotations

from collections.abc import Iterator

from catalog.sink import PIECE, Reader
from catalog.walpage import PAGE_SIZE

SAME = "same"
LONGER = "longer"
SHORTER = "shorter"
OTHER = "other"


def same_bytes(a: Reader, b: Reader) -> bool:
    """Whether two readers give the same bytes to the end."""
    return all(left == right for left, right in _pairs(a, b))


def same_beginning(a: Reader, b: Reader, nbytes: int) -> bool:
    """Whether the first bytes of two readers, so many, are there and the same."""
    for left, right in _pairs(a, b):
        if left[:nbytes] != right[:nbytes]:
            return False
        nbytes -= len(left)
        if nbytes <= 0:
            break
    return nbytes <= 0


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


def last_page(reader: Reader) -> tuple[int, bytes]:
    """Offset and bytes of the last page of a segment that is not all zeros; the tail behind it says nothing."""
    found, offset, held = (0, b""), 0, b""
    while True:
        piece = reader.read(PIECE)
        held += piece
        whole = len(held) if not piece else len(held) // PAGE_SIZE * PAGE_SIZE
        if length := len(held[:whole].rstrip(b"\0")):
            begin = (length - 1) // PAGE_SIZE * PAGE_SIZE
            found = offset + begin, held[begin : begin + PAGE_SIZE]
        offset, held = offset + whole, held[whole:]
        if not piece:
            return found


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
