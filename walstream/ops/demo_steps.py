"""What happened in the demo, as values: one class for each kind of step. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from catalog.lsn import LSN
from walstream.ops.payments import Digest


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step that is over, what it is called, and how long it took."""

    name: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Started(Step):
    """The server that is to be protected runs."""

    version: str
    directory: str


@dataclass(frozen=True, kw_only=True)
class Receiving(Step):
    """Its configuration is written, its repository made, and its WAL is being received."""

    config: str
    repository: str
    slot: str
    position: LSN


@dataclass(frozen=True, kw_only=True)
class Worked(Step):
    """The table has got more rows; ``lag_bytes``: how much the receiver had not yet synced, at most."""

    rows: int
    wal_bytes: int
    lag_bytes: int


@dataclass(frozen=True, kw_only=True)
class BackedUp(Step):
    """A base backup was taken while the work went on."""

    backup_id: str
    cluster_bytes: int
    stored_bytes: int
    rows_meanwhile: int


@dataclass(frozen=True, kw_only=True)
class Dropped(Step):
    """The table is gone, a moment after ``moment``; all WAL up to the accident is synced in the spool."""

    moment: datetime
    rows: int
    position: LSN
    segments: int
    raw_bytes: int
    stored_bytes: int


@dataclass(frozen=True, kw_only=True)
class Restored(Step):
    """The backup is laid down again, with the settings for its recovery."""

    directory: str
    restored_bytes: int


@dataclass(frozen=True, kw_only=True)
class Recovered(Step):
    """The restored cluster has replayed WAL up to the moment, and takes connections."""

    wal_bytes: int
    moment: datetime
    timeline: int


@dataclass(frozen=True, kw_only=True)
class Compared(Step):
    """What the table held before the accident, and what the restored one holds."""

    before: Digest
    after: Digest
