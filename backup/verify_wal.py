"""The WAL archive walked end to end: every stored segment read, and its records chained to those before it.

Timelines are taken in order, and each run of segments on them; a timeline's first segment follows the one of the
timeline that it branched off. Behind a fault the next segment is read for itself, so every damaged segment is
found. Memory stays flat; problems beyond ``MOST`` are counted only. Holes, and what else a listing shows, are the
caller's to ask for. Changes nothing but the notes of what was found good.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from backup.ahead import pieces_ahead
from backup.segment_check import Checked, Fault, Place, SegmentCheck
from backup.verified_wal import VerifiedWal
from backup.verify_segments import whole_segment
from backup.wal_listing import StoredNames, WalProblem
from catalog import layout
from catalog.coverage import Holdings
from catalog.decoding import decoder, split_suffix
from catalog.errors import Absent, IdentityError, Malformed, StorageError
from catalog.inventory import Run
from catalog.lsn import LSN
from catalog.repository import Repository
from catalog.timeline import Path
from catalog.walname import Segment
from catalog.walrecord_part import Joint

MOST = 1000


@dataclass(frozen=True, slots=True)
class PartialEnd:
    """Where the valid records of an incomplete segment end."""

    file: str
    end: LSN


@dataclass
class WalReport:
    """What was read: segments (``skipped`` ones were known to be good), and their bytes, decoded.

    ``count`` is the number of all problems, ``problems`` has the first of them.
    """

    segments: int = 0
    skipped: int = 0
    partials: list[PartialEnd] = field(default_factory=list)
    nbytes: int = 0
    seconds: float = 0.0
    count: int = 0
    problems: list[WalProblem] = field(default_factory=list)

    def add(self, problem: WalProblem) -> None:
        """Note a problem, or only that there is one more."""
        self.count += 1
        if len(self.problems) < MOST:
            self.problems.append(problem)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Segments by number, both included; None is open."""

    first: int | None = None
    last: int | None = None

    def cut(self, run: Run) -> Run | None:
        """What of a run is inside, if anything is."""
        first = run.first if self.first is None else max(run.first, self.first)
        last = run.last if self.last is None else min(run.last, self.last)
        return Run(run.timeline, first, last) if first <= last else None

    def has(self, number: int) -> bool:
        """Whether a segment is inside."""
        return self.cut(Run(1, number, number)) is not None


