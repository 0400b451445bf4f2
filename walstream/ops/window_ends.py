"""Where recovery windows end in a partial segment: before a gap, where the newest WAL was lost. Offline."""

from __future__ import annotations

from dataclasses import replace

from backup.wal_log import StoredWal
from catalog.errors import WalstreamError
from catalog.reach import Window
from catalog.repository import Repository
from catalog.timeline import Path
from catalog.walname import Segment
from walstream.ops.held_wal import HeldWal


def with_partial_ends(
    repository: Repository, home: str, held: HeldWal, path: Path, windows: tuple[Window, ...]
) -> tuple[Window, ...]:
    """The windows with what the partial segment behind each one adds."""
    return tuple(_with_partial_end(repository, home, held, path, each) for each in windows)


def _with_partial_end(repository: Repository, home: str, held: HeldWal, path: Path, window: Window) -> Window:
    size, number = held.all.size, window.last.number + 1
    segment = Segment(path.timeline_of(number, size), number)
    if segment not in held.all.inventory.partials:
        return window
    log = StoredWal(repository, home, partial=True).along(path, number, number, window.first.id)
    try:
        end = log.facts(number).end
    except WalstreamError:
        return window  # what cannot be read is said elsewhere, and is not promised
    return replace(window, filled=end) if end > segment.start(size) else window
