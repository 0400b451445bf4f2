"""One segment of WAL, all of it: its pages, and its records in their chain. Pure over pieces of bytes.

More is asked than PostgreSQL asks when it replays: every field of a page's header is judged, the timeline of each
page by the path that leads here, and a new timeline's first record must begin where its history says. So one
changed byte is found wherever it counts. What nothing tells is not: zeros behind the last record, what is behind
a forced switch in its segment (but for page headers), the padding of headers and records, the page flag that
allows to leave out full pages, and of a record that begins or ends where no WAL is held its bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from catalog.errors import Malformed
from catalog.lsn import LSN, SegmentSize
from catalog.timeline import Path
from catalog.walname import Segment
from catalog.walpage import CONTINUES, PAGE_SIZE, PageChecker
from catalog.walrecord import RM_XLOG, Record, RecordReader
from catalog.walrecord_part import Joint

_PAGE = struct.Struct("<HHIQI")


@dataclass(frozen=True, slots=True)
class Fault:
    """Where the first bytes are that are not as they should be, and how."""

    position: LSN
    message: str


@dataclass(frozen=True, slots=True)
class Checked:
    """``joint`` is for the next segment, None behind a fault; ``end`` is behind the last valid record."""

    joint: Joint | None
    end: LSN
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a segment belongs: in a cluster, behind other WAL if ``before`` is known, on a path if that is.

    A ``is_partial`` one may end anywhere.
    """

    segment: Segment
    size: SegmentSize
    system_identifier: int
    before: Joint | None = None
    path: Path | None = None
    is_partial: bool = False

    @property
    def switch(self) -> LSN | None:
        """Where the segment's timeline begins, if that is inside it."""
        begin = None if self.path is None else self.path.legs[-1].begin
        return begin if begin and self.size.number_at(begin) == self.segment.number else None


class SegmentCheck:
    """Takes a segment's bytes piece by piece; ``finish`` says what they are."""

    def __init__(self, place: Place) -> None:
        wanted = None if place.switch else frozenset[int]()
        self._place = place
        self._start = place.segment.start(place.size)
        self._records = RecordReader(
            place.size, place.system_identifier, wanted, place.before, strict=True
        )  # fmt: skip
        self._records.enter(place.segment)
        self._pages = _Pages(place)
        self._fault: Fault | None = None
        self._first_behind: Record | None = None  # the first record that ends behind the switch

    @property
    def is_done(self) -> bool:
        """Whether further bytes change nothing."""
        return self._fault is not None

    def feed(self, piece: bytes) -> None:
        """Judge the next bytes."""
        if self._fault is not None:
            return
        try:
            self._see(self._records.feed(piece))
        except Malformed as error:
            self._fault = Fault(self._start, error.message)
            return
        ended_at = self._records.ended_at
        if self._place.is_partial:
            self._fault = self._pages.goes_on(piece, ended_at)
            return
        faults = [self._pages.feed(piece)]
        if ended_at is not None:
            faults.append(Fault(ended_at, self._records.ended or ""))
        self._fault = min(filter(None, faults), key=lambda each: each.position, default=None)

    def finish(self) -> Checked:
        """All was fed."""
        records = self._records
        fault = self._fault or self._other_version() or self._wrong_switch()
        joint = records.joint if fault is None and records.ended is None else None
        return Checked(joint, records.end, fault)

    def _see(self, found: list[Record]) -> None:
        switch = self._place.switch
        if switch is not None and self._first_behind is None:
            self._first_behind = next((each for each in found if each.end > switch), None)

    def _other_version(self) -> Fault | None:
        before, version = self._place.before, self._records.version
        if before is None or version in (0, before.version):
            return None
        return Fault(self._start, f"it is of PostgreSQL {version}, and what is before it of {before.version}")

    def _wrong_switch(self) -> Fault | None:
        """A timeline begins with a record about the WAL itself, right where the one before was left."""
        switch, first = self._place.switch, self._first_behind
        if switch is None or self._place.is_partial:
            return None
        if first is None and self._records.is_inside_record:
            return None  # it ends in the next segment
        if first is not None and first.rmgr == RM_XLOG and first.position >= switch:
            return None
        timeline = self._place.segment.timeline
        return Fault(switch, f"timeline {timeline} does not begin at {switch}, as its history says")


class _Pages:
    """The headers of all pages of a segment, those that say nothing of records too."""

    def __init__(self, place: Place) -> None:
        start = place.segment.start(place.size)
        self._checker = PageChecker(place.size, place.system_identifier, place.segment.timeline, start)
        self._path = place.path
        self._position = start.value
        self._held = b""

    def feed(self, piece: bytes) -> Fault | None:
        """The first page that is wrong."""
        for position, page in self._whole(piece):
            try:
                self._checker.feed(page)
            except Malformed as error:
                return Fault(LSN(position), error.message)
            if (wrong := self._own(position, page)) is not None:
                return Fault(LSN(position), wrong)
        return None

    def goes_on(self, piece: bytes, ended_at: LSN | None) -> Fault | None:
        """Behind the end of an incomplete segment's records there may be anything but the next pages."""
        for position, page in self._whole(piece):
            if ended_at is None or position <= ended_at.value:
                continue
            magic, _, timeline, address, _ = _PAGE.unpack_from(page)
            if address == position and magic and timeline:
                message = f"the records end here, but the WAL goes on at {LSN(position)}"
                return Fault(ended_at, message)
        return None

    def _own(self, position: int, page: bytes) -> str | None:
        """What ``PageChecker`` does not ask."""
        magic, flags, timeline, _, remaining = _PAGE.unpack_from(page)
        if not magic:
            return None
        if remaining and not flags & CONTINUES:
            return f"the page of {LSN(position)} continues a record and says that it does not"
        if self._path is not None and timeline != self._path.timeline_at(LSN(position)):
            right = self._path.timeline_at(LSN(position))
            return f"the page of {LSN(position)} says timeline {timeline}, not {right}"
        return None

    def _whole(self, piece: bytes) -> Iterator[tuple[int, bytes]]:
        data = self._held + piece if self._held else piece
        whole = len(data) - len(data) % PAGE_SIZE
        self._held = data[whole:]
        for at in range(0, whole, PAGE_SIZE):
            yield self._position, data[at : at + PAGE_SIZE]
            self._position += PAGE_SIZE
