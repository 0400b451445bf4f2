"""What the records of one segment say about moments to recover to, in a few values; and those as a document. Pure.

Records count for the segment in which they begin. Whether a segment may hold restore points at all is told
without reading its records, many times faster: few do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from catalog.errors import Malformed
from catalog.lsn import LSN
from catalog.recordtypes import Ending, RestorePoint, Running, ending, restore_point, running
from catalog.sink import BytesLike
from catalog.walpage import LONG, LONG_HEADER, PAGE_SIZE, SHORT_HEADER
from catalog.walrecord import Record

Telling: TypeAlias = Ending | RestorePoint | Running

# A restore point's record as far as it is always the same: its length, info and resource manager, and the length
# of its data. One that is written in a subtransaction may name the transaction above it. Two patterns, because
# one that begins with the same bytes in all cases is searched for many times faster.
_POINTS = (
    re.compile(rb"\x62\0\0\0.{12}\x70\0\0\0.{4}\xff\x48", re.DOTALL),
    re.compile(rb"\x67\0\0\0.{12}\x70\0\0\0.{4}\xfc.{4}\xff\x48", re.DOTALL),
)
_POINT_LENGTHS = (b"\x62\0\0\0", b"\x67\0\0\0")
# Of a pattern all but its last bytes, in steps of eight, on which records lie.
_OVERLAP = 24


@dataclass(frozen=True, slots=True)
class SegmentFacts:
    """The ends of transactions in a segment (how many; the first and the last; the latest time of all), its
    restore points, its first and last list of running transactions.

    ``end`` is up to where there is WAL, ``ended`` why it goes no further, None if nothing is wrong.
    """

    commits: int
    aborts: int
    first: Ending | None
    last: Ending | None
    latest: int | None
    points: tuple[RestorePoint, ...]
    first_running: Running | None
    last_running: Running | None
    end: LSN
    ended: str | None = None


def telling(record: Record, version: int) -> Telling | None:
    """What a record says; None if nothing."""
    return ending(record, version) or restore_point(record) or running(record)


def summed_up(found: Iterable[Telling], end: LSN, ended: str | None) -> SegmentFacts:
    """The facts of a segment in which these records begin."""
    endings: list[Ending] = []
    points: list[RestorePoint] = []
    lists: list[Running] = []
    for each in found:
        if isinstance(each, Ending):
            endings.append(each)
        elif isinstance(each, RestorePoint):
            points.append(each)
        else:
            lists.append(each)
    commits = sum(each.is_commit for each in endings)
    return SegmentFacts(
        commits=commits,
        aborts=len(endings) - commits,
        first=endings[0] if endings else None,
        last=endings[-1] if endings else None,
        latest=max((each.time for each in endings), default=None),
        points=tuple(points),
        first_running=lists[0] if lists else None,
        last_running=lists[-1] if lists else None,
        end=end,
        ended=ended,
    )


class PointFilter:
    """Tells whether a segment may hold restore points: feed it all bytes, then ask ``may_hold``."""

    def __init__(self) -> None:
        self._held = b""
        self._tail = b""
        self._found = False

    def feed(self, piece: BytesLike) -> None:
        """Take the next bytes of the segment."""
        if self._found:
            return
        data = self._held + piece
        whole = len(data) - len(data) % PAGE_SIZE
        stripped = self._tail + b"".join(
            [
                data[at + (LONG_HEADER if data[at + 2] & LONG else SHORT_HEADER) : at + PAGE_SIZE]
                for at in range(0, whole, PAGE_SIZE)
            ]
        )
        self._found = any(match.start() % 8 == 0 for each in _POINTS for match in each.finditer(stripped))
        self._tail, self._held = stripped[-_OVERLAP:], data[whole:]

    def may_hold(self) -> bool:
        """Whether reading the records is worth while; also when one might go on in the next segment."""
        begun = (self._tail[at : at + 4] for at in range(0, len(self._tail), 8))
        return self._found or any(each in _POINT_LENGTHS for each in begun)


def to_document(facts: SegmentFacts) -> dict[str, object]:
    """The facts as JSON has them; subtransactions are left out."""

    def plain(values: Iterable[object] | None) -> list[object] | None:
        if values is None:
            return None
        return [each.value if isinstance(each, LSN) else each for each in values if each != ()]

    return {
        "commits": facts.commits,
        "aborts": facts.aborts,
        "first": plain(facts.first and facts.first._replace(subxids=())),
        "last": plain(facts.last and facts.last._replace(subxids=())),
        "latest": facts.latest,
        "points": [plain(each) for each in facts.points],
        "first_running": plain(facts.first_running),
        "last_running": plain(facts.last_running),
        "end": facts.end.value,
        "ended": facts.ended,
    }


def from_document(document: object) -> SegmentFacts:
    """Read what ``to_document`` made; ``Malformed`` for anything else."""
    try:
        assert isinstance(document, dict)
        return SegmentFacts(
            commits=int(document["commits"]),
            aborts=int(document["aborts"]),
            first=_ending(document["first"]),
            last=_ending(document["last"]),
            latest=None if document["latest"] is None else int(document["latest"]),
            points=tuple(
                RestorePoint(LSN(at), LSN(end), str(n), int(t)) for at, end, n, t in document["points"]
            ),
            first_running=_running(document["first_running"]),
            last_running=_running(document["last_running"]),
            end=LSN(document["end"]),
            ended=None if document["ended"] is None else str(document["ended"]),
        )
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        raise Malformed(f"not the facts of a segment: {error}") from None


def _ending(values: list[int] | None) -> Ending | None:
    if values is None:
        return None
    position, end, xid, time, is_commit = values
    return Ending(LSN(position), LSN(end), int(xid), int(time), bool(is_commit))


def _running(values: list[int] | None) -> Running | None:
    if values is None:
        return None
    position, next_xid, oldest = values
    return Running(LSN(position), int(next_xid), int(oldest))
