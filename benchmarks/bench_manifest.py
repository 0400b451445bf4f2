"""What does a file of a backup cost in its manifest: written, read, and compared with what has passed?

    pytest benchmarks/bench_manifest.py --benchmark-only

One round is a manifest of 20,000 files, as a server sends it. A cluster of a million files takes fifty such rounds.
"""

from __future__ import annotations

import io
from contextlib import closing

import pytest

from backup.manifest import FileEntry, ManifestReader, WalRange, write
from backup.observed import Observed
from catalog.lsn import LSN

FILES = 20_000
MTIME = "2026-01-31 12:00:00 GMT"
ENTRIES = [
    FileEntry(f"base/5/{16384 + number}", 8192 * (number % 100), MTIME, "CRC32C", f"{number:08x}")
    for number in range(FILES)
]
RANGES = [WalRange(1, LSN(7 << 24), LSN(8 << 24))]


@pytest.fixture(scope="module")
def manifest():
    return b"".join(write(ENTRIES, RANGES, 7711084784289903658))


def per_file(benchmark):
    benchmark.extra_info["µs a file"] = round(benchmark.stats.stats.min / FILES * 1e6, 2)


def test_write(benchmark):
    benchmark(lambda: sum(map(len, write(ENTRIES, RANGES, 7711084784289903658))))
    per_file(benchmark)


def test_read(benchmark, manifest):
    def run():
        assert ManifestReader(io.BytesIO(manifest)).finish()

    benchmark(run)
    per_file(benchmark)


def test_check(benchmark, manifest):
    """What passed is there already; its checksums were the tar parser's work (bench_tar.py)."""

    def run():
        assert observed.check(ManifestReader(io.BytesIO(manifest)))

    with closing(Observed("CRC32C")) as observed:
        for entry in ENTRIES:
            observed.add(entry.path, entry.size, entry.checksum)
        benchmark(run)
    per_file(benchmark)
