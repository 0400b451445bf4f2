"""A recovery planned with the WAL that is held, in the repository and in the spool of a receiver. Offline.

The records of that WAL say where the target is; what a target needs and has not come is refused.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

from backup.fetch import is_blank
from backup.wal_log import StoredWal
from catalog import layout
from catalog.coverage import Holdings
from catalog.errors import TargetUnreachable
from catalog.inventory import Inventory
from catalog.pitr import AUTO, plan
from catalog.recovery import RecoveryPlan
from catalog.repository import Repository, readable_holdings
from catalog.state import read_receiver_state
from catalog.target import NAME, POSITION, XID, RecoveryTarget
from catalog.walname import PARTIAL, SEGMENT, Segment, kind_of


def plan_with_wal(
    repository: Repository,
    home: str,
    holdings: Holdings,
    target: RecoveryTarget,
    backup: str,
    *,
    partial: bool,
    standby: bool,
    on_read: Callable[[int], None] = lambda nbytes: None,
) -> RecoveryPlan:
    """Plan as ``catalog.pitr.plan`` does, and keep what was found in the WAL for the next time.

    A standby waits for a target that is not in the WAL yet, so for one it may be missing, unless a backup is to be
    chosen by it. ``on_read`` gets the raw bytes of WAL that were read so far.
    """
    current = received_timeline(home)
    wal = StoredWal(repository, os.path.abspath(home), partial=partial, on_read=on_read)
    try:
        return plan(holdings, target, backup, wal, current)
    except TargetUnreachable:
        if not standby or (backup == AUTO and target.kind in (XID, NAME)):
            raise
        return plan(holdings, target, backup, current=current)
    finally:
        wal.save()


def received_timeline(home: str) -> int | None:
    """The timeline that was received last; None if that is not known."""
    state = read_receiver_state(home)
    return None if state is None else state.timeline


def reachable_holdings(repository: Repository, home: str, *, partial: bool) -> tuple[Holdings, list[str]]:
    """The repository's holdings and what the spool has, with its incomplete segments if ``partial``.

    And what is wrong with the documents that could not be read.
    """
    holdings, problems = readable_holdings(repository)
    spool = os.path.join(home, layout.STREAMING)
    try:
        names = os.listdir(spool)
    except FileNotFoundError:
        return holdings, problems
    kinds = {SEGMENT, PARTIAL} if partial else {SEGMENT}
    # A partial segment that is blank was made when another was full: nothing had arrived for it yet.
    held = [
        name[:24]
        for name in names
        if kind_of(name) in kinds and not (kind_of(name) == PARTIAL and is_blank(os.path.join(spool, name)))
    ]
    inventory = holdings.inventory | Inventory.from_names(held, holdings.size)
    return replace(holdings, inventory=inventory), problems


def refuse_unreceived(found: RecoveryPlan, repository: Repository, home: str) -> None:
    """A position inside the segment that is being received is reachable only if its bytes have arrived.

    Where the WAL was read, that is known already.
    """
    position = found.target.lsn
    size = repository.identity.wal_segment_size
    if found.target.kind != POSITION or position is None or found.reached is not None:
        return
    spooled = os.path.join(home, layout.STREAMING, f"{found.until.name(size)}.partial")
    state = read_receiver_state(home)
    if not os.path.exists(spooled) or state is None:
        return
    if Segment.at(state.timeline, state.flushed, size) == found.until and position >= state.flushed:
        raise TargetUnreachable(
            f"the target {position} is not in the WAL stored so far, which ends at {state.flushed}",
            "wait for the receiver, or choose an earlier target",
        )


def refuse_incomplete(found: RecoveryPlan, holdings: Holdings) -> None:
    """What the target needs may be there as an incomplete segment only, where ``holdings`` have none of those."""
    if not holdings.inventory_for(found.backup).has(found.until):
        size = found.backup.wal_segment_size
        raise TargetUnreachable(
            f"segment {found.until.name(size)}, which the target needs, is not complete",
            "with --partial-wal (and not --standby-mode) its beginning is used too",
        )
