"""The WAL that a backup needs: its manifest and its label must say what the server said. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from backup.label import BackupLabel
from backup.manifest_entry import WalRange
from catalog.errors import Corrupt
from catalog.record import Point


def require_range(ranges: Sequence[WalRange], begin: Point, end: Point) -> None:
    """``Corrupt`` unless a manifest's WAL ranges are the span from ``begin`` to ``end``.

    There is one for each timeline, the newest first; where one ends the next begins.
    """
    spans = list(reversed(ranges))
    fits = (
        bool(spans)
        and (spans[0].timeline, spans[0].start) == (begin.timeline, begin.lsn)
        and (spans[-1].timeline, spans[-1].end) == (end.timeline, end.lsn)
        and all(one.end == other.start for one, other in pairwise(spans))
    )
    if not fits:
        found = ", ".join(f"{each.start} to {each.end} on timeline {each.timeline}" for each in spans)
        raise Corrupt(
            f"the backup manifest needs WAL from {found or 'nowhere'}, but the backup lies from {begin.lsn} "
            f"on timeline {begin.timeline} to {end.lsn} on timeline {end.timeline}",
            "this backup cannot be trusted: take another one",
        )


def require_label(label: BackupLabel, begin: Point) -> None:
    """``Corrupt`` unless recovery starts where the server said that the backup begins."""
    if (label.start, label.timeline) != (begin.lsn, begin.timeline):
        raise Corrupt(
            f"backup_label begins at {label.start} on timeline {label.timeline}, "
            f"but the backup at {begin.lsn} on timeline {begin.timeline}",
            "take the backup again",
        )
