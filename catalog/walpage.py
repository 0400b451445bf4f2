"""WAL page headers: does a segment's beginning match its name, do streamed pages follow each other?

Every page of 8192 bytes begins with a header of 24 bytes, the first page of a segment with one of
40 (PostgreSQL: ``XLogPageHeaderData`` and ``XLogLongPageHeaderData`` in ``xlog_internal.h``). The byte
order is the server's; only little-endian is known here. Records are not looked at. On the path
of ``get-wal``.
"""

from __future__ import annotations

import struct

from catalog.errors import Malformed
from catalog.lsn import LSN
from catalog.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from catalog.lsn import SegmentSize
    from catalog.sink import BytesLike
    from catalog.walname import Segment

PAGE_SIZE = 8192
SHORT_HEADER = 24
LONG_HEADER = 40

CONTINUES = 1
LONG = 2
REMOVABLE = 4
OVERWRITTEN = 8

_VERSIONS = {0xD106: 13, 0xD10D: 14, 0xD110: 15, 0xD113: 16, 0xD116: 17, 0xD118: 18}
_NEVER = 0xFFFF & ~(CONTINUES | LONG | REMOVABLE | OVERWRITTEN)
_NOT_LATER = _NEVER | LONG
_SHORT = struct.Struct("<HHIQI4x")
_LONG = struct.Struct("<HHIQI4xQII")
# Magic, flags, timeline, position: all that is checked on most pages, so no more is waited for.
_START = struct.Struct("<HHIQ")

_FOREIGN = "this WAL was written by another cluster"
_RENAMED = "the bytes are older than their place, or of another file: fetch the segment again from the server"


class PageHeader(Value):
    """The header of one WAL page; the last three fields are None when it is a short one."""

    __slots__ = (
        "flags",
        "magic",
        "page_size",
        "position",
        "remaining",
        "segment_size",
        "system_identifier",
        "timeline",
    )
    magic: int
    flags: int
    timeline: int
    position: LSN
    remaining: int
    system_identifier: int | None
    segment_size: int | None
    page_size: int | None

    def __init__(
        self,
        magic: int,
        flags: int,
        timeline: int,
        position: LSN,
        remaining: int,
        system_identifier: int | None = None,
        segment_size: int | None = None,
        page_size: int | None = None,
    ) -> None:
        long_part = (system_identifier, segment_size, page_size)
        self._set(magic, flags, timeline, position, remaining, *long_part)

    @classmethod
    def parse(cls, data: BytesLike) -> PageHeader:
        """Read the header that ``data`` begins with, long or short as its flags say; judges nothing."""
        size = memoryview(data).nbytes
        if size < SHORT_HEADER:
            raise Malformed(f"a WAL page header has {SHORT_HEADER} bytes, not {size}")
        magic, flags, timeline, position, remaining = _SHORT.unpack_from(data)
        if not flags & LONG:
            return cls(magic, flags, timeline, LSN(position), remaining)
        if size < LONG_HEADER:
            raise Malformed(f"a long WAL page header has {LONG_HEADER} bytes, not {size}")
        *_, system_identifier, segment_size, page_size = _LONG.unpack_from(data)
        long_part = (system_identifier, segment_size, page_size)
        return cls(magic, flags, timeline, LSN(position), remaining, *long_part)


def version_of(magic: int) -> int:
    """The major version of PostgreSQL that writes pages with this magic; ``Malformed`` for any other."""
    try:
        return _VERSIONS[magic]
    except KeyError:
        message = f"not a WAL page of PostgreSQL 13 to 18: its magic is 0x{magic:04X}"
        raise Malformed(message, "the bytes are no WAL, are damaged, or come from another version") from None


def check_first_page(
    data: BytesLike, segment: Segment, size: SegmentSize, system_identifier: int | None = None
) -> PageHeader:
    """Read the beginning of a segment and raise ``Malformed`` where it does not match the segment's name.

    At least 40 bytes are needed. The timeline may be an ancestor's: after a switch inside a segment the new
    timeline's copy begins with the old one's pages.
    """
    name = segment.name(size)
    if memoryview(data).nbytes < LONG_HEADER:
        raise Malformed(f"segment {name} is cut short: {memoryview(data).nbytes} bytes", _RENAMED)
    header = PageHeader.parse(data)
    _check_first(header, segment.start(size), segment.timeline, size, system_identifier)
    return header


def _check_first(
    header: PageHeader, position: LSN, timeline: int, size: SegmentSize, system_identifier: int | None
) -> None:
    version_of(header.magic)
    if not header.flags & LONG or header.flags & _NEVER:
        raise Malformed(f"the first page of a segment at {position} has the flags 0x{header.flags:04X}")
    if header.position != position:
        raise Malformed(f"the WAL page of {position} says that it is the one of {header.position}", _RENAMED)
    if not 0 < header.timeline <= timeline:
        raise Malformed(
            f"the WAL page of {position} on timeline {timeline} says timeline {header.timeline}", _RENAMED
        )
    if header.segment_size != size.nbytes or header.page_size != PAGE_SIZE:
        raise Malformed(
            f"the segment at {position} says that it has {header.segment_size} bytes in pages of "
            f"{header.page_size}, not {size.nbytes} in pages of {PAGE_SIZE}",
            _FOREIGN,
        )
    if system_identifier is not None and header.system_identifier != system_identifier:
        raise Malformed(
            f"the segment at {position} is of the cluster with system identifier "
            f"{header.system_identifier}, not {system_identifier}",
            _FOREIGN,
        )


