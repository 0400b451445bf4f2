"""What WAL records say about moments to recover to: ends of transactions, restore points. Pure.

Values in, values out; a record of another kind is None. A record that passed its checksum and still does not
follow its layout is ``Malformed``: it is of a version that is not known here. Times are microseconds since 2000,
as ``TimestampTz``.

In PostgreSQL: resource managers ``rmgrlist.h``; fragments of a record ``xlogrecord.h``; ends of transactions
``xact.h`` (``xl_xact_commit``, ``xl_xact_abort``, and what ``xl_xact_xinfo`` announces in the order of
``ParseCommitRecord``); restore points ``xlog_internal.h`` (``xl_restore_point``) and ``pg_control.h``; running
transactions ``standbydefs.h`` (``xl_running_xacts``).
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from catalog.errors import Malformed
from catalog.lsn import LSN
from catalog.walrecord import RM_XLOG, Record

RM_TRANSACTION = 1
RM_STANDBY = 8
TELLING = frozenset((RM_XLOG, RM_TRANSACTION, RM_STANDBY))

_RESTORE_POINT = 0x70
_RUNNING = 0x10
_HAS_XINFO = 0x80
# Operations of transactions: whether it is a commit, and whether of a prepared one.
_COMMIT, _ABORT, _COMMIT_PREPARED, _ABORT_PREPARED = 0x00, 0x20, 0x30, 0x40
_PREPARED = 0x10

# Lists before the prepared transaction's id: bit of xinfo, bytes of each element (0: by version).
_DATABASE, _SUBXIDS = 0x1, 0x2
_LISTS = ((_SUBXIDS, 4), (0x4, 12), (0x100, 0), (0x8, 16))

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class Ending(NamedTuple):
    """The commit or abort of a transaction; ``xid`` of a prepared one is its own, not the committing one's."""

    position: LSN
    end: LSN
    xid: int
    time: int
    is_commit: bool
    subxids: tuple[int, ...] = ()


class RestorePoint(NamedTuple):
    """What ``pg_create_restore_point`` left; names need not be unique."""

    position: LSN
    end: LSN
    name: str
    time: int


class Running(NamedTuple):
    """A list of running transactions: at ``position`` ``next`` had not begun, all before ``oldest`` had ended."""

    position: LSN
    next: int
    oldest: int


def as_time(time: int) -> datetime:
    """Microseconds since 2000 as a time; what is out of range becomes the last that can be written."""
    try:
        return _EPOCH + timedelta(microseconds=time)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC) if time > 0 else datetime.min.replace(tzinfo=UTC)


def from_time(time: datetime) -> int:
    """A time as microseconds since 2000."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def ending(record: Record, version: int) -> Ending | None:
    """The end of a transaction; ``version`` is the major version that wrote it."""
    operation = record.info & 0x70
    if record.rmgr != RM_TRANSACTION:
        return None
    if operation not in (_COMMIT, _ABORT, _COMMIT_PREPARED, _ABORT_PREPARED):
        return None
    try:
        data = main_data(record)
        (time,) = struct.unpack_from("<q", data)
        xid, subxids = _transaction(record, data, version)
    except struct.error:
        raise _strange(record) from None
    return Ending(record.position, record.end, xid, time, operation in (_COMMIT, _COMMIT_PREPARED), subxids)


def _transaction(record: Record, data: bytes, version: int) -> tuple[int, tuple[int, ...]]:
    """The id of the transaction that ends, and those of its subtransactions."""
    if not record.info & _HAS_XINFO:
        return record.xid, ()
    (xinfo,) = struct.unpack_from("<I", data, 8)
    offset = 12 + (8 if xinfo & _DATABASE else 0)
    subxids: tuple[int, ...] = ()
    for bit, nbytes in _LISTS:
        if not xinfo & bit:
            continue
        (count,) = struct.unpack_from("<i", data, offset)
        offset += 4
        if count < 0:
            raise _strange(record)
        if bit == _SUBXIDS:
            subxids = struct.unpack_from(f"<{count}I", data, offset)
        offset += count * (nbytes or (16 if version >= 18 else 12))
        if not xinfo & _PREPARED and bit == _SUBXIDS:
            break
    if not xinfo & _PREPARED:
        return record.xid, subxids
    (xid,) = struct.unpack_from("<I", data, offset)
    return xid, subxids


def restore_point(record: Record) -> RestorePoint | None:
    """A restore point."""
    if record.rmgr != RM_XLOG or record.info & 0xF0 != _RESTORE_POINT:
        return None
    try:
        time, name = struct.unpack_from("<q64s", main_data(record))
    except struct.error:
        raise _strange(record) from None
    text = name.partition(b"\0")[0].decode("utf-8", "surrogateescape")
    return RestorePoint(record.position, record.end, text, time)


def running(record: Record) -> Running | None:
    """Which transactions were running."""
    if record.rmgr != RM_STANDBY or record.info & 0xF0 != _RUNNING:
        return None
    try:
        next_xid, oldest = struct.unpack_from("<II", main_data(record), 12)
    except struct.error:
        raise _strange(record) from None
    return Running(record.position, next_xid, oldest)


def main_data(record: Record) -> bytes:
    """The main data of a record that refers to no block; that of one that does is empty here."""
    data, offset = record.data, 0
    while offset < len(data):
        kind = data[offset]
        if kind == 255:
            return data[offset + 2 : offset + 2 + data[offset + 1]]
        if kind == 254:
            (length,) = struct.unpack_from("<I", data, offset + 1)
            return data[offset + 5 : offset + 5 + length]
        if kind not in (252, 253):
            return b""
        offset += 5 if kind == 252 else 3
    return b""


def _strange(record: Record) -> Malformed:
    return Malformed(f"the record at {record.position} does not follow its layout")
