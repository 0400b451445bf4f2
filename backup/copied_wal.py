"""WAL copied beforehand: what a recovery needs, laid into ``pg_wal`` of the restored data directory.

A cluster restored so needs the repository no more. Only the copies that count on the plan's path are laid
down, because PostgreSQL would replay another branch's without a word, but the histories of all timelines:
the number of the one that the recovery begins must be free in the repository. What is copied is marked as
archived. Nothing is synced here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from backup.fetch import WalSource, copy_wal
from backup.tree import Tree
from catalog.durable import write_all
from catalog.errors import Absent
from catalog.inventory import Run
from catalog.lsn import SegmentSize
from catalog.pitr import RecoveryPlan
from catalog.repository import Repository
from catalog.target import IMMEDIATE, POSITION
from catalog.walname import HISTORY, Segment, kind_of

PG_WAL = "pg_wal"
STATUS = f"{PG_WAL}/archive_status"
_MODE = 0o600


@dataclass(frozen=True, slots=True)
class WalCopy:
    """What is to be copied: ``runs`` in the order of the recovery, and ``histories`` by name.

    ``beginning`` is the segment behind them, when some of it is stored.
    """

    size: SegmentSize
    runs: tuple[Run, ...]
    beginning: Segment | None
    histories: tuple[str, ...]

    @property
    def segments(self) -> int:
        """How many segments there are; each is copied at full length."""
        return sum(map(len, self.runs)) + (self.beginning is not None)

    @property
    def nbytes(self) -> int:
        """The room that the segments take."""
        return self.segments * self.size.nbytes

    def names(self) -> Iterator[str]:
        """The files to copy, histories first."""
        yield from self.histories
        for run in self.runs:
            for number in range(run.first, run.last + 1):
                yield Segment(run.timeline, number).name(self.size)
        if self.beginning is not None:
            yield self.beginning.name(self.size)


def wal_to_copy(plan: RecoveryPlan, repository: Repository, source: WalSource) -> WalCopy:
    """Decide what to copy for a plan. ``source`` is where it will be copied from.

    Of incomplete segments at most one can be of use: the one behind the complete ones.
    """
    size = repository.identity.wal_segment_size
    last = plan.wal[-1].last if plan.wal else plan.until.number
    beginning = None
    if _may_need_more(plan, last):
        following = Segment(plan.path.timeline_of(last + 1, size), last + 1)
        if plan.until.number > last or _is_there(source, following.name(size)):
            beginning = following
    histories = sorted(name for name in repository.wal.names([""]) if kind_of(name) == HISTORY)
    return WalCopy(size, plan.wal, beginning, tuple(histories))


def _may_need_more(plan: RecoveryPlan, last: int) -> bool:
    """Whether the target can lie behind the complete segments that the plan has."""
    if plan.target.kind == POSITION:
        return plan.until.number > last
    return plan.target.kind != IMMEDIATE


def _is_there(source: WalSource, name: str) -> bool:
    try:
        source.open(name).close()
    except Absent:
        return False
    return True


def lay_down(
    wal: WalCopy,
    source: WalSource,
    root: str,
    *,
    owner: tuple[int, int] | None,
    system_identifier: int,
    on_progress: Callable[[int], object],
) -> None:
    """Copy into the data directory ``root``; ``on_progress`` gets the number of bytes of each piece.

    ``Corrupt`` for a file that is not what its name says, ``Absent`` for one that was removed meanwhile.
    """
    tree = Tree(root, owner)
    try:
        tree.make_directory(STATUS, 0o700)
        for name in wal.names():
            try:
                _copy(tree, source, name, system_identifier, on_progress)
            except OSError as error:
                raise tree.failure(f"{PG_WAL}/{name}", error) from error
    finally:
        tree.close()


def _copy(
    tree: Tree, source: WalSource, name: str, system_identifier: int, on_progress: Callable[[int], object]
) -> None:
    fd = tree.create(f"{PG_WAL}/{name}", _MODE)

    def write(piece: bytes) -> None:
        write_all(fd, piece)
        on_progress(len(piece))

    try:
        copy_wal(source, name, write, system_identifier)
    finally:
        os.close(fd)
    # Should the cluster archive some day, it does not offer what came out of an archive.
    os.close(tree.create(f"{STATUS}/{name}.done", _MODE))
