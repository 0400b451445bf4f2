"""A recovery planned with the WAL that is held: its records say where the target is. Offline."""

from __future__ import annotations

import os
from collections.abc import Callable

from backup.wal_log import StoredWal
from catalog.coverage import Holdings
from catalog.errors import TargetUnreachable
from catalog.pitr import AUTO, plan
from catalog.recovery import RecoveryPlan
from catalog.repository import Repository
from catalog.state import read_receiver_state
from catalog.target import NAME, XID, RecoveryTarget


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
