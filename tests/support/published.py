"""What a receiver publishes, and what a server says of a slot, for tests that look at values."""

from __future__ import annotations

from dataclasses import replace

from catalog.lsn import LSN
from catalog.state import ReceiverState
from walstream.ops.receiver_facts import ReceiverFacts, SpoolFacts
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
