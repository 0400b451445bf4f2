"""Where recovery windows end in a segment that is held in part: before a gap, behind a promotion. Offline."""

from __future__ import annotations

from dataclasses import replace

from backup.wal_log import StoredWal
from catalog.errors import WalstreamError
from catalog.lsn import LSN
from catalog.reach import Window
from catalog.repository import Repository
from catalog.timeline import Path
from catalog.walname import Segment
from walstream.ops.held_wal import HeldWal


def with_partial_ends(
    repository: Repository, home: str, held: HeldWal, path: Path, windows: tuple[Window, ...]
) -> tuple[Window, ...]:
    """The windows with what the partial segment behind each one adds, or what its last segment does not hold."""
    return tuple(_with_partial_end(repository, home, held, path, each) for each in windows)


def _with_partial_end(repository: Repository, home: str, held: HeldWal, path: Path, window: Window) -> Window:
    size, number = held.all.size, window.last.number + 1
    segment = Segment(path.timeline_of(number, size), number)
    if segment not in held.all.inventory.partials:
        return _without_the_rest(repository, home, held, path, window)
    end = _end_of_records(repository, home, path, window, number)
    # What cannot be read is said elsewhere, and is not promised.
    if end is None or end <= segment.start(size):
        return window
    return replace(window, filled=end, entered=segment.timeline)


def _without_the_rest(repository: Repository, home: str, held: HeldWal, path: Path, window: Window) -> Window:
    """A backup of a standby holds the beginning of its last segment, which may be all that there is of it."""
    if held.all.inventory.has(window.last):
        return window
    end = _end_of_records(repository, home, path, window, window.last.number)
    sure = window.first.end.lsn
    end = sure if end is None or end < sure else end
    return replace(window, filled=end) if end < window.last.end(held.all.size) else window


def _end_of_records(repository: Repository, home: str, path: Path, window: Window, number: int) -> LSN | None:
    log = StoredWal(repository, home, partial=True).along(path, number, number, window.first.id)
    try:
        return log.facts(number).end
    except WalstreamError:
        return None