class PageChecker:
    """Checks the page headers of one stream of WAL while its bytes pass.

    ``feed`` gets consecutive pieces, cut anywhere, from any position on; started inside a page it begins
    with the next one. A piece is judged before it returns, so the caller writes what did not raise; only of
    a header that is split between pieces (at most 40 bytes, which are kept) the first part passes unjudged.

    Checked are magic (the same all along), flags, position, timeline (never falling, never above the
    stream's), and on first pages segment size, page size and system identifier. Pages of zeros are the tail
    of a segment behind a forced switch: once one was seen, all that follow in the segment must be so.
    """

    def __init__(self, size: SegmentSize, system_identifier: int, timeline: int, position: LSN) -> None:
        self._size = size
        self._system_identifier = system_identifier
        self._highest = timeline
        self._lowest = 0  # the timeline and magic of the page before; 0 until there was one
        self._magic = 0
        self._in_tail = False
        self._position = position.value
        self._page = -(-position.value // PAGE_SIZE) * PAGE_SIZE
        self._held = bytearray()

    @property
    def position(self) -> LSN:
        """Behind the last byte that was fed."""
        return LSN(self._position)

    def feed(self, piece: BytesLike) -> None:
        """Check the headers in ``piece``; an object that raised ``Malformed`` is of no further use."""
        end = self._position + len(piece)
        if end <= self._page:  # most pieces that one commit makes: all behind a header, before the next
            self._position = end
            return
        if self._held:
            begin = self._position - len(self._held)
            wanted = self._header_size() - len(self._held)
            self._held += memoryview(piece)[:wanted]
            self._check(self._held, begin)
            if self._page > begin:
                self._held = bytearray()
        if not self._held:
            self._check(piece, self._position)
            if self._page < end:
                self._held += memoryview(piece)[self._page - end :]
        self._position = end

    def _header_size(self) -> int:
        return _START.size if self._page % self._size.nbytes else LONG_HEADER

    def _check(self, data: BytesLike, begin: int) -> None:
        """Check each page whose header lies wholly in ``data``, the bytes from position ``begin`` on."""
        end = begin + len(data)
        while self._page + self._header_size() <= end:
            if self._page % self._size.nbytes == 0:
                self._check_first_page(data, self._page - begin)
            next_segment = (self._page // self._size.nbytes + 1) * self._size.nbytes
            self._check_pages(data, begin, min(end - _START.size + 1, next_segment))

    def _check_first_page(self, data: BytesLike, offset: int) -> None:
        header = PageHeader.parse(memoryview(data)[offset : offset + LONG_HEADER])
        _check_first(header, LSN(self._page), self._highest, self._size, self._system_identifier)
        self._in_tail = False
        self._follow(header.magic, header.timeline, self._page)
        self._page += PAGE_SIZE

    def _check_pages(self, data: BytesLike, begin: int, stop: int) -> None:
        """Check the pages that begin before ``stop``, none of them a segment's first; must be fast."""
        unpack_from, magic, lowest = _START.unpack_from, self._magic, self._lowest
        in_tail = self._in_tail
        pages = range(self._page, stop, PAGE_SIZE)
        for page in pages:
            its_magic, flags, timeline, position = unpack_from(data, page - begin)
            if position != page or its_magic != magic or timeline != lowest or flags & _NOT_LATER or in_tail:
                self._check_other(its_magic, flags, timeline, position, page)
                magic, lowest, in_tail = self._magic, self._lowest, self._in_tail
        self._page += len(pages) * PAGE_SIZE

    def _check_other(self, magic: int, flags: int, timeline: int, position: int, page: int) -> None:
        """Judge a page that is not simply like the one before."""
        if not (magic or flags or timeline or position):
            self._in_tail = True
            return
        if self._in_tail:
            raise Malformed(f"the WAL page of {LSN(page)} has content behind a page of zeros", _RENAMED)
        if position != page:
            raise Malformed(
                f"the WAL page of {LSN(page)} says that it is the one of {LSN(position)}", _RENAMED
            )
        if flags & _NOT_LATER:
            raise Malformed(f"the WAL page of {LSN(page)} has the flags 0x{flags:04X}")
        self._follow(magic, timeline, page)

    def _follow(self, magic: int, timeline: int, page: int) -> None:
        version = version_of(magic)
        if self._magic and magic != self._magic:
            raise Malformed(f"the WAL page of {LSN(page)} is of PostgreSQL {version}, the one before is not")
        if not max(self._lowest, 1) <= timeline <= self._highest:
            raise Malformed(
                f"the WAL page of {LSN(page)} says timeline {timeline}, between pages of timeline "
                f"{self._lowest} and {self._highest}",
                _RENAMED,
            )
        self._magic, self._lowest = magic, timeline
