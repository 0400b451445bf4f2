"""WAL pages: real segments from ``tests/data``, and made ones whose records are noise."""

from __future__ import annotations

import lzma
import struct
from pathlib import Path

from catalog.lsn import SegmentSize

DATA = Path(__file__).parents[1] / "data"
MAGIC = 0xD110
SYSTEM_IDENTIFIER = 7711084784289903658


def real_segment(version: int, name: str) -> bytes:
    """A whole segment of 1 MB, as archive_command got it."""
    return lzma.decompress((DATA / f"wal-{version}" / f"{name}.xz").read_bytes())


def make_pages(
    begin: int, end: int, size: SegmentSize, timeline: int = 1, magic: int = MAGIC, fill: bytes = b"\xa5"
) -> bytearray:
    """The bytes from one page's beginning to another's."""
    wal = bytearray(fill * (end - begin))
    for page in range(begin, end, 8192):
        if page % size.nbytes:
            struct.pack_into("<HHIQI4x", wal, page - begin, magic, 1, timeline, page, 7)
        else:
            long_part = (SYSTEM_IDENTIFIER, size.nbytes, 8192)
            struct.pack_into("<HHIQI4xQII", wal, page - begin, magic, 3, timeline, page, 7, *long_part)
    return wal
