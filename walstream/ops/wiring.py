"""Settings joined to the library: repository, codec and options are made from them only here and in ``local``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from catalog.lock import Lock
from catalog.repository import Repository
from walstream.connection import Connection
from walstream.facts import ServerFacts
from walstream.intake import Intake
from walstream.ops import place
from walstream.ops.backup import BackupOptions, BackupRequest
from walstream.ops.local import backup_codec, hooks_of, stored_repository, wal_codec
from walstream.ops.place import Place
from walstream.ops.stored import archive_lock, backup_lock
from walstream.receiver import Receiver
from walstream.receiving import ReceiveOptions
from walstream.settings.server import ServerSettings

__all__ = [
    "archive_lock",
    "backup_lock",
    "backup_options",
    "connected_repository",
    "open_sql",
    "open_streaming",
    "place_of",
    "ready_repository",
    "receive_options",
    "receiver_lock",
    "receives_alike",
    "running_receiver",
    "stored_repository",
]


def open_streaming(settings: ServerSettings) -> Connection:
    """A replication connection for short questions."""
    return Connection.open(
        settings.streaming_conninfo, application_name="walstream", connect_timeout=_patience(settings)
    )


def open_sql(settings: ServerSettings) -> Connection:
    """An ordinary connection."""
    return Connection.open(
        settings.conninfo,
        application_name="walstream",
        replication=False,
        connect_timeout=_patience(settings),
    )


def ready_repository(
    settings: ServerSettings, connection: Connection, facts: ServerFacts, *, new: bool
) -> Repository:
    """The server's repository, made if there is none yet: see ``place.ready_repository``."""
    slot = None if new else settings.slot_name
    return place.ready_repository(settings.repository, settings.home, facts, connection, slot)


def connected_repository(settings: ServerSettings) -> Repository:
    """Connect, check the server's identity, and open or make its repository."""
    return place.connected_repository(
        settings.wal_streaming_conninfo, settings.repository, settings.home, settings.slot_name
    )


def receiver_lock(settings: ServerSettings) -> Lock:
    """The lock of which a server has one, however its receiver is started."""
    return place.receiver_lock(settings.home, settings.name)


def place_of(settings: ServerSettings) -> Place:
    """Where this server's WAL and backups are kept."""
    return Place(
        name=settings.name,
        repository=settings.repository,
        home=settings.home,
        codec=wal_codec(settings),
        unsynced_limit=settings.unsynced_limit,
        spool_limit=settings.spool_limit,
        hooks=hooks_of(settings),
    )


@contextmanager
def running_receiver(settings: ServerSettings, options: ReceiveOptions) -> Iterator[tuple[Receiver, Intake]]:
    """A receiver for the server, made and locked but not yet run; on leaving, its archiver is emptied."""
    with place.running_receiver(place_of(settings), options) as made:
        yield made


def receive_options(settings: ServerSettings) -> ReceiveOptions:
    """How this server's WAL is to be received."""
    return ReceiveOptions(
        conninfo=settings.wal_streaming_conninfo,
        application_name=settings.streaming_archiver_name,
        slot=settings.slot_name,
        create_slot=settings.create_slot == "auto",
        synchronous={"on": True, "off": False}.get(settings.synchronous),
        flush_interval=settings.flush_interval,
        status_interval=settings.status_interval,
        report_applied=settings.report_applied,
    )


def receives_alike(one: ServerSettings, other: ServerSettings) -> bool:
    """Whether for a receiver two settings are the same."""
    return (place_of(one), receive_options(one)) == (place_of(other), receive_options(other))


def backup_options(settings: ServerSettings, request: BackupRequest) -> BackupOptions:
    """How this server is to be backed up: what was asked for, and the settings where nothing was."""
    fast, rate = request.fast_checkpoint, request.max_rate
    retries, pause = request.retries, request.retry_pause
    return BackupOptions(
        place=place_of(settings),
        sql_conninfo=settings.conninfo,
        conninfo=settings.streaming_conninfo,
        receiving=receive_options(settings),
        may_receive=settings.streaming_archiver,
        unless_slot=settings.slot_name,
        codec=backup_codec(settings),
        delivered=settings.archiver and not settings.streaming_archiver,
        application_name=settings.streaming_backup_name,
        name=request.name,
        incremental=request.incremental,
        fast_checkpoint=settings.immediate_checkpoint if fast is None else fast,
        max_rate=settings.bandwidth_limit if rate is None else rate,
        wait=request.wait,
        wait_timeout=request.wait_timeout,
        retries=settings.basebackup_retry_times if retries is None else retries,
        retry_pause=settings.basebackup_retry_sleep if pause is None else pause,
        connect_timeout=_patience(settings),
    )


def _patience(settings: ServerSettings) -> int:
    return max(1, round(settings.check_timeout))
