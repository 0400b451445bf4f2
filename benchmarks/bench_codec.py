"""How fast are WAL-like bytes compressed into frames, by codec and number of threads, and read back?

    pytest benchmarks/bench_codec.py --benchmark-only

Set WAL_DIRECTORY to a directory of segments to measure on those. One round is 64 MiB in 128 KiB pieces.
"""

from __future__ import annotations

import io
import os
import random
from pathlib import Path

import pytest
from support.streams import Kept

from catalog.codec import Codec
from catalog.decoding import decoder
from catalog.frames import Workers, encoder

SIZE = 64 << 20
PIECE = 128 << 10
CODECS = ("gzip", "lz4", "zstd")


def wal_like() -> bytes:
    """Segments from WAL_DIRECTORY, or pages of short records: few distinct bytes, some noise."""
    directory = os.environ.get("WAL_DIRECTORY")
    if directory:
        paths = sorted(path for path in Path(directory).iterdir() if len(path.name) == 24)
        data = b"".join(path.read_bytes() for path in paths[: SIZE >> 20])
    else:
        source = random.Random(1)
        row = b"\x00\x00\x00\x7f\x06\x00\x00" + bytes(40) + b"pgbench_accounts filler           "
        data = b"".join(source.randbytes(12) + row[: source.randrange(40, 80)] for _ in range(100_000))
    return (data * (SIZE // len(data) + 1))[:SIZE]


@pytest.fixture(scope="module")
def data():
    return memoryview(bytearray(wal_like()))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", CODECS)
def test_encode(benchmark, data, name, threads):
    def run():
        stream = encoder(Codec.of(name), Kept(), workers)
        for position in range(0, SIZE, PIECE):
            stream.write(data[position : position + PIECE])
        stream.finish()

    with Workers(threads) as workers:
        benchmark(run)
    benchmark.extra_info["MB/s"] = round(SIZE / benchmark.stats.stats.min / 1e6)


@pytest.mark.parametrize("n", [8 << 10, 256 << 10], ids=["8KiB", "256KiB"])
@pytest.mark.parametrize("name", CODECS)
def test_decode(benchmark, data, name, n):
    def run():
        reader = decoder(io.BytesIO(stored), codec.suffix)
        while reader.read(n):
            pass

    codec = Codec.of(name)
    compress = codec.compressor()
    stored = b"".join(compress(data[position : position + (4 << 20)]) for position in range(0, SIZE, 4 << 20))
    benchmark(run)
    benchmark.extra_info["MB/s"] = round(SIZE / benchmark.stats.stats.min / 1e6)
