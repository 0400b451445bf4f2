"""Where in the WAL a recovery reaches its target: found in the records, or refused. Pure, over a ``Log``.

As PostgreSQL decides it (``recoveryStopsBefore`` and ``recoveryStopsAfter`` in ``xlogrecovery.c``): a time is
reached at the first commit or abort after it, in the order of the WAL; an xid at the commit or abort of that very
transaction; a name behind the first restore point of that name; a position at the first record that begins at
or behind it.

Little is read for that. Commit times rise, but for moments, so segments are bisected by their first one, and
records read around the time. Xids rise as well, and lists of running transactions tell for certain where one had
not begun and where it had ended (of fewer than two thousand million transactions, after which ids return). Only
for names all WAL is gone through, though few segments are read record by record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from catalog.commits import SegmentFacts, Telling
from catalog.errors import TargetUnreachable
from catalog.lsn import LSN
from catalog.recordtypes import Ending, RestorePoint, as_time, from_time
from catalog.target import NAME, POSITION, TIME, XID, RecoveryTarget
from catalog.timeline import Path

SEARCHED = (TIME, POSITION, XID, NAME)

# So far commit times may run backwards: two processes between taking the time and writing it, a clock set right.
MARGIN = 10_000_000


class Log(Protocol):
    """The WAL of a path from segment ``first`` to ``last``, without a hole; records count where they begin.

    What cannot be read ends the log there: the facts say so, and nothing comes from what is behind.
    """

    @property
    def first(self) -> int: ...
    @property
    def last(self) -> int: ...
    def first_ending(self, number: int) -> Ending | None: ...
    def facts(self, number: int) -> SegmentFacts: ...
    def telling(self, number: int) -> list[Telling]: ...
    def points(self, number: int) -> tuple[RestorePoint, ...]: ...
    def record_behind(self, position: LSN) -> LSN | None:
        """Behind the first record that begins at or behind a position, in the segment where it ends; or None."""

    def last_record(self) -> LSN | None:
        """Where the last whole record begins; None if there is none."""


class Wal(Protocol):
    """All WAL that may be read for an answer."""

    def along(self, path: Path, first: int, last: int, backup_id: str) -> Log:
        """Segments ``first`` to ``last`` of a path, as a recovery from a backup would get them."""


@dataclass(frozen=True, slots=True)
class Reached:
    """Where a recovery stops: at ``stop``, which is the beginning or the end of a record.

    ``end`` is behind that record, which must be read in any case. ``time`` and ``xid`` are the record's; of a
    position they are not known.
    """

    stop: LSN
    end: LSN
    time: datetime | None = None
    xid: int | None = None


@dataclass(frozen=True, slots=True)
class Stretch:
    """What is asked about: a backup, from where it is replayed, where it is consistent, what is behind the log.

    ``beyond`` ends a sentence about what is not in the log: whether more may come. Where WAL ``is_missing`` behind
    the log, leaving out the target is no way to recover all that is before it.
    """

    backup: str
    begin: LSN
    consistent: LSN
    beyond: str
    is_missing: bool = False


def find(target: RecoveryTarget, log: Log, stretch: Stretch) -> Reached:
    """Where the target is reached; ``TargetUnreachable`` if it is not in the log, or too early for the backup."""
    if target.lsn is not None:
        return _find_position(target.lsn, log, stretch)
    found: Ending | RestorePoint
    if target.time is not None:
        found = _find_time(target.time, target.inclusive, log, stretch)
    elif target.kind == XID:
        found = _find_xid(int(str(target.value)) % (1 << 32), log, stretch)
    else:
        found = _find_name(str(target.value), log, stretch)
    if found.position < stretch.consistent:
        raise TargetUnreachable(
            f"the target {target.kind} {target.value} is reached at {found.position}, before the end of backup "
            f"{stretch.backup} ({stretch.consistent})",
            "choose a backup that ended before it ('walstream list-backups'), or a later target",
        )
    stop = found.position if target.kind == TIME or not target.inclusive else found.end
    return Reached(stop, found.end, as_time(found.time), found.xid if isinstance(found, Ending) else None)


def _find_time(time: datetime, inclusive: bool, log: Log, stretch: Stretch) -> Ending:
    # PostgreSQL stops before what is later, or with an exclusive target not earlier.
    latest = from_time(time) - (0 if inclusive else 1)
    last: Ending | None = None
    for number in range(_bisected(log, lambda each: each.time > latest - MARGIN), log.last + 1):
        facts = log.facts(number)
        if facts.latest is not None and facts.latest > latest:
            for each in _endings(log, number, stretch.begin):
                if each.time > latest:
                    return each
        last = facts.last or last
        if facts.ended is not None:
            break
    last = last or _last_ending(log)
    known = (
        "none is known" if last is None else f"the last one is of {as_time(last.time)}, at {last.position}"
    )
    raise TargetUnreachable(
        f"the target time {time} is not in the WAL stored so far: no transaction ended after it ({known}); "
        f"{_beyond(log, number, stretch)}",
        f"{_how_to_get_all(log, stretch)}, or choose a time before that of the last transaction: "
        "PostgreSQL does not end a recovery whose target was not reached",
    )


def _find_xid(xid: int, log: Log, stretch: Stretch) -> Ending:
    begun = _bisected(log, lambda each: not _precedes(each.xid, xid))
    while begun > log.first and not _had_not_begun(xid, log.facts(begun)):
        begun -= 1
    for number in range(begun, log.last + 1):
        facts = log.facts(number)
        for each in _endings(log, number, stretch.begin) if facts.first is not None else ():
            if each.xid == xid:
                return each
            if xid in each.subxids:
                raise TargetUnreachable(
                    f"{xid} was a subtransaction of transaction {each.xid}",
                    f"give --target-xid {each.xid}: a recovery stops at whole transactions",
                )
        running = facts.last_running
        if running is not None and _precedes(xid, running.oldest):
            raise TargetUnreachable(
                f"transaction {xid} does not end behind the begin of backup {stretch.backup}, and at "
                f"{running.position} it was no longer running",
                "choose an older backup, or check the id: one that wrote nothing has none",
            )
        if facts.ended is not None:
            break
    raise TargetUnreachable(
        f"the end of transaction {xid} is not in the WAL stored so far; {_beyond(log, number, stretch)}",
        "check the id, or choose another target",
    )


def _find_name(name: str, log: Log, stretch: Stretch) -> RestorePoint:
    found = [
        point
        for number in range(log.first, log.last + 1)
        for point in log.points(number)
        if point.name == name and point.position >= stretch.begin
    ]
    if not found:
        raise TargetUnreachable(
            f"the restore point {name!r} is not in the WAL stored so far behind the begin of backup "
            f"{stretch.backup}; {_beyond(log, log.last, stretch)}",
            "check the name, or choose an older backup",
        )
    if len(found) > 1:
        places = ", ".join(f"at {each.end} ({as_time(each.time)})" for each in found)
        raise TargetUnreachable(
            f"there are {len(found)} restore points {name!r} behind backup {stretch.backup}: {places}",
            "give one of those positions with --target-lsn: PostgreSQL would stop at the first",
        )
    return found[0]


def _find_position(position: LSN, log: Log, stretch: Stretch) -> Reached:
    end = log.record_behind(position)
    if end is not None:
        return Reached(position, end)
    raise TargetUnreachable(
        f"the target {position} is not in the WAL stored so far: no record begins at or behind it; "
        f"{_beyond(log, log.last, stretch)}",
        f"choose an earlier position, or {_how_to_get_all(log, stretch)}",
    )


def up_to_last(log: Log) -> str | None:
    """How to recover all that a log holds, as words of a hint; None if no record can be read."""
    last = log.last_record()
    return None if last is None else f"--target-lsn {last} to recover all there is before the hole"


def _how_to_get_all(log: Log, stretch: Stretch) -> str:
    found = up_to_last(log) if stretch.is_missing else None
    return f"give {found}" if found else "leave out the target to recover all there is"


def _bisected(log: Log, is_behind: Callable[[Ending], bool]) -> int:
    """The segment from which on to look for the first ending behind something, if they come in order."""
    low, high = log.first, log.last + 1
    while low < high:
        middle = (low + high) // 2
        first = next((each for each in map(log.first_ending, range(middle, high)) if each is not None), None)
        if first is None or is_behind(first):
            high = middle
        else:
            low = middle + 1
    # The last endings of the segment before may be behind as well.
    return max(low - 1, log.first)


def _endings(log: Log, number: int, begin: LSN) -> Iterator[Ending]:
    """The ends of transactions that a recovery from ``begin`` on replays."""
    for each in log.telling(number):
        if isinstance(each, Ending) and each.position >= begin:
            yield each


def _last_ending(log: Log) -> Ending | None:
    found = (log.facts(number).last for number in range(log.last, log.first - 1, -1))
    return next((each for each in found if each is not None), None)


def _beyond(log: Log, number: int, stretch: Stretch) -> str:
    """What is to be said of the WAL behind the last segment that was looked at."""
    facts = log.facts(number)
    if number < log.last:
        return f"the WAL cannot be read beyond {facts.end}: {facts.ended}"
    return f"the WAL ends at {facts.end}: {stretch.beyond}"


def _precedes(a: int, b: int) -> bool:
    """Whether one xid is older than another, which goes round in a circle of 32 bits."""
    return (a - b) % (1 << 32) >= 1 << 31


def _had_not_begun(xid: int, facts: SegmentFacts) -> bool:
    running = facts.first_running
    return running is not None and not _precedes(xid, running.next)
