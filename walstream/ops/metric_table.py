"""The table of metrics: each reads its value from a server's figures. Pure.

What is not known is left out, rather than told as zero. Times are moments: an age is ``time()`` less one of them.
Names, labels and meanings stay as they are once they are released, because alerts rest on them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from walstream.ops.figures import Checked, Exposure, LastBackup, ServerFigures, StoredFigures, exposure
from walstream.ops.receiver_facts import ReceiverFacts
from walstream.slots import SlotFacts
from walstream.standing import STREAMING

TOTAL = "_total"
WAL_STATUSES = ("reserved", "extended", "unreserved", "lost")

Value = float | None
# A value, or one for each value of the metric's own label; None when there is nothing to be told.
Values = Value | Mapping[str, Value]
Read = Callable[[ServerFigures, float], Values]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric, of each server: ``read`` gets its figures and the Unix time of now."""

    name: str
    meaning: str
    read: Read
    label: str | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of its labels."""
        return ("server",) if self.label is None else ("server", self.label)


def _of_receiver(read: Callable[[ReceiverFacts], Values]) -> Read:
    return lambda figures, _: None if figures.receiver is None else read(figures.receiver)


def _of_stored(read: Callable[[StoredFigures], Values]) -> Read:
    return lambda figures, _: None if figures.stored is None else read(figures.stored)


def _of_last(read: Callable[[LastBackup], Value]) -> Read:
    return _of_stored(lambda stored: {status: read(backup) for status, backup in stored.last.items()})


def _of_check(read: Callable[[Checked], Values]) -> Read:
    return lambda figures, _: None if figures.checked is None else read(figures.checked)


def _of_slot(read: Callable[[SlotFacts], Values]) -> Read:
    def of_check(checked: Checked) -> Values:
        wal = checked.report.wal
        return None if wal is None or wal.slot is None else read(wal.slot)

    return _of_check(of_check)


def _of_exposure(read: Callable[[Exposure], Value]) -> Read:
    def of_figures(figures: ServerFigures, now: float) -> Value:
        found = exposure(figures.receiver, figures.position, now) if figures.receiver is not None else None
        return None if found is None else read(found)

    return of_figures


def _items(checked: Checked) -> Mapping[str, Value]:
    found: dict[str, Value] = {}
    for item in checked.report.items:
        found[item.label] = float(item.ok and found.get(item.label) != 0)
    return found


def _active(figures: ServerFigures, now: float) -> Value:
    return None if figures.settings is None else figures.settings.active


def _streaming(found: ReceiverFacts) -> Value:
    return found.live is not None and found.live.phase == STREAMING


def _published(found: ReceiverFacts) -> Value:
    return found.state.at if found.state is not None else None


def _flushed(found: ReceiverFacts) -> Value:
    state = found.state
    return state.flushed.value if state is not None and state.timeline else None


def _restarts(found: ReceiverFacts) -> Value:
    return found.supervisor.restarts if found.supervisor is not None else None


def _wal_statuses(slot: SlotFacts) -> Mapping[str, Value]:
    return {status: status == slot.wal_status for status in WAL_STATUSES}


METRICS = (
    Metric(
        "walstream_configuration_ok",
        "0 when the server's section is wrong: nothing else is told of it",
        lambda figures, _: figures.settings is not None,
    ),
    Metric("walstream_server_active", "0 when the server is not to be received from and backed up", _active),
    Metric(
        "walstream_readable",
        "0 when what the receiver publishes, or the repository, could not be read for a minute",
        lambda figures, _: figures.readable,
        "part",
    ),
    Metric("walstream_receiver_up", "1 while a receiver runs", _of_receiver(lambda found: found.running)),
    Metric("walstream_receiver_streaming", "1 while the receiver has a stream", _of_receiver(_streaming)),
    Metric(
        "walstream_receiver_stopped",
        "1 when an operator has ended the receiver and wants no other to be started",
        _of_receiver(lambda found: found.stopped),
    ),
    Metric(
        "walstream_receiver_lag_bytes",
        "WAL of the server that is not flushed here, and would be lost with it now",
        _of_exposure(lambda found: found.nbytes),
    ),
    Metric(
        "walstream_receiver_lag_seconds",
        "For how long some WAL has not been flushed here; without a stream, since that was lost",
        _of_exposure(lambda found: found.seconds),
    ),
    Metric(
        "walstream_receiver_flushed_position_bytes",
        "Up to which position WAL is flushed here: its rate is the server's rate of WAL",
        _of_receiver(_flushed),
    ),
    Metric(
        "walstream_receiver_published_timestamp_seconds",
        "When the receiver, or the last one that ran, has last told where it stands",
        _of_receiver(_published),
    ),
    Metric(
        "walstream_receiver_restarts_total",
        "How often a running walstream run has started the receiver again",
        _of_receiver(_restarts),
    ),
    Metric(
        "walstream_spool_segments",
        "Complete segments that are not yet in the repository",
        _of_receiver(lambda found: found.spool.segments),
    ),
    Metric(
        "walstream_spool_bytes",
        "Bytes of the segments that are not yet in the repository",
        _of_receiver(lambda found: found.spool.nbytes),
    ),
    Metric(
        "walstream_spool_oldest_timestamp_seconds",
        "Since when the oldest segment waits that is not yet in the repository; missing when none does",
        _of_receiver(lambda found: found.spool.since),
    ),
    Metric(
        "walstream_last_archived_wal_timestamp_seconds",
        "When the newest complete segment came to the repository",
        _of_stored(lambda stored: stored.archived_at),
    ),
    Metric(
        "walstream_wal_segments",
        "Segments in the repository, partial ones too",
        _of_stored(lambda stored: stored.wal.files),
    ),
    Metric(
        "walstream_wal_bytes",
        "Bytes that the segments in the repository take",
        _of_stored(lambda stored: stored.wal.nbytes),
    ),
    Metric(
        "walstream_open_gaps",
        "Gaps that had to be accepted, and behind which no restorable backup begins yet",
        _of_stored(lambda stored: stored.open_gaps),
    ),
    Metric("walstream_backups", "Backups of a status", _of_stored(lambda stored: stored.counts), "status"),
    Metric(
        "walstream_last_backup_timestamp_seconds",
        "When the newest backup of a status ended; FAILED: when it failed, STARTED: when it began",
        _of_last(lambda backup: backup.at),
        "status",
    ),
    Metric(
        "walstream_last_backup_size_bytes",
        "Size of the cluster in the newest backup of a status",
        _of_last(lambda backup: backup.size),
        "status",
    ),
    Metric(
        "walstream_last_backup_stored_bytes",
        "Bytes that the files of the newest backup of a status take",
        _of_last(lambda backup: backup.stored),
        "status",
    ),
    Metric(
        "walstream_last_backup_duration_seconds",
        "How long the copy of the newest backup of a status took",
        _of_last(lambda backup: backup.seconds),
        "status",
    ),
    Metric(
        "walstream_recoverable_since_timestamp_seconds",
        "The end of the oldest backup that can be restored",
        _of_stored(lambda stored: stored.recoverable_since),
    ),
    Metric(
        "walstream_repository_free_bytes",
        "Bytes that are free on the repository's file system",
        _of_stored(lambda stored: stored.free),
    ),
    Metric(
        "walstream_repository_room_bytes",
        "Size of the repository's file system",
        _of_stored(lambda stored: stored.room),
    ),
    Metric(
        "walstream_slot_active",
        "1 when somebody read from the slot, at the last check",
        _of_slot(lambda slot: slot.active),
    ),
    Metric(
        "walstream_slot_retained_bytes",
        "WAL that the server keeps for the slot, as of the last check",
        _of_slot(lambda slot: slot.retained),
    ),
    Metric(
        "walstream_slot_safe_wal_bytes",
        "How much the server may write before the slot can lose WAL; missing without a limit",
        _of_slot(lambda slot: slot.safe),
    ),
    Metric(
        "walstream_slot_wal_status",
        "1 for the wal_status that the slot had at the last check, 0 for the others",
        _of_slot(_wal_statuses),
        "status",
    ),
    Metric(
        "walstream_check_ok",
        "1 when an item of walstream check is OK, 0 when it FAILED",
        _of_check(_items),
        "item",
    ),
    Metric(
        "walstream_check_timestamp_seconds",
        "When the last check ended",
        _of_check(lambda checked: checked.at),
    ),
    Metric(
        "walstream_check_duration_seconds",
        "How long the last check took",
        _of_check(lambda checked: checked.seconds),
    ),
)
