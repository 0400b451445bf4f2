"""The WAL archive of a server verified: what the listing tells, what reading tells, and the holes. Offline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from backup.verified_wal import VerifiedWal
from backup.verify_wal import Bounds, WalReport, verify_wal
from backup.wal_listing import WalProblem, misplaced, strange_histories
from catalog.coverage import Holdings
from catalog.errors import Malformed, UsageError
from catalog.gaps import Gap
from catalog.inventory import Inventory
from catalog.record import BackupRecord
from catalog.repository import Repository
from catalog.survey import survey
from catalog.wal_holes import MISSING, UNNEEDED, Hole, holes
from catalog.walname import SEGMENT, Segment, kind_of
from walstream.ops.held_wal import held_wal


@dataclass(frozen=True)
class Verified:
    """The walk's report, the holes, and the recorded gaps, of which those in ``open_gaps`` still matter."""

    report: WalReport
    holes: tuple[Hole, ...]
    gaps: tuple[Gap, ...]
    open_gaps: tuple[Gap, ...]
    holdings: Holdings

    @property
    def missing(self) -> list[Hole]:
        """The holes that should not be."""
        return [each for each in self.holes if each.kind == MISSING]

    @property
    def unneeded(self) -> list[Hole]:
        """The holes that no backup reaches."""
        return [each for each in self.holes if each.kind == UNNEEDED]

    @property
    def count(self) -> int:
        """How many things are wrong."""
        return self.report.count + len(self.missing) + len(self.open_gaps)

    def next_backup(self, problem: WalProblem) -> str | None:
        """The first backup that begins behind a problem's place: from there on it does not matter."""
        if problem.position is None:
            return None
        begins = (each for each in self.holdings.records if each.begin.lsn > problem.position)
        return min((each.id for each in begins), default=None)


def verify_archive(
    repository: Repository,
    home: str,
    bounds: Bounds | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    full: bool = False,
) -> Verified:
    """Verify all, or what is within ``bounds``; without ``full`` what was verified before is not read again."""
    bounds = bounds or Bounds()
    held = held_wal(repository, home)
    known = VerifiedWal(home, fresh=full)
    report = verify_wal(repository, held.stored, known, bounds, on_progress)
    known.forget_others(repository.wal.directories())
    for text in held.problems:
        report.add(WalProblem("", text))
    for problem in (*misplaced(repository), *strange_histories(held.stored)):
        report.add(problem)
    found = holes(held.all, [gap.run for gap in held.gaps], held.alone)
    # What was filed, or removed, since the first look is no hole.
    now = repository.inventory()
    return Verified(
        report,
        tuple(each for each in found if _is_inside(each, bounds) and _is_still(each, now)),
        held.gaps,
        held.open_gaps(),
        held.stored,
    )


def bounds_of(repository: Repository, begin: str | None, end: str | None) -> Bounds:
    """From a segment's name, or a backup's first segment, to another, or a backup's last one."""
    first = None if begin is None else _named(repository, begin, lambda record: record.first_segment)
    last = None if end is None else _named(repository, end, lambda record: record.last_segment)
    if first is not None and last is not None and last < first:
        raise UsageError(f"{end!r} lies before {begin!r}", "exchange --from and --to")
    return Bounds(first, last)


def _named(repository: Repository, word: str, of_backup: Callable[[BackupRecord], Segment]) -> int:
    if kind_of(word) == SEGMENT:
        try:
            return Segment.parse(word, repository.identity.wal_segment_size).number
        except Malformed as error:
            raise UsageError(str(error), "the cluster has segments of another size") from None
    return of_backup(survey(repository).require_record(word)).number


def _is_inside(hole: Hole, bounds: Bounds) -> bool:
    return bounds.cut(hole.run) is not None


def _is_still(hole: Hole, now: Inventory) -> bool:
    run = hole.run
    return bool(now.missing(run.timeline, run.first, run.last))
