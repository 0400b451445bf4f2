"""WAL records out of segments' bytes: whole, checked, in their chain, and where they end. Pure.

Segments go in one behind another, cut anywhere; records of the resource managers that are wanted come out. Each
has the right CRC-32C and names the position of the record before it, so what is not WAL never comes out as
some. A reader may begin with any segment: the rest of a record that began before it is passed over. What
records mean is ``catalog.recordtypes``' business.

A record has a header of 24 bytes (``XLogRecord`` in ``xlogrecord.h``, the same in 13 to 18), lies on a multiple of
eight, and goes on behind the next page's header when it does not fit (``xlogreader.c``: ``XLogDecodeNextRecord``,
``ValidXLogRecordHeader``). The rules for the end are that file's too: length below 24, wrong chain, bad
checksum, a page that is not the next one or does not continue the record. A record that was cut off by a crash
and given up (``XLP_FIRST_IS_OVERWRITE_CONTRECORD``) is no end. Little-endian only.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from catalog.crc32c import crc32c
from catalog.errors import Malformed
from catalog.lsn import LSN, SegmentSize
from catalog.sink import BytesLike
from catalog.walname import Segment
from catalog.walpage import (
    CONTINUES,
    LONG,
    LONG_HEADER,
    OVERWRITTEN,
    PAGE_SIZE,
    SHORT_HEADER,
    PageChecker,
    version_of,
)
from catalog.walrecord_part import HEADER, Joint, RecordPart

RM_XLOG = 0
SWITCH = 0x40

# xlogrecord.h: XLogRecordMaxSize of 16 and later; before it was a little more.
_LONGEST = 1 << 30

_HEADER = struct.Struct("<IIQBB2xI")
_PAGE = struct.Struct("<HHIQI")
_ZEROS = bytes(_PAGE.size)


class Record(NamedTuple):
    """One record: from ``position`` to ``end``, where the next one may begin; ``prev`` is the one before.

    ``length`` counts its bytes without page headers, the header's 24 included; ``info`` is the resource manager's
    upper four bits and four general ones. ``data`` is all behind the header, of a huge one the beginning.
    """

    position: LSN
    end: LSN
    prev: LSN
    length: int
    xid: int
    info: int
    rmgr: int
    data: bytes


class RecordReader:
    """Reads records from one segment on.

    ``enter`` a segment, ``feed`` its bytes, enter the next. ``wanted`` are ids of resource managers, None for all.
    Once ``ended`` says why there is no more WAL, whatever is fed is passed over. ``version`` is the major version
    that wrote the WAL, known from the first page on. ``after`` is the ``joint`` that a reader of the segment before
    came to; ``strict`` ends the WAL as well at what PostgreSQL never writes but would read over. ``Malformed``
    when the first page of a segment is of another segment or cluster, or no WAL of a known version; the object
    is of no further use then.
    """

    def __init__(
        self,
        size: SegmentSize,
        system_identifier: int,
        wanted: frozenset[int] | None = None,
        after: Joint | None = None,
        *,
        strict: bool = False,
    ) -> None:
        self._size = size
        self._system_identifier = system_identifier
        self._wanted = frozenset(range(256)) if wanted is None else wanted
        self._segment: Segment | None = None
        self._page = 0  # the position of the page that comes next
        self._held = b""  # the first bytes of that page
        self._prev = 0  # the position of the last record; 0 before the first
        self._end = 0
        self._skip = 0  # bytes left of a record whose beginning is not held
        self._pending: RecordPart | None = None
        self._is_fresh = True  # nothing was read yet, so a record may go on here that we have not seen
        self._is_switched = False
        self._strict = strict
        self.ended: str | None = None
        self.ended_at: LSN | None = None  # the record, or the page, where that is
        self.version = 0
        if after is not None:
            self._prev, self._skip, self._is_fresh = after.prev, after.skip, False
            if after.missing:
                self._pending = RecordPart.resumed(after, bool(self._wanted))

    @property
    def end(self) -> LSN:
        """Behind the last whole record, or the last byte that was passed over before the first."""
        return LSN(self._end)

    @property
    def last(self) -> LSN:
        """The position of the last whole record; 0/0 before the first."""
        return LSN(self._prev)

    @property
    def joint(self) -> Joint:
        """How the next segment's records follow, once this one ``is_whole``."""
        if self._pending is None:
            return Joint(self._prev, 0, 0, "", 0, self._skip, self.version)
        return self._pending.joint(self._prev, self.version)

    @property
    def is_whole(self) -> bool:
        """Whether all that counts of the segment was fed."""
        segment = self._segment
        return self.is_done or (segment is not None and self._page == segment.end(self._size).value)

    @property
    def is_inside_record(self) -> bool:
        """Whether a record has begun that is not whole yet."""
        return self._pending is not None

    @property
    def is_done(self) -> bool:
        """Whether the rest of this segment says nothing."""
        return self._is_switched or self.ended is not None

    def enter(self, segment: Segment) -> None:
        """Go on with the next segment, which may be on a newer timeline."""
        start = segment.start(self._size).value
        if self._segment is None:
            self._end = start
        elif segment.number != self._segment.number + 1:
            raise ValueError(f"segment {segment.number} does not follow {self._segment.number}")
        elif not self.is_whole:
            self._stop(f"segment {self._segment.name(self._size)} is cut short", self._page)
        self._segment, self._page, self._held, self._is_switched = segment, start, b"", False
        self._pages = PageChecker(self._size, self._system_identifier, segment.timeline, LSN(start))

    def feed(self, piece: BytesLike) -> list[Record]:
        """Take the segment's next bytes; the wanted records that are whole now."""
        found: list[Record] = []
        data = self._held + piece if self._held else bytes(piece)
        whole = len(data) - len(data) % PAGE_SIZE
        for at in range(0, whole, PAGE_SIZE):
            if self.is_done:
                break
            page = data[at : at + PAGE_SIZE]
            offset = self._check_page(page)
            if self.ended is None:
                self._read_page(page, offset, found)
            self._page += PAGE_SIZE
        self._held = data[whole:]
        return found

    def _stop(self, reason: str, position: int) -> None:
        self.ended, self.ended_at = reason, LSN(position)
        self._pending = None

    def _check_page(self, page: bytes) -> int:
        """Check a page and how it joins the one before; where its own bytes begin."""
        is_first = self._page % self._size.nbytes == 0
        if page.startswith(_ZEROS):
            self._stop(f"there are only zeros from {LSN(self._page)} on", self._page)
            return 0
        try:
            self._pages.feed(page)
        except Malformed as error:
            if is_first:
                raise
            self._stop(error.message, self._page)
            return 0
        magic, flags, _, _, remaining = _PAGE.unpack_from(page)
        if is_first:
            self.version = version_of(magic)
        self._join(flags, remaining)
        return LONG_HEADER if flags & LONG else SHORT_HEADER

    def _join(self, flags: int, remaining: int) -> None:
        expected = self._pending.missing if self._pending is not None else self._skip
        if flags & CONTINUES:
            if self._is_fresh and (remaining or not self._strict):
                self._skip = remaining
            elif remaining != expected or not expected:
                self._stop(f"the page of {LSN(self._page)} continues another record", self._page)
        elif remaining and self._strict:
            self._stop(
                f"the page of {LSN(self._page)} continues a record and says that it does not", self._page
            )
        elif expected and flags & OVERWRITTEN:
            self._pending, self._skip = None, 0
        elif expected:
            self._stop(f"the page of {LSN(self._page)} does not continue the record before it", self._page)
        elif flags & OVERWRITTEN and self._strict and not self._is_fresh:
            self._stop(f"the page of {LSN(self._page)} gives up a record and there is none", self._page)
        self._is_fresh = False

    def _read_page(self, page: bytes, offset: int, found: list[Record]) -> None:
        offset = self._pass_rest(page, offset, found)
        base, prev, wanted = self._page, self._prev, self._wanted
        unpack_from = _HEADER.unpack_from
        while offset <= PAGE_SIZE - HEADER and self.ended is None:
            length, xid, its_prev, info, rmgr, crc = unpack_from(page, offset)
            if its_prev != prev or length < HEADER or 21 < rmgr < 128:
                if not self._accepts(base + offset, length, its_prev, rmgr):
                    return
            end = offset + length
            if end > PAGE_SIZE:
                break
            if crc32c(page[offset : offset + 20], crc32c(page[offset + HEADER : end])) != crc:
                self._stop(f"the record at {LSN(base + offset)} has a wrong checksum", base + offset)
                return
            start, offset = offset, end + 7 & ~7
            self._prev = prev = base + start
            self._end = base + offset
            if rmgr in wanted:
                data = page[start + HEADER : end]
                where = (LSN(prev), LSN(self._end), LSN(its_prev))
                found.append(Record(*where, length, xid, info, rmgr, data))
            if rmgr == RM_XLOG and info & 0xF0 == SWITCH:
                self._switch()
                return
        if offset < PAGE_SIZE and self.ended is None:
            self._begin(page, offset)

    def _pass_rest(self, page: bytes, offset: int, found: list[Record]) -> int:
        """Take what the page has of the record that began before it; where the next record begins."""
        if self._pending is not None:
            rest = page[offset : offset + self._pending.missing]
            self._pending.add(rest)
            if not self._pending.missing:
                pending, self._pending = self._pending, None
                self._finish(pending, self._page + (offset + len(rest) + 7 & ~7), found)
        else:
            rest = page[offset : offset + self._skip]
            self._skip -= len(rest)
            if rest:
                self._end = self._page + (offset + len(rest) + 7 & ~7)
        return PAGE_SIZE if self.is_done else offset + len(rest) + 7 & ~7

    def _begin(self, page: bytes, offset: int) -> None:
        """Keep the beginning of a record that goes on on the next page."""
        (length,) = struct.unpack_from("<I", page, offset)
        if self._accepts(self._page + offset, length, None, 0):
            self._pending = RecordPart(self._page + offset, length, bool(self._wanted))
            self._pending.add(page[offset:])

    def _finish(self, pending: RecordPart, end: int, found: list[Record]) -> None:
        length, xid, prev, info, rmgr, crc = _HEADER.unpack_from(pending.header)
        if not self._accepts(pending.position, length, prev, rmgr):
            return
        if crc32c(pending.header[:20], pending.crc) != crc:
            self._stop(f"the record at {LSN(pending.position)} has a wrong checksum", pending.position)
            return
        self._prev, self._end = pending.position, end
        if rmgr in self._wanted:
            where = (LSN(pending.position), LSN(end), LSN(prev))
            found.append(Record(*where, length, xid, info, rmgr, bytes(pending.data)))
        if rmgr == RM_XLOG and info & 0xF0 == SWITCH:
            self._switch()

    def _switch(self) -> None:
        assert self._segment is not None
        self._is_switched = True
        self._end = self._segment.end(self._size).value

    def _accepts(self, position: int, length: int, prev: int | None, rmgr: int) -> bool:
        """Judge a record's header, as far as it is known; of the first record the chain is not."""
        if length == 0:
            self._stop(f"there are only zeros from {LSN(position)} on", position)
        elif not HEADER <= length <= _LONGEST or 21 < rmgr < 128:
            self._stop(f"there is no record at {LSN(position)}", position)
        elif prev is not None and (prev != self._prev if self._prev else prev >= position):
            self._stop(f"the record at {LSN(position)} does not follow the one before it", position)
        return self.ended is None
