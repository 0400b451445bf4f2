"""The WAL along a path, wherever it is held, as the ``Log`` that targets are searched in.

Segments are read from the repository, the spool and the backup itself, as a recovery would get them. What is
found is kept in memory and, of segments in the WAL archive, in the server's ``state/``. Bytes that are no WAL end
the log; trouble in reading is raised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

from backup.fetch import WalSource
from catalog import layout
from catalog.commits import PointFilter, SegmentFacts, Telling, summed_up, telling
from catalog.commits_cache import CommitsCache, StoredFile
from catalog.decoding import split_suffix
from catalog.errors import Absent, Corrupt, Malformed
from catalog.lsn import LSN
from catalog.recordtypes import TELLING, Ending, RestorePoint
from catalog.repository import Repository
from catalog.repository_identity import RepositoryIdentity
from catalog.timeline import Path
from catalog.walname import Segment
from catalog.walpage import PAGE_SIZE
from catalog.walrecord import Record, RecordReader

PIECE = 1 << 20
# The end of a record that goes on in the next segment is near; no more than that is to be read.
_SHORT_PIECE = 8 * PAGE_SIZE


class ArchivedFiles:
    """Which files of the WAL archive hold segments, a directory at a time, as they are first asked for."""

    def __init__(self, repository: Repository) -> None:
        self._storage = repository.storage
        self._listed: dict[str, dict[str, StoredFile | None]] = {}

    def file_of(self, segment: str) -> StoredFile | None:
        """The file of a segment; None if there is none, or more than one."""
        directory = segment[:16]
        if directory not in self._listed:
            found: dict[str, StoredFile | None] = {}
            for name, size in self._storage.sizes(f"{layout.WALS}/{directory}"):
                stem = split_suffix(name)[0]
                found[stem] = StoredFile(name, size) if stem not in found else None
            self._listed[directory] = found
        return self._listed[directory].get(segment)


class StoredWal:
    """All WAL that is held of a server, incomplete segments only with ``partial``.

    ``on_read`` gets the bytes that were read so far.
    """

    def __init__(
        self,
        repository: Repository,
        home: str,
        *,
        partial: bool,
        on_read: Callable[[int], None] = lambda nbytes: None,
    ) -> None:
        self._repository = repository
        self._on_read = on_read
        self._read = 0
        self._home = home
        self._partial = partial
        self._cache = CommitsCache(home)
        self._files = ArchivedFiles(repository)

    def along(self, path: Path, first: int, last: int, backup_id: str) -> WalLog:
        """Segments ``first`` to ``last`` of a path, as a recovery from a backup gets them."""
        source = WalSource(
            self._repository.root,
            self._home,
            partial=self._partial,
            backup_id=backup_id,
            identities=self._repository.identities,
        )
        identity = self._repository.identity
        return WalLog(source, identity, path, (first, last), self._files, self._cache, self._count)

    def save(self) -> None:
        """Keep what was found for the next time."""
        self._cache.save(self._repository.wal.directories())

    def _count(self, nbytes: int) -> None:
        self._read += nbytes
        self._on_read(self._read)


class WalLog:
    """Segments ``first`` to ``last`` of a path; see ``catalog.search.Log``."""

    def __init__(
        self,
        source: WalSource,
        identity: RepositoryIdentity,
        path: Path,
        bounds: tuple[int, int],
        files: ArchivedFiles,
        cache: CommitsCache,
        on_bytes: Callable[[int], None],
    ) -> None:
        self.first, self.last = bounds
        self.identity = identity
        self._source = source
        self._path = path
        self._files = files
        self._cache = cache
        self._on_bytes = on_bytes
        self._facts: dict[int, SegmentFacts] = {}
        self._found: tuple[int, list[Telling]] = (-1, [])  # of the segment that was read last

    def first_ending(self, number: int) -> Ending | None:
        """The first end of a transaction in a segment; read no further than to that."""
        facts = self._known(number)
        if facts is not None:
            return facts.first
        scan = _Scan(self, number)
        found: list[Telling] = []
        for each in scan.telling():
            if isinstance(each, Ending):
                return each
            found.append(each)
        return self._take(number, scan, found).first

    def facts(self, number: int) -> SegmentFacts:
        """All that the records of a segment say."""
        return self._known(number) or self._read(number)

    def telling(self, number: int) -> list[Telling]:
        """What the records that begin in a segment say, in order."""
        if self._found[0] != number:
            self._read(number)
        return self._found[1]

    def points(self, number: int) -> tuple[RestorePoint, ...]:
        """The restore points of a segment; its records are only read if it may have some."""
        if self._known(number) is None and not self._may_have_points(number):
            return ()
        return self.facts(number).points

    def record_behind(self, position: LSN) -> LSN | None:
        """Behind the first record that begins at or behind a position, in the segment where it ends; or None."""
        reader = RecordReader(self.identity.wal_segment_size, self.identity.system_identifier, frozenset())
        try:
            for number in range(self.identity.wal_segment_size.number_at(position), self.last + 1):
                reader.enter(self.segment(number))
                for piece in self.pieces(number, PIECE):
                    reader.feed(piece)
                    if reader.last >= position:
                        return reader.end
                    if reader.is_done:
                        break
        except (Malformed, Absent):
            pass  # the log ends there
        return None

    def last_record(self) -> LSN | None:
        """Where the last whole record of the log begins; None if there is none, or it cannot be read."""
        for first in range(self.last, self.first - 1, -1):
            reader = RecordReader(
                self.identity.wal_segment_size, self.identity.system_identifier, frozenset()
            )
            try:
                for number in range(first, self.last + 1):
                    reader.enter(self.segment(number))
                    for piece in self.pieces(number, PIECE):
                        reader.feed(piece)
                        if reader.is_done:
                            break
            except (Malformed, Absent):
                pass  # the log ends there
            if reader.last:
                return reader.last
        return None

    def segment(self, number: int) -> Segment:
        """The segment of that number on the path."""
        return Segment(self._path.timeline_of(number, self.identity.wal_segment_size), number)

    def name(self, number: int) -> str:
        """Its name."""
        return self.segment(number).name(self.identity.wal_segment_size)

    def pieces(self, number: int, nbytes: int) -> Iterator[bytes]:
        """The bytes of a segment; ``Absent`` or ``Malformed`` where there are none, or damaged ones."""
        with closing(self._source.open(self.name(number))) as reader:
            while piece := reader.read(nbytes):
                self._on_bytes(len(piece))
                yield piece

    def _read(self, number: int) -> SegmentFacts:
        scan = _Scan(self, number)
        return self._take(number, scan, list(scan.telling()))

    def _take(self, number: int, scan: _Scan, found: list[Telling]) -> SegmentFacts:
        """Sum up what was read of a whole segment."""
        facts = summed_up(found, scan.end, scan.ended)
        self._found, self._facts[number] = (number, found), facts
        file, behind = self._file_of(number), self._file_of(number + 1)
        # What depends on a file that will yet change is not kept, nor what a repaired one would change.
        if file is not None and scan.is_complete and (behind is not None or not scan.went_on):
            self._cache.keep(self.name(number), file, behind if scan.went_on else None, facts)
        return facts

    def _known(self, number: int) -> SegmentFacts | None:
        if number not in self._facts:
            file = self._file_of(number)
            kept = file and self._cache.facts(self.name(number), file, self._file_of(number + 1))
            if not kept:
                return None
            self._facts[number] = kept
        return self._facts[number]

    def _may_have_points(self, number: int) -> bool:
        file, name = self._file_of(number), self.name(number)
        if file is not None and self._cache.has_no_points(name, file):
            return False
        points = PointFilter()
        try:
            for piece in self.pieces(number, PIECE):
                points.feed(piece)
        except (Malformed, Absent):
            return True  # reading the records tells where they end
        if file is not None and not points.may_hold():
            self._cache.keep_no_points(name, file)
        return points.may_hold()

    def _file_of(self, number: int) -> StoredFile | None:
        """The file of the WAL archive that holds a segment of this log."""
        return self._files.file_of(self.name(number)) if self.first <= number <= self.last else None


class _Scan:
    """One reading of the records that begin in a segment; what it found of its end is known afterwards.

    ``went_on``: a record went on in the next segment. ``is_complete``: all records that begin here were read.
    """

    def __init__(self, log: WalLog, number: int) -> None:
        identity = log.identity
        self._log = log
        self._number = number
        self._boundary = log.segment(number).end(identity.wal_segment_size)
        self._reader = RecordReader(identity.wal_segment_size, identity.system_identifier, TELLING)
        self.went_on = False
        self.ended: str | None = None

    @property
    def end(self) -> LSN:
        return self._reader.end

    @property
    def is_complete(self) -> bool:
        return self.ended is None and (self._is_beyond or not self._reader.is_inside_record)

    @property
    def _is_beyond(self) -> bool:
        """Whether a record was read that ends in the next segment, or the end of this one was reached."""
        return self._reader.end >= self._boundary

    def telling(self) -> Iterator[Telling]:
        """What the records say; damage ends it."""
        try:
            for record in self._records():
                if (found := telling(record, self._reader.version)) is not None:
                    yield found
        except (Malformed, Absent) as error:
            self.ended = error.message

    def _records(self) -> Iterator[Record]:
        reader, number = self._reader, self._number
        reader.enter(self._log.segment(number))
        for piece in self._log.pieces(number, PIECE):
            yield from reader.feed(piece)
            if reader.is_done:
                break
        if not reader.is_whole:
            raise Corrupt(f"segment {self._log.name(number)} is cut short")
        while reader.is_inside_record and not self._is_beyond and number < self._log.last:
            number += 1
            self.went_on = True
            reader.enter(self._log.segment(number))
            for piece in self._log.pieces(number, _SHORT_PIECE):
                yield from (each for each in reader.feed(piece) if each.position < self._boundary)
                if self._is_beyond or reader.is_done:
                    break
        if not self._is_beyond:
            self.ended = reader.ended