def verify_wal(
    repository: Repository,
    holdings: Holdings,
    known: VerifiedWal,
    bounds: Bounds | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> WalReport:
    """Read all that ``holdings`` lists of the archive, within ``bounds``.

    ``on_progress`` is told the decoded bytes so far, and how many there are to read as far as is known. What was
    found good is in ``known`` even when this is interrupted.
    """
    walk = _Walk(repository, holdings, known, bounds or Bounds(), on_progress)
    try:
        return walk.run()
    finally:
        known.save()


class _Walk:
    """One walk; ``_joints`` are the ends of segments that another run, or a partial segment, follows."""

    def __init__(
        self,
        repository: Repository,
        holdings: Holdings,
        known: VerifiedWal,
        bounds: Bounds,
        on_progress: Callable[[int, int], None],
    ) -> None:
        self._repository = repository
        self._size = holdings.size
        self._inventory = holdings.inventory
        self._paths = holdings.paths()
        self._known = known
        self._on_progress = on_progress
        self._report = WalReport()
        runs = (bounds.cut(run) for spans in self._inventory.runs.values() for run in spans)
        self._runs = sorted(run for run in runs if run is not None)
        self._partials = sorted(each for each in self._inventory.partials if bounds.has(each.number))
        self._total = (sum(map(len, self._runs)) + len(self._partials)) * self._size.nbytes
        begins = [Segment(run.timeline, run.first) for run in self._runs] + self._partials
        self._wanted = {self._before(each) for each in begins}
        self._joints: dict[Segment, Joint] = {}
        self._stored = StoredNames(repository)

    def run(self) -> WalReport:
        began = time.monotonic()
        for run in self._runs:
            joint = self._joints.get(self._before(Segment(run.timeline, run.first)))
            for number in range(run.first, run.last + 1):
                segment = Segment(run.timeline, number)
                joint = self._complete(segment, joint)
                if joint is not None and segment in self._wanted:
                    self._joints[segment] = joint
        for segment in self._partials:
            self._partial(segment)
        self._report.seconds = time.monotonic() - began
        return self._report

    def _before(self, segment: Segment) -> Segment:
        """The segment that one follows on the path to its timeline."""
        number = max(segment.number - 1, 0)
        path = self._path_of(segment)
        return Segment(path.timeline_of(number, self._size) if path else segment.timeline, number)

    def _path_of(self, segment: Segment) -> Path | None:
        path = self._paths.get(segment.timeline)
        return path if path is not None and path.counts(segment, self._size) else None

    def _complete(self, segment: Segment, before: Joint | None) -> Joint | None:
        """Read a segment, unless it is known; how the next one follows."""
        name = segment.name(self._size)
        path = self._path_of(segment)
        for file in self._stored.of(name):
            key = f"{layout.wal_directory(name)}/{file}"
            try:
                stamp = f"{file} {self._repository.storage.stamp(key)} {path}"
                if (joint := self._known.joint(name, stamp, before)) is not None:
                    self._skip()
                    return joint
                place = Place(segment, self._size, self._repository.identity.system_identifier, before, path)
                checked = self._read(key, file, place)
            except Absent:
                break  # it was removed since it was listed
            self._report.segments += 1
            if checked is not None and checked.joint is not None:
                self._known.keep(name, stamp, before, checked.joint)
                return checked.joint
            return None
        self._total -= self._size.nbytes
        return None

    def _partial(self, segment: Segment) -> None:
        name = f"{segment.name(self._size)}.partial"
        before = self._joints.get(self._before(segment))
        identifier = self._repository.identity.system_identifier
        place = Place(segment, self._size, identifier, before, self._path_of(segment), is_partial=True)
        for file in self._stored.of(name):
            try:
                checked = self._read(f"{layout.wal_directory(name)}/{file}", file, place)
            except Absent:
                continue
            if checked is not None:
                self._report.partials.append(PartialEnd(file, checked.end))

    def _skip(self) -> None:
        self._report.skipped += 1
        self._total -= self._size.nbytes

    def _read(self, key: str, file: str, place: Place) -> Checked | None:
        """Read a file to its end, or its first fault; None when it cannot be read so far."""
        check = SegmentCheck(place)
        identities = self._repository.identities
        stored = self._repository.storage.read(key)
        reader = decoder(stored, split_suffix(file)[1], identities, f"the stored {file!r}")
        begin = self._report.nbytes
        try:
            with pieces_ahead(reader) as pieces:
                for piece in whole_segment(pieces, self._size):
                    check.feed(piece)
                    self._report.nbytes += len(piece)
                    self._on_progress(self._report.nbytes, max(self._total, self._report.nbytes))
                    if check.is_done:
                        break
        except (Malformed, StorageError, IdentityError) as error:
            if isinstance(error, IdentityError) and not (identities and identities.all()):
                raise  # nothing that is encrypted can be read
            offset = self._report.nbytes - begin
            position = place.segment.start(self._size) + offset
            self._report.add(WalProblem(file, error.message, position, offset))
            return None
        checked = check.finish()
        if checked.fault is not None:
            self._report.add(self._problem(file, place.segment, checked.fault))
        return checked

    def _problem(self, file: str, segment: Segment, fault: Fault) -> WalProblem:
        """Name the place; a record may have begun in a file before the one where it turned out to be wrong."""
        begin = fault.position
        message = fault.message
        if begin < segment.start(self._size):
            number = self._size.number_at(begin)
            path = self._path_of(segment)
            timeline = path.timeline_of(number, self._size) if path else segment.timeline
            message += (
                f"; it begins in {Segment(timeline, number).name(self._size)}, either file may be damaged"
            )
            return WalProblem(file, message, begin)
        return WalProblem(file, message, begin, begin - segment.start(self._size))
