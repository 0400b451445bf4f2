"""WAL with records of a test's choosing, laid out as PostgreSQL does: pages, chain, checksums."""

from __future__ import annotations

import struct
from datetime import datetime

from support.wal_pages import SYSTEM_IDENTIFIER

from catalog.crc32c import crc32c
from catalog.lsn import LSN, SegmentSize
from catalog.recordtypes import from_time

MAGICS = {13: 0xD106, 14: 0xD10D, 15: 0xD110, 16: 0xD113, 17: 0xD116, 18: 0xD118}
PAGE = 8192


class WalWriter:
    """Writes WAL from the start of segment ``first`` on; ``segments`` are its bytes, by number."""

    def __init__(
        self,
        size: SegmentSize,
        first: int,
        *,
        timeline: int = 1,
        version: int = 15,
        system_identifier: int = SYSTEM_IDENTIFIER,
    ) -> None:
        self.system_identifier = system_identifier
        self.size = size
        self.timeline = timeline
        self.magic = MAGICS[version]
        self.prev = 0
        self.at = first * size.nbytes
        self.pages: dict[int, bytearray] = {}

    def copy(self, timeline: int) -> WalWriter:
        """Another branch: what was written so far, and from here on on a newer timeline."""
        other = WalWriter(self.size, 0, timeline=timeline)
        other.magic, other.prev, other.at = self.magic, self.prev, self.at
        other.pages = {at: bytearray(page) for at, page in self.pages.items()}
        return other

    @property
    def position(self) -> LSN:
        """Where the next record will end up, but for a page's header."""
        return LSN(self.at)

    @property
    def segments(self) -> dict[int, bytes]:
        """Whole segments, padded with zeros."""
        found: dict[int, bytearray] = {}
        for at, page in self.pages.items():
            segment = found.setdefault(at // self.size.nbytes, bytearray(self.size.nbytes))
            segment[at % self.size.nbytes : at % self.size.nbytes + PAGE] = page
        return {number: bytes(segment) for number, segment in sorted(found.items())}

    def add(
        self, rmgr: int = 10, info: int = 0, xid: int = 0, main: bytes = b"", raw: bytes | None = None
    ) -> LSN:
        """Write a record; where it begins. ``raw`` is all behind the header, else ``main`` data is wrapped."""
        if raw is None:
            raw = b"\xff" + bytes([len(main)]) if len(main) < 256 else b"\xfe" + struct.pack("<I", len(main))
            raw = (raw + main) if main else b""
        self._page_of(self.at, 0)
        start = self.at
        header = struct.pack("<IIQBB2x", 24 + len(raw), xid, self.prev, info, rmgr)
        left = header + struct.pack("<I", crc32c(header, crc32c(raw))) + raw
        while left:
            self._page_of(self.at, len(left) if self.at != start else 0)
            page, offset = self.pages[self.at - self.at % PAGE], self.at % PAGE
            part = left[: PAGE - offset]
            page[offset : offset + len(part)] = part
            left = left[len(part) :]
            self.at += len(part)
        self.at = self.at + 7 & ~7
        self.prev = start
        return LSN(start)

    def switch(self) -> None:
        """End the segment as ``pg_switch_wal`` does."""
        self.add(0, 0x40)
        self.at = -(-self.at // self.size.nbytes) * self.size.nbytes

    def abandon(self, length: int, shown: int) -> None:
        """Begin a record of ``length`` bytes that a crash cuts off, and go on at the next page."""
        before, pages = self.prev, len(self.pages)
        start = self.add(raw=b"x" * length)
        for at in list(self.pages)[pages + shown :]:
            del self.pages[at]
        self.prev = before
        self.at = max(self.pages) + PAGE
        self._page_of(self.at, 0, overwritten=True)
        self.add(0, 0xD0, main=struct.pack("<Qq", start.value, 0))

    def commit(self, xid: int, time: datetime, *, abort: bool = False) -> LSN:
        """A minimal commit record."""
        return self.add(1, 0x20 if abort else 0, xid, struct.pack("<q", from_time(time)))

    def restore_point(self, name: str, time: datetime) -> LSN:
        return self.add(0, 0x70, 0, struct.pack("<q64s", from_time(time), name.encode()))

    def running(self, next_xid: int, oldest: int) -> LSN:
        return self.add(8, 0x10, 0, struct.pack("<iiiIII", 0, 0, 0, next_xid, oldest, next_xid - 1))

    def fill(self, nbytes: int, most: int = 4000) -> None:
        """Records of no interest, so many bytes of them or a little more."""
        end = self.at + nbytes
        while self.at < end:
            self.add(10, raw=b"\x5a" * min(most, max(end - self.at - 24, 1)))

    def _page_of(self, at: int, remaining: int, overwritten: bool = False) -> None:
        """Make a page, with its header, when ``at`` is its beginning; moves behind the header."""
        if at % PAGE or at in self.pages:
            return
        page = self.pages.setdefault(at, bytearray(PAGE))
        flags = (1 if remaining else 0) | (8 if overwritten else 0)
        if at % self.size.nbytes:
            struct.pack_into("<HHIQI4x", page, 0, self.magic, flags, self.timeline, at, remaining)
            self.at = at + 24
        else:
            long_part = (self.system_identifier, self.size.nbytes, PAGE)
            struct.pack_into(
                "<HHIQI4xQII", page, 0, self.magic, flags | 2, self.timeline, at, remaining, *long_part
            )
            self.at = at + 40
