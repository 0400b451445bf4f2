"""Messages of a physical replication stream: bytes to values, and one value to bytes.

Pure. What arrives is the payload of one CopyData message; the two kinds a server sends become
``WalData`` and ``Keepalive``; what a receiver answers is built by ``status_update``. Timestamps on
the wire are microseconds since 2000-01-01 UTC; here they are Unix seconds.
(PostgreSQL manual, "Streaming Replication Protocol".)
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from catalog.errors import ProtocolError
from catalog.lsn import LSN

EPOCH_2000 = 946_684_800
_WAL_DATA = struct.Struct(">cQQq")
_KEEPALIVE = struct.Struct(">cQq?")
_STATUS = struct.Struct(">cQQQq?")


class WalData(NamedTuple):
    """A stretch of WAL as it is on the server's disk, page headers included.

    The first three are as on the wire, because a commit that waits for us waits for these few lines, too.
    """

    raw_start: int
    raw_server_end: int
    raw_sent_at: int
    payload: memoryview

    @property
    def start(self) -> LSN:
        """The position of the first byte."""
        return LSN(self.raw_start)

    @property
    def end(self) -> LSN:
        """The position behind the payload."""
        return LSN(self.raw_start + len(self.payload))

    @property
    def server_end(self) -> LSN:
        """What the server could send when it sent this: its flush position, or the end of a timeline."""
        return LSN(self.raw_server_end)

    @property
    def sent_at(self) -> float:
        """When, by the server's clock."""
        return _from_wire(self.raw_sent_at)


class Keepalive(NamedTuple):
    """A sign of life from the server."""

    position: LSN
    """What has been sent so far, not what the server has."""
    sent_at: float
    reply_requested: bool


def parse(message: bytes | memoryview) -> WalData | Keepalive:
    """Read one message; ``ProtocolError`` for anything a server does not send."""
    view = memoryview(message)
    if len(view) >= _WAL_DATA.size and view[0] == 0x77:
        _, start, end, sent = _WAL_DATA.unpack_from(view)
        return WalData(start, end, sent, view[_WAL_DATA.size :])
    if len(view) == 18 and view[0] == 0x6B:
        _, position, sent, reply = _KEEPALIVE.unpack_from(view)
        return Keepalive(LSN(position), _from_wire(sent), reply)
    raise ProtocolError(f"unknown replication message: {bytes(view[:32]).hex()} ({len(view)} bytes)")


def status_update(
    written: LSN, flushed: LSN, applied: LSN, now: float, *, reply_requested: bool = False
) -> bytes:
    """A standby status update; position 0/0 stands for unknown."""
    return _STATUS.pack(b"r", written.value, flushed.value, applied.value, _to_wire(now), reply_requested)


def _from_wire(microseconds: int) -> float:
    return microseconds / 1e6 + EPOCH_2000


def _to_wire(now: float) -> int:
    return round((now - EPOCH_2000) * 1e6)
