"""Settings joined to the library: the only place where a repository, a codec or options are made from them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from catalog import durable, layout
from catalog.codec import Codec
from catalog.errors import Absent, ForeignRepository
from catalog.filing import Filing
from catalog.frames import Workers
from catalog.local_storage import LocalStorage, failed
from catalog.lock import Lock
from catalog.repository import Repository, create_repository, refuse_foreign
from catalog.repository_identity import RepositoryIdentity, read_identity
from catalog.state import receiver_lock_path
from walstream.connection import Connection
from walstream.intake import Intake, IntakeOptions
from walstream.ops.stored import repository_at
from walstream.receiver import ReceiveOptions, Receiver, ServerFacts, server_facts
from walstream.settings.server import ServerSettings

CODEC_THREADS = 2


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


def stored_repository(settings: ServerSettings) -> Repository:
    """The server's repository as it is; ``RepositoryError`` when none was ever made."""
    return repository_at(settings.repository, settings.name)


def ready_repository(settings: ServerSettings, facts: ServerFacts) -> Repository:
    """The server's repository, made if there is none yet, and its home beside it.

    ``WrongServer`` when it belongs to another cluster, ``ForeignRepository`` when a directory is not ours.
    """
    identity = RepositoryIdentity(
        facts.system.system_identifier,
        facts.version // 10000,
        facts.size,
        os.urandom(16),
        datetime.now(UTC).isoformat(timespec="seconds"),
    )
    repository = create_repository(settings.repository, identity)
    if os.path.abspath(settings.home) != repository.root:
        _claim_home(settings.home, repository.identity)
    try:
        for directory in (layout.STREAMING, layout.INCOMING, layout.ERRORS, layout.STATE):
            durable.make_directories(os.path.join(settings.home, directory))
    except OSError as error:
        raise failed("make", settings.home, error) from error
    return repository


def connected_repository(settings: ServerSettings) -> Repository:
    """Connect, check the server's identity, and open or make its repository."""
    with Connection.open(settings.wal_streaming_conninfo, application_name="walstream") as connection:
        return ready_repository(settings, server_facts(connection))


def receiver_lock(settings: ServerSettings) -> Lock:
    """The lock of which a server has one, however its receiver is started."""
    return Lock(receiver_lock_path(settings.home), f"receiving WAL of {settings.name!r}")


def archive_lock(repository: Repository, name: str) -> Lock:
    """The lock of whoever files WAL."""
    return repository.lock(layout.ARCHIVE_LOCK, f"archiving WAL of {name!r}")


def backup_lock(repository: Repository, name: str) -> Lock:
    """The lock of whoever adds or removes backups."""
    return repository.lock(layout.BACKUP_LOCK, f"taking or removing backups of {name!r}")


def wal_codec(settings: ServerSettings) -> Codec:
    """How WAL is stored."""
    return _codec(settings.compression, settings.compression_level)


def backup_codec(settings: ServerSettings) -> Codec:
    """How base backups are stored."""
    return _codec(settings.backup_compression, settings.backup_compression_level)


@contextmanager
def running_receiver(settings: ServerSettings, options: ReceiveOptions) -> Iterator[tuple[Receiver, Intake]]:
    """A receiver for the server, made and locked but not yet run; on leaving, its archiver is emptied."""
    repository = connected_repository(settings)
    with (
        receiver_lock(settings),
        archive_lock(repository, settings.name),
        Workers(CODEC_THREADS) as workers,
    ):
        identity = repository.identity
        filing = Filing(
            repository.storage,
            identity.wal_segment_size,
            identity.system_identifier,
            wal_codec(settings),
            workers,
        )
        intake = Intake(repository, filing, IntakeOptions(settings.home, settings.unsynced_limit))
        try:
            yield Receiver(options, intake), intake
        finally:
            intake.close()


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


def _claim_home(home: str, identity: RepositoryIdentity) -> None:
    storage = LocalStorage(home)
    try:
        read_identity(storage).require(identity.system_identifier)
    except Absent:
        try:
            refuse_foreign(home)
        except ForeignRepository as error:
            raise ForeignRepository(error.message, "choose another walstream_home") from None
        storage.put(layout.IDENTITY, identity.to_json())


def _codec(name: str, level: int) -> Codec:
    return Codec.of(name) if name == "none" else Codec.of(name, level)


def _patience(settings: ServerSettings) -> int:
    """``connect_timeout``: whole seconds, 0 for no limit."""
    return max(1, round(settings.check_timeout)) if settings.check_timeout else 0
