"""Two copies of an incomplete segment, judged by their records: which is longer, or are they of two branches?

A copy that we made ends in zeros, one that a server left may end in what its file held before. So their real end is
where their valid records end. Pure over readers.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from catalog.comparison import LONGER, OTHER, SHORTER, same_beginning
from catalog.errors import Malformed
from catalog.lsn import SegmentSize
from catalog.sink import PIECE, Reader
from catalog.walname import Segment
from catalog.walrecord import RecordReader


def valid_length(reader: Reader, segment: Segment, size: SegmentSize, system_identifier: int) -> int:
    """How many bytes there are up to where a segment's valid records end; 0 if it has none of that name's."""
    records = RecordReader(size, system_identifier, frozenset())
    records.enter(segment)
    try:
        while not records.is_done and (piece := reader.read(PIECE)):
            records.feed(piece)
    except Malformed:
        return 0
    return records.end - segment.start(size) if records.last else 0


def compare_records(
    open_stored: Callable[[], Reader],
    open_arriving: Callable[[], Reader],
    segment: Segment,
    size: SegmentSize,
    system_identifier: int,
) -> str:
    """What an arriving copy is, seen from the stored one: ``LONGER``, ``SHORTER`` (or as long), or ``OTHER``.

    ``OTHER`` too when one of them has no records: then nothing tells.
    """
    lengths = []
    for open_copy in (open_stored, open_arriving):
        with closing(open_copy()) as reader:
            lengths.append(valid_length(reader, segment, size, system_identifier))
    if not all(lengths):
        return OTHER
    with closing(open_stored()) as stored, closing(open_arriving()) as arriving:
        if not same_beginning(stored, arriving, min(lengths)):
            return OTHER
    return LONGER if lengths[1] > lengths[0] else SHORTER
