"""What does it cost to walk through the records of a segment, and what to check its pages alone?

    pytest benchmarks/bench_walrecord.py --benchmark-only

One round is a segment of 16 MiB: of small records (100 bytes, as of short transactions), or of large ones (up to
4000 bytes, as of page images). `verify-wal` pays `check`, a restore to a time or a name pays `walk`, what
receives or files a segment pays `pages`.
"""

from __future__ import annotations

import pytest
from support.wal_pages import SYSTEM_IDENTIFIER
from support.wal_records import WalWriter

from backup.segment_check import Place, SegmentCheck
from catalog.lsn import SegmentSize
from catalog.walname import Segment
from catalog.walpage import PageChecker
from catalog.walrecord import RecordReader

SIZE = SegmentSize(16 << 20)
SEGMENT = Segment(1, 7)
PIECE = 1 << 20
FULL = 0.99  # of a segment: the rest is for the headers of pages


@pytest.fixture(scope="module", params=[100, 4000], ids=["small records", "large records"])
def pieces(request):
    writer = WalWriter(SIZE, SEGMENT.number)
    writer.fill(round(SIZE.nbytes * FULL), request.param)
    writer.switch()
    data = writer.segments[SEGMENT.number]
    return [data[at : at + PIECE] for at in range(0, SIZE.nbytes, PIECE)]


def walk(pieces, wanted):
    reader = RecordReader(SIZE, SYSTEM_IDENTIFIER, wanted)
    reader.enter(SEGMENT)
    found = sum(len(reader.feed(piece)) for piece in pieces)
    assert reader.ended is None
    return found


def per_byte(benchmark):
    benchmark.extra_info["MB/s"] = round(SIZE.nbytes / benchmark.stats.stats.min / 1e6)


@pytest.mark.parametrize("wanted", [frozenset({1}), None], ids=["commits", "all records"])
def test_walk(benchmark, pieces, wanted):
    """Only commits are wanted, of which there are none, or every record is handed out."""
    benchmark(walk, pieces, wanted)
    per_byte(benchmark)


def test_check(benchmark, pieces):
    def run():
        check = SegmentCheck(Place(SEGMENT, SIZE, SYSTEM_IDENTIFIER))
        for piece in pieces:
            check.feed(piece)
        assert check.finish().fault is None

    benchmark(run)
    per_byte(benchmark)


def test_pages(benchmark, pieces):
    def run():
        checker = PageChecker(SIZE, SYSTEM_IDENTIFIER, SEGMENT.timeline, SEGMENT.start(SIZE))
        for piece in pieces:
            checker.feed(piece)

    benchmark(run)
    per_byte(benchmark)
