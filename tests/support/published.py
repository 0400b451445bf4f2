"""What receivers and their supervisors publish, and what servers say, for tests that look at values."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from catalog.lsn import LSN
from catalog.state import ReceiverState
from catalog.supervisor_state import SupervisorState
from walstream.ops.receiver_facts import ReceiverFacts, SpoolFacts
from walstream.server import ClusterFacts
from walstream.slots import SlotFacts

NOW = 1_800_000_000.0
EMPTY = SpoolFacts(0, 0, None)

_STREAMING = ReceiverState(
    pid=4711,
    at=NOW,
    started=NOW - 3600,
    phase="streaming",
    since=NOW - 3600,
    trouble=None,
    host="db1",
    slot="main",
    synchronous=False,
    named=False,
    withheld=False,
    timeline=1,
    written=LSN(0x3000300),
    flushed=LSN(0x3000200),
    server=LSN(0x3000400),
    lag=0.0,
    last_archived="000000010000000000000002",
    last_archived_at=NOW - 60,
    waiting=0,
    spooled=0,
    archive_trouble=None,
)
_CLUSTER = ClusterFacts(
    version=180002,
    in_recovery=False,
    role="postgres",
    may_replicate=True,
    may_switch_wal=True,
    clock_offset=0.0,
    slots=1,
    wal_senders=1,
    settings=MappingProxyType({}),
    tablespaces=(),
)
_SUPERVISOR = SupervisorState(
    pid=12,
    at=NOW,
    child=None,
    started=None,
    restarts=3,
    next_try=NOW + 8,
    last_exit=1,
    last_error="no route",
)
_SLOT = SlotFacts("physical", True, LSN(0x3000000), "reserved", 0x400, 1 << 30)


def published(**changes: object) -> ReceiverState:
    """The state of a receiver that streams, with changes."""
    return replace(_STREAMING, **changes)  # type: ignore[arg-type]  # the keys are the fields


def running(spool: SpoolFacts = EMPTY, **changes: object) -> ReceiverFacts:
    """A receiver that runs, with changes to what it publishes."""
    return ReceiverFacts(True, published(**changes), spool)


def slot(**changes: object) -> SlotFacts:
    """A slot that is read from, with changes."""
    return replace(_SLOT, **changes)  # type: ignore[arg-type]  # the keys are the fields


def cluster(**settings: str) -> ClusterFacts:
    """A primary of version 18 with these settings."""
    return replace(_CLUSTER, settings=MappingProxyType(settings))


def supervisor(**changes: object) -> SupervisorState:
    """A supervisor whose receiver has ended, and is started again soon, with changes."""
    return replace(_SUPERVISOR, **changes)  # type: ignore[arg-type]  # the keys are the fields
