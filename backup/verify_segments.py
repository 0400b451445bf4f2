"""The WAL that a backup needs, segment by segment: there, whole, and its pages in their places.

Segments are looked for on a path of timelines that leads through the backup, on the WAL shelf and, for what
is stored with the backup itself, beside its record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from catalog import layout
from catalog.coverage import Holdings, carries, missing
from catalog.decoding import split_suffix
from catalog.errors import Absent, Corrupt, Malformed, StorageError, WalstreamError
from catalog.lsn import SegmentSize
from catalog.record import BackupRecord
from catalog.repository import Repository
from catalog.sink import PIECE, Reader
from catalog.timeline import Path
from catalog.walname import Segment
from catalog.walpage import PAGE_SIZE, PageChecker

_HINT = "if the server still has that WAL, let receive-wal fetch it; else take another backup"


@dataclass(frozen=True, slots=True)
class SegmentCheck:
    """One segment, by its name or its place beside the record, and what is wrong with it, if anything."""

    what: str
    error: WalstreamError | None = None


def check_segments(
    repository: Repository, record: BackupRecord, holdings: Holdings, on_bytes: Callable[[int], None]
) -> list[SegmentCheck]:
    """Check every segment of a backup's span, and everything in its ``wal/``."""
    checks = []
    path = _path(record, holdings)
    if path is None:
        history = Corrupt(f"no history of timeline {record.end.timeline} leads through the backup", _HINT)
        checks.append(SegmentCheck("timeline", history))
    own = {split_suffix(name)[0] for name in repository.backups.wal_names(record.id)}
    for segment in _segments(record, path):
        name = segment.name(record.wal_segment_size)
        checks.append(_check_stored(repository, record, segment, name in own, on_bytes))
    for name in sorted(own):
        checks.append(_check_own(repository, record, name, on_bytes))
    return checks


def stored_keys(repository: Repository, record: BackupRecord, holdings: Holdings) -> list[str] | None:
    """Where everything lies that ``check_segments`` reads; None when some of it is missing."""
    path = _path(record, holdings)
    if path is None:
        return None
    stored = sorted(repository.backups.wal_names(record.id))
    keys = [layout.backup_wal_key(record.id, name) for name in stored]
    own = {split_suffix(name)[0] for name in stored}
    for segment in _segments(record, path):
        name = segment.name(record.wal_segment_size)
        try:
            keys.append(repository.wal.key(name))
        except Absent:
            if name not in own:
                return None
    return keys


def _segments(record: BackupRecord, path: Path | None) -> Iterator[Segment]:
    """The segments of a backup's span, on the path; without one, on the timeline of the end."""
    size = record.wal_segment_size
    for number in range(record.first_segment.number, record.last_segment.number + 1):
        yield Segment(record.end.timeline if path is None else path.timeline_of(number, size), number)


def _path(record: BackupRecord, holdings: Holdings) -> Path | None:
    """The path through the backup of whose WAL the least is missing."""
    inventory, size = holdings.inventory_for(record), holdings.size
    first, last = record.first_segment.number, record.last_segment.number

    def absent(path: Path) -> int:
        return sum(map(len, missing(path, inventory, first, last, size)))

    paths = [path for path in holdings.paths().values() if carries(path, record)]
    return min(paths, key=absent, default=None)


def _check_stored(
    repository: Repository,
    record: BackupRecord,
    segment: Segment,
    is_own: bool,
    on_bytes: Callable[[int], None],
) -> SegmentCheck:
    name = segment.name(record.wal_segment_size)
    try:
        reader = repository.wal.open(name)
    except Absent:
        # What is stored with the backup is checked for itself.
        return SegmentCheck(name, None if is_own else Corrupt("the segment is missing", _HINT))
    return SegmentCheck(name, _read(reader, record, segment, on_bytes))


def _check_own(
    repository: Repository, record: BackupRecord, name: str, on_bytes: Callable[[int], None]
) -> SegmentCheck:
    what = f"wal/{name}"
    try:
        segment = Segment.parse(name, record.wal_segment_size)
        reader = repository.backups.wal(record.id, name)
    except Malformed as error:
        return SegmentCheck(what, error)
    except Absent:
        return SegmentCheck(what, Corrupt("it is stored under a name that cannot be read", _HINT))
    return SegmentCheck(what, _read(reader, record, segment, on_bytes))


def _read(
    reader: Reader, record: BackupRecord, segment: Segment, on_bytes: Callable[[int], None]
) -> WalstreamError | None:
    """Decode a segment to its end; what is wrong with it."""
    try:
        _check_bytes(reader, record, segment, on_bytes)
    except (Malformed, StorageError) as error:
        return error
    finally:
        reader.close()
    return None


def _check_bytes(
    reader: Reader, record: BackupRecord, segment: Segment, on_bytes: Callable[[int], None]
) -> None:
    size = record.wal_segment_size
    start = segment.start(size)
    checker = PageChecker(size, record.system_identifier, segment.timeline, start)
    last_page = _LastPage(record, segment)
    total = 0
    for piece in whole_segment(iter(lambda: reader.read(4 * PIECE), b""), size):
        checker.feed(piece)
        last_page.see(piece, total)
        total += len(piece)
        on_bytes(len(piece))
    last_page.require()


def whole_segment(pieces: Iterable[bytes], size: SegmentSize) -> Iterator[bytes]:
    """The same pieces; ``Corrupt`` unless they are as long as a segment together."""
    total = 0
    for piece in pieces:
        total += len(piece)
        if total > size.nbytes:
            raise Corrupt(f"the segment has more than {size.nbytes} bytes", _HINT)
        yield piece
    if total != size.nbytes:
        raise Corrupt(f"the segment has {total} bytes instead of {size.nbytes}", _HINT)


class _LastPage:
    """Watches whether the page that holds the last byte of a backup's span was ever written."""

    def __init__(self, record: BackupRecord, segment: Segment) -> None:
        self._end = record.end.lsn
        self._at: int | None = None
        self._written = False
        if segment.number == record.last_segment.number:
            offset = record.end.lsn.value - 1 - segment.start(record.wal_segment_size).value
            self._at = offset // PAGE_SIZE * PAGE_SIZE

    def see(self, piece: bytes, begin: int) -> None:
        """A piece of the segment, from an offset on; the first two bytes of a page are its magic."""
        if self._at is not None:
            offset = self._at - begin
            self._written |= any(piece[max(offset, 0) : max(offset + 2, 0)])

    def require(self) -> None:
        if self._at is not None and not self._written:
            raise Corrupt(f"the segment ends before the end of the backup ({self._end})", _HINT)
