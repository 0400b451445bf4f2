"""WAL copied beforehand: what a recovery needs, laid into ``pg_wal`` of the restored data directory.

A cluster restored so needs the repository no more. Only the copies that count on the plan's path are laid
down, because PostgreSQL would replay another branch's without a word, but the histories of all timelines:
the number of the one that the recovery begins must be free in the repository. What is copied is marked as
archived.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from backup.fetch import WalSource, copy_wal
from backup.tar import Kind, Member, MemberSink
from catalog.errors import Absent, Corrupt
from catalog.inventory import Run
from catalog.lsn import SegmentSize
from catalog.recovery import RecoveryPlan
from catalog.repository import Repository
from catalog.target import IMMEDIATE, POSITION
from catalog.walname import HISTORY, Segment, kind_of

PG_WAL = "pg_wal"
STATUS = f"{PG_WAL}/archive_status"


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
        """The segments to copy."""
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


def push_wal(
    wal: WalCopy,
    source: WalSource,
    sink: MemberSink,
    system_identifier: int,
    on_progress: Callable[[int], object],
) -> None:
    """Push the files as members of the data directory; ``on_progress`` gets the number of bytes of each piece.

    ``Corrupt`` for a file that is not what its name says, ``Absent`` for one that was removed meanwhile.
    """
    _push(sink, Member(STATUS, Kind.DIRECTORY, mode=0o700), b"")
    for name in wal.histories:
        content = _content(source, name)
        _push(sink, Member(f"{PG_WAL}/{name}", size=len(content)), content)
        on_progress(len(content))
        _mark(sink, name)
    for name in wal.names():
        sink.begin(Member(f"{PG_WAL}/{name}", size=wal.size.nbytes))
        passed = _Passed(sink, name, wal.size.nbytes, on_progress)
        copy_wal(source, name, passed.write, system_identifier)
        sink.end()
        _mark(sink, name)


def _mark(sink: MemberSink, name: str) -> None:
    """Should the cluster archive some day, it does not offer what came out of an archive."""
    _push(sink, Member(f"{STATUS}/{name}.done"), b"")


def _push(sink: MemberSink, member: Member, content: bytes) -> None:
    sink.begin(member)
    if content:
        sink.data(memoryview(content))
    sink.end()


def _content(source: WalSource, name: str) -> bytes:
    reader = source.open(name)
    try:
        return b"".join(iter(lambda: reader.read(1 << 16), b""))
    finally:
        reader.close()


class _Passed:
    """The content of a segment on its way: no more than the room that was announced for it."""

    def __init__(self, sink: MemberSink, name: str, size: int, on_progress: Callable[[int], object]) -> None:
        self._sink = sink
        self._name = name
        self._left = size
        self._on_progress = on_progress

    def write(self, piece: bytes) -> None:
        self._left -= len(piece)
        if self._left < 0:
            raise Corrupt(
                f"WAL file {self._name!r} in the repository is longer than a segment",
                "it was damaged on disk: restore the file from a copy of the repository",
            )
        self._sink.data(memoryview(piece))
        self._on_progress(len(piece))
