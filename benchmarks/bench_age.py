"""How fast are bytes encrypted and decrypted, and what does one encrypted segment cost beside a plain one?

    pytest benchmarks/bench_age.py --benchmark-only

One round is 64 MiB in pieces of 4 MiB, as frames of a codec come; a segment is 16 MiB, hashed for its fingerprint
and stored into memory.
"""

from __future__ import annotations

import io
import random

import pytest
from support.age import OURS, encrypt
from support.filed_wal import giving
from support.memory_storage import MemoryStorage
from support.wal_pages import SYSTEM_IDENTIFIER, make_pages

from catalog.age.file import encrypted, open_encrypted
from catalog.codec import Codec
from catalog.filing import Filing
from catalog.frames import Workers
from catalog.lsn import SegmentSize
from catalog.walname import Segment

SIZE = 64 << 20
PIECE = 4 << 20
SEGMENT = SegmentSize(16 << 20)
DATA = random.Random(1).randbytes(SIZE)


class Nowhere:
    """A sink that forgets."""

    def write(self, data):
        pass

    def finish(self):
        pass

    def abort(self):
        pass


def test_encrypt(benchmark):
    def run():
        sink = encrypted(Nowhere(), [OURS.recipient])
        for position in range(0, SIZE, PIECE):
            sink.write(DATA[position : position + PIECE])
        sink.finish()

    benchmark(run)
    benchmark.extra_info["MB/s"] = round(SIZE / benchmark.stats.stats.min / 1e6)


def test_decrypt(benchmark):
    stored = encrypt(DATA)

    def run():
        reader = open_encrypted(io.BytesIO(stored), [OURS])
        while reader.read(1 << 20):
            pass

    benchmark(run)
    benchmark.extra_info["MB/s"] = round(SIZE / benchmark.stats.stats.min / 1e6)


@pytest.mark.parametrize("recipients", [0, 1, 2], ids=["clear", "one recipient", "two recipients"])
def test_a_segment(benchmark, recipients):
    raw = bytes(make_pages(7 << 24, 8 << 24, SEGMENT))
    codec = Codec.of("zstd").encrypted((str(OURS.recipient),) * recipients)
    name = Segment(1, 7).name(SEGMENT)

    def run():
        filing = Filing(MemoryStorage(), SEGMENT, SYSTEM_IDENTIFIER, codec, workers, bytes(16))
        assert filing.put(name, giving(raw))

    with Workers(2) as workers:
        benchmark(run)
