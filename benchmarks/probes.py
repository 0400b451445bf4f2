"""What limits a receiver and a backup, each part by itself: ``python -m benchmarks.probes WHAT …``.

    wal CONNINFO BEGIN END       receive WAL, and drop it
    hash ALGORITHM NBYTES        the sum of so many bytes
    compress CODEC FILE…         the files' bytes, in memory, in frames as they are stored
    write DIRECTORY NBYTES LENGTH
                                 so many bytes into files of that length, each synced at its end

One core each (``write``: one disk). Prints bytes, seconds and CPU seconds as JSON; the start of the
interpreter, connecting and reading into memory do not count.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator

from catalog.codec import Codec
from catalog.crc32c import crc32c
from catalog.frames import FRAME_SIZE
from catalog.lsn import LSN
from walstream.stream import stream

PIECE = 128 << 10  # as libpq hands out WAL
WRITTEN = 16 << 20  # again and again
MOST = 256 << 20  # of files, in memory
HASHED = 64 << 20  # again and again: more than any cache holds


def main() -> int:
    what, *words = sys.argv[1:]
    probes: dict[str, Callable[..., dict[str, float]]] = {
        "wal": _wal,
        "hash": _hash,
        "compress": _compress,
        "write": _write,
    }
    print(json.dumps(probes[what](*words)))
    return 0


def _wal(conninfo: str, begin: str, end: str) -> dict[str, float]:
    messages = stream(conninfo, LSN.parse(begin), end=LSN.parse(end), application_name="walstream_bench")
    first = next(messages)
    return _timed(lambda: len(first.payload) + sum(len(wal.payload) for wal in messages))


def _hash(algorithm: str, nbytes: str) -> dict[str, float]:
    data, wanted = memoryview(os.urandom(HASHED)), int(nbytes)
    update = _crc32c() if algorithm == "crc32c" else hashlib.new(algorithm).update

    def run() -> int:
        for length in (min(HASHED, wanted - at) for at in range(0, wanted, HASHED)):
            for piece in _pieces(data[:length], PIECE):
                update(piece)
        return wanted

    return _timed(run)


def _compress(name: str, *paths: str) -> dict[str, float]:
    compress = Codec.of(name).compressor()
    assert compress is not None, "none compresses nothing"
    frames = [frame for data in _contents(paths) for frame in _pieces(data, FRAME_SIZE)]

    def run() -> int:
        for frame in frames:
            compress(frame)
        return sum(map(len, frames))

    return _timed(run)


def _write(directory: str, nbytes: str, length: str) -> dict[str, float]:
    data, wanted, each = memoryview(os.urandom(WRITTEN)), int(nbytes), int(length)

    def run() -> int:
        for number, begin in enumerate(range(0, wanted, each)):
            with open(os.path.join(directory, str(number)), "wb", buffering=0) as file:
                for at in range(begin, min(begin + each, wanted), PIECE):
                    offset = at % WRITTEN
                    file.write(data[offset : offset + min(PIECE, wanted - at)])
                os.fsync(file.fileno())
        return wanted

    return _timed(run)


def _timed(run: Callable[[], int]) -> dict[str, float]:
    """Call it: it returns how many bytes it has handled."""
    began, cpu = time.perf_counter(), time.process_time()
    nbytes = run()
    return {
        "bytes": nbytes,
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - cpu,
    }


def _contents(paths: tuple[str, ...]) -> Iterator[memoryview]:
    left = MOST
    for path in paths:
        if left > 0:
            with open(path, "rb") as file:
                data = file.read(left)
            left -= len(data)
            yield memoryview(data)


def _pieces(data: memoryview, length: int) -> Iterator[memoryview]:
    return (data[at : at + length] for at in range(0, len(data), length))


def _crc32c() -> Callable[[memoryview], None]:
    value = 0

    def update(piece: memoryview) -> None:
        nonlocal value
        value = crc32c(piece, value)

    return update


if __name__ == "__main__":
    sys.exit(main())
