"""What does it cost to write received WAL into segments: checked, written, synced, completed?

    pytest benchmarks/bench_segment.py --benchmark-only

One round is 64 MiB in messages of 128 KiB, four segments, into memory (/dev/shm), where a sync costs next to
nothing: what is left is our code and the copy. The last one syncs each message, as when commits wait.
"""

from __future__ import annotations

import os
import tempfile
import threading

import pytest
from support.wal_pages import SYSTEM_IDENTIFIER, make_pages

from catalog.lsn import LSN, SegmentSize
from walstream.spool import Spool, SpoolOptions

SIZE = SegmentSize(16 << 20)
NBYTES = 64 << 20
PIECE = 128 << 10
START = LSN(7 * SIZE.nbytes)


@pytest.fixture(scope="module")
def messages():
    pages = memoryview(make_pages(START.value, START.value + NBYTES, SIZE))
    return [pages[at : at + PIECE] for at in range(0, NBYTES, PIECE)]


@pytest.fixture
def directory():
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="walstream-bench-") as path:
        yield path


@pytest.mark.parametrize("synchronous", [False, True], ids=["asynchronous", "each message synced"])
def test_write(benchmark, messages, directory, synchronous):
    flushed = threading.Event()

    def run():
        options = SpoolOptions(directory, SIZE, SYSTEM_IDENTIFIER, synchronous=synchronous)
        spool = Spool(options, 1, START, lambda name: os.unlink(f"{directory}/{name}"), flushed.set)
        for message in messages:
            spool.write(message)
            if synchronous:
                spool.request_sync(awaited=True)
            while not spool.has_room:
                flushed.wait()
                flushed.clear()
        spool.close()

    benchmark(run)
    benchmark.extra_info["MB/s"] = round(NBYTES / benchmark.stats.stats.min / 1e6)
