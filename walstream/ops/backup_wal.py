"""The WAL of a backup that is being taken: is it coming, has it come, and what to store with the backup itself.

Waiting looks at the repository, the spool, and what the live receiver publishes. It ends early when nobody
receives any more, and with an error when the server removed what the backup needs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from catalog import layout
from catalog.codec import Codec
from catalog.coverage import restorable
from catalog.errors import BackupFailed
from catalog.frames import Workers, encoder
from catalog.gaps import read_gaps
from catalog.local_storage import failed
from catalog.lsn import LSN
from catalog.record import BackupRecord, Point
from catalog.repository import Repository, span_holdings
from catalog.sink import Sink
from catalog.state import ReceiverState, live_receiver_state
from catalog.walname import Segment
from walstream.standing import ENDED

_POLL = 0.1
_GRACE = 2.0
# So long, in seconds, a receiver may be without its first stream: it tries again every few.
_PATIENCE = 60.0
_PIECE = 1 << 20


class BackupWal:
    """The WAL of one backup; ``home`` has the spool, ``codec`` is how WAL is stored."""

    def __init__(self, repository: Repository, home: str, codec: Codec) -> None:
        self._repository = repository
        self._home = home
        self._codec = codec
        self._size = repository.identity.wal_segment_size

    def is_coming(self, segment: Segment) -> bool:
        """Whether a segment is held, or lies at or behind the position that the live receiver has reached."""
        name = segment.name(self._size)
        spooled = os.path.join(self._home, layout.STREAMING, name)
        # In the direction in which it travels, so that it is not missed on its way.
        if (
            os.path.exists(os.path.join(self._home, layout.INCOMING, name))
            or os.path.exists(f"{spooled}.partial")
            or os.path.exists(spooled)
            or self._repository.wal.holds(name)
        ):
            return True
        state = live_receiver_state(self._home)
        return (
            state is not None
            and 0 < state.timeline <= segment.timeline
            and self._size.number_at(state.flushed) <= segment.number
        )

    def require_coming(self, begin: Point, on_wait: Callable[[str], None]) -> None:
        """``BackupFailed`` when the first WAL of a backup that begins there can no longer be had.

        A receiver that has had no stream yet is waited for, which ``on_wait`` is told once.
        """
        first = Segment.at(begin.timeline, begin.lsn, self._size)
        began = time.monotonic()
        give_up, said = began + _GRACE, False
        while not self.is_coming(first):
            now = time.monotonic()
            receiver = self._receiver_without_position()
            if receiver is not None:
                if now >= began + _PATIENCE:
                    raise _no_stream(receiver)
                if not said and now >= began + _GRACE:
                    on_wait(f"waiting for the receiver, which {_how_it_stands(receiver)}")
                    said = True
                give_up = now + _GRACE
            elif now >= give_up:
                raise BackupFailed(
                    f"the backup begins at {begin.lsn}, in segment {first.name(self._size)}, which is not in the "
                    "repository and is not received any more",
                    "wait for the next checkpoint on the server and take the backup again",
                )
            time.sleep(_POLL)  # a receiver that has just started has not said yet where it is

    def _receiver_without_position(self) -> ReceiverState | None:
        """The live receiver, if it has not streamed yet: where it will begin, nobody knows."""
        state = live_receiver_state(self._home)
        return state if state is not None and not state.timeline and state.phase != ENDED else None

    def is_restorable(self, record: BackupRecord) -> bool:
        """Whether all of the backup's WAL is stored."""
        return restorable(record, span_holdings(self._repository, (record,)))

    def wait_for_end(
        self, record: BackupRecord, receiving: Callable[[], bool], deadline: float | None, workers: Workers
    ) -> None:
        """Wait until the WAL up to the end is synced here; store the last segment's beginning if need be.

        On an idle server, or a standby, nothing comes that would complete that segment.
        """
        if not self._wait(record, self._end_is_synced, receiving, deadline):
            return
        if not self._wait(record, self.is_restorable, receiving, time.monotonic() + _GRACE):
            self._store_beginning(record, workers)

    def wait_until_restorable(
        self, record: BackupRecord, receiving: Callable[[], bool], deadline: float | None
    ) -> None:
        """Wait until all WAL is stored, or time is up, or nobody receives any more."""
        self._wait(record, self.is_restorable, receiving, deadline)

    def _wait(
        self,
        record: BackupRecord,
        condition: Callable[[BackupRecord], bool],
        receiving: Callable[[], bool],
        deadline: float | None,
    ) -> bool:
        while not condition(record):
            if deadline is not None and time.monotonic() > deadline:
                return False
            if not receiving():
                return condition(record)
            self._refuse_lost(record)
            time.sleep(_POLL)
        return True

    def _refuse_lost(self, record: BackupRecord) -> None:
        for gap in read_gaps(self._home, self._size):
            run = gap.run
            of_backup = record.begin.timeline <= run.timeline <= record.end.timeline
            if (
                of_backup
                and run.first <= record.last_segment.number
                and record.first_segment.number <= run.last
            ):
                raise BackupFailed(
                    "the server removed WAL that this backup needs before it was received",
                    "set slot_name, so that the server keeps WAL, or raise wal_keep_size; then take it again",
                )

    def _end_is_synced(self, record: BackupRecord) -> bool:
        state = live_receiver_state(self._home)
        if state is not None and state.timeline == record.end.timeline and state.flushed >= record.end.lsn:
            return True
        return self.is_restorable(record)

    def _store_beginning(self, record: BackupRecord, workers: Workers) -> None:
        """Store the last segment up to the backup's end with the backup, zeros behind it."""
        name = record.last_segment.name(self._size)
        path = os.path.join(self._home, layout.STREAMING, f"{name}.partial")
        writer = self._repository.backups.wal_writer(record.id, name, self._codec)
        sink = encoder(self._codec, writer, workers)
        try:
            self._copy_beginning(path, self._size.offset(LSN(record.end.lsn.value - 1)) + 1, sink)
            sink.finish()
        except FileNotFoundError:
            sink.abort()  # it was completed meanwhile
        except OSError as error:
            sink.abort()
            raise failed("read", path, error) from error
        except BaseException:
            sink.abort()
            raise

    def _copy_beginning(self, path: str, nbytes: int, sink: Sink) -> None:
        with open(path, "rb") as file:
            for begin in range(0, self._size.nbytes, _PIECE):
                data = file.read(max(0, min(_PIECE, nbytes - begin)))
                sink.write(data + bytes(min(_PIECE, self._size.nbytes - begin) - len(data)))


def _how_it_stands(receiver: ReceiverState) -> str:
    trouble = f": {receiver.trouble}" if receiver.trouble else ""
    return f"has not begun to stream ({receiver.phase}{trouble})"


def _no_stream(receiver: ReceiverState) -> BackupFailed:
    return BackupFailed(
        f"the backup needs WAL, and the receiver {_how_it_stands(receiver)}",
        "see what keeps the receiver from streaming (walstream check), and take the backup again",
    )
