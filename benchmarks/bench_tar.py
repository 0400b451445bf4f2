"""What does it cost to look at a base backup while it passes: the tar parser, with CRC-32C, behind a relay?

    pytest benchmarks/bench_tar.py --benchmark-only

One round is 64 MiB in messages of 32 KiB, as a server sends them: tables of 1 MiB, and small files.
"""

from __future__ import annotations

import random
from contextlib import closing

import pytest
from support.streams import Kept

from backup.observed import Observed
from backup.tar import END, Member, TarParser, format_header, padding
from catalog.relay import Relay

SIZE = 64 << 20
PIECE = 32 << 10


class Nowhere(Kept):
    """A sink that keeps nothing."""

    def write(self, data):
        pass


def archive(file_size):
    content = random.Random(1).randbytes(file_size)
    pieces = []
    for number in range(SIZE // (file_size + 512)):
        pieces += [
            format_header(Member(f"base/5/{number}", size=file_size)),
            content,
            bytes(padding(file_size)),
        ]
    return memoryview(b"".join([*pieces, END]))


def feed(sink, data):
    for at in range(0, len(data), PIECE):
        sink.write(data[at : at + PIECE])
    sink.finish()


@pytest.fixture(scope="module", params=[1 << 20, 8 << 10], ids=["1MiB", "8KiB"])
def data(request):
    return archive(request.param)


def observe(data, behind_a_relay):
    with closing(Observed("CRC32C")) as observed:
        parser = TarParser(observed.sink())
        feed(Relay(parser) if behind_a_relay else parser, data)


@pytest.mark.parametrize("behind_a_relay", [False, True], ids=["directly", "behind a relay"])
def test_observe(benchmark, data, behind_a_relay):
    benchmark(observe, data, behind_a_relay)


def test_relay(benchmark, data):
    benchmark(lambda: feed(Relay(Nowhere()), data))
