"""What does a WAL message of 128 KiB cost before it is written: parsing, session, page headers?

    pytest benchmarks/bench_messages.py --benchmark-only

A segment of 16 MiB takes 128 such messages.
"""

from __future__ import annotations

import struct

import pytest
from support.wal_pages import SYSTEM_IDENTIFIER, make_pages

from catalog.lsn import LSN, SegmentSize
from catalog.walpage import PageChecker
from walstream.messages import parse
from walstream.session import Session, SessionOptions

SIZE = SegmentSize(16 << 20)
PIECE = 128 << 10
START = LSN(7 * SIZE.nbytes)


@pytest.fixture(scope="module")
def messages():
    pages = memoryview(make_pages(START.value, START.value + SIZE.nbytes, SIZE))
    return [
        struct.pack(">cQQq", b"w", START.value + at, START.value + SIZE.nbytes, 0) + pages[at : at + PIECE]
        for at in range(0, SIZE.nbytes, PIECE)
    ]


def test_parse(benchmark, messages):
    benchmark(lambda: [parse(message) for message in messages])


def test_session(benchmark, messages):
    def run():
        session = Session(START, SessionOptions(), 0.0)
        for message in messages:
            session.receive(message, 0.0)

    benchmark(run)


def test_page_headers(benchmark, messages):
    payloads = [parse(message).payload for message in messages]

    def run():
        checker = PageChecker(SIZE, SYSTEM_IDENTIFIER, 1, START)
        for payload in payloads:
            checker.feed(payload)

    benchmark(run)
