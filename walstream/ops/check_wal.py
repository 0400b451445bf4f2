"""``check``, the part about WAL that is missing, or that the server has left behind. Pure.

A gap that had to be accepted is a failure until a restorable backup begins behind it; then it only keeps the
backups before it from being recovered further.
"""

from __future__ import annotations

from collections.abc import Sequence

from catalog import coverage
from catalog.reach import Branch
from walstream.ops.held_wal import HeldWal
from walstream.ops.items import Item, at_local_time, failure, fine, warned
from walstream.settings.server import ServerSettings

WAL_ARCHIVE = "WAL archive"
WAL_GAPS = "WAL gaps"
OLD_BRANCHES = "old branches"


def archive_item(settings: ServerSettings, held: HeldWal) -> Item:
    """What is missing behind the oldest backup, less the recorded gaps, which are another item."""
    if held.problems:
        remedy = "bring the file back from another copy of the repository, or take a new backup and delete this one"
        return failure(WAL_ARCHIVE, "; ".join(held.problems[:3]), remedy)
    missing = held.missing
    if missing:
        named = coverage.names(missing, held.all.size)
        return failure(
            WAL_ARCHIVE,
            f"missing since the oldest backup: {named}",
            f"a restore cannot pass that: take a new backup (walstream backup {settings.name}), or copy the "
            "segments here from another archive",
        )
    if not held.all.records:
        return warned(
            WAL_ARCHIVE,
            "there is no backup yet, and without one WAL restores nothing",
            f"take one: walstream backup {settings.name}",
        )
    return fine(WAL_ARCHIVE)


def gaps_item(settings: ServerSettings, held: HeldWal, timeline: int | None) -> Item:
    """Recorded gaps: each that is open on the server's ``timeline``, and why; the others are only counted."""
    if not held.gaps:
        return fine(WAL_GAPS)
    gaps = held.open_gaps(held.newest_path(timeline))
    if not gaps:
        return fine(WAL_GAPS, f"{len(held.gaps)}, each closed by a backup behind it or on another branch")
    told = [
        f"{coverage.names((gap.run,), held.all.size)}, since {at_local_time(gap.accepted.timestamp())} "
        f"because {gap.reason}"
        for gap in gaps[:3]
    ]
    more = f" and {len(gaps) - 3} more" if len(gaps) > 3 else ""
    return failure(
        WAL_GAPS,
        f"nothing behind these segments can be recovered: {'; '.join(told)}{more}",
        f"take a new backup: walstream backup {settings.name}",
    )


def branches_item(branches: Sequence[Branch], timeline: int) -> Item:
    """WAL that ``timeline`` left behind, as after a failover: the server has it no more, and may miss commits."""
    if not branches:
        return fine(OLD_BRANCHES)
    told = [f"timeline {each.timeline} from {each.parting} to {each.until}" for each in branches[:3]]
    more = f" and {len(branches) - 3} more" if len(branches) > 3 else ""
    return warned(
        OLD_BRANCHES,
        f"only the repository has WAL that is not part of timeline {timeline}: {'; '.join(told)}{more}",
        "see whether commits in it are missed, which recover on another host: "
        f"walstream restore --target-tli {branches[0].timeline}",
    )
