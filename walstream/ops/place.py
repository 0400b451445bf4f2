"""Where one server's WAL and backups are kept, by plain values: made ready, locked, received into.

The same code serves the command line, which has these values from settings (``wiring``), and the library.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from catalog import durable, layout
from catalog.codec import Codec
from catalog.errors import Absent, ForeignRepository, StreamRefused
from catalog.filing import Filing
from catalog.frames import Workers
from catalog.local_storage import LocalStorage, failed
from catalog.lock import Lock
from catalog.repository import (
    Repository,
    create_repository,
    open_repository,
    refuse_foreign,
    refuse_vanished,
)
from catalog.repository_identity import RepositoryIdentity, read_identity
from catalog.state import receiver_lock_path
from walstream.connection import Connection
from walstream.facts import ServerFacts, server_facts
from walstream.intake import Intake, IntakeOptions
from walstream.ops.hooks import NO_HOOKS, Hooks, hooked
from walstream.ops.stored import archive_lock
from walstream.receiver import Receiver
from walstream.receiving import ReceiveOptions
from walstream.slots import find_slot

CODEC_THREADS = 2
# Whoever archives leftovers lets go after the segment at hand, when a receiver wants to begin.
ARCHIVE_PATIENCE = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """``repository`` and ``home`` are the server's own directories, ``name`` is what people call it.

    ``codec`` is how WAL is stored, ``unsynced_limit`` how many received bytes may wait for a sync,
    ``spool_limit`` how many to be archived (None: no limit), ``hooks`` the operator's scripts.
    """

    name: str
    repository: str
    home: str
    codec: Codec
    unsynced_limit: int = 64 << 20
    spool_limit: int | None = None
    hooks: Hooks = NO_HOOKS


def ready_repository(
    repository: str, home: str, facts: ServerFacts, connection: Connection, unless_slot: str | None = None
) -> Repository:
    """The server's repository, made if there is none yet, and its home beside it.

    It is not made when the server has the slot ``unless_slot``: somebody received here before, and what looks like
    a new place may be an empty mount point. ``WrongServer`` when it belongs to another cluster,
    ``ForeignRepository`` when a directory is not ours.
    """
    refuse_vanished(repository, home)
    if unless_slot is not None and not _is_there(repository):
        _refuse_known_slot(connection, unless_slot, repository)
    identity = RepositoryIdentity(
        facts.system.system_identifier,
        facts.version // 10000,
        facts.size,
        os.urandom(16),
        datetime.now(UTC).isoformat(timespec="seconds"),
    )
    made = create_repository(repository, identity)
    _ready_home(home, made)
    return made


def known_repository(conninfo: str, repository: str, home: str, unless_slot: str | None = None) -> Repository:
    """The server's repository; the server is asked only when there is none yet: see ``ready_repository``."""
    try:
        known = open_repository(repository)
    except Absent:
        with Connection.open(conninfo, application_name="walstream") as connection:
            return ready_repository(repository, home, server_facts(connection), connection, unless_slot)
    _ready_home(home, known)
    return known


def connected_repository(
    conninfo: str, repository: str, home: str, unless_slot: str | None = None
) -> Repository:
    """Connect for replication, check the server's identity, and open or make its repository."""
    with Connection.open(conninfo, application_name="walstream") as connection:
        return ready_repository(repository, home, server_facts(connection), connection, unless_slot)


def receiver_lock(home: str, name: str) -> Lock:
    """The lock of which a server has one, however its receiver is started."""
    return Lock(receiver_lock_path(home), f"receiving WAL of {name!r}")


@contextmanager
def reserved(place: Place, conninfo: str, unless_slot: str | None = None) -> Iterator[Repository]:
    """The server's repository, with both locks that a receiver needs: its own and the archive's."""
    repository = known_repository(conninfo, place.repository, place.home, unless_slot)
    with (
        receiver_lock(place.home, place.name),
        archive_lock(repository, place.name).acquire(ARCHIVE_PATIENCE),
    ):
        yield repository


@contextmanager
def running_receiver(place: Place, options: ReceiveOptions) -> Iterator[tuple[Receiver, Intake]]:
    """A receiver for the server, made and locked but not yet run; on leaving, its archiver is emptied."""
    with reserved(place, options.conninfo) as repository, receiver_into(repository, place, options) as made:
        yield made


@contextmanager
def receiver_into(
    repository: Repository, place: Place, options: ReceiveOptions
) -> Iterator[tuple[Receiver, Intake]]:
    """A receiver into a ``reserved`` repository, not yet run; on leaving, its archiver is emptied."""
    with Workers(CODEC_THREADS) as workers:
        identity = repository.identity
        filing = Filing(
            repository.storage,
            identity.wal_segment_size,
            identity.system_identifier,
            place.codec,
            workers,
            identity.salt,
        )
        intake = Intake(
            repository,
            filing,
            IntakeOptions(
                place.home,
                place.unsynced_limit,
                place.spool_limit,
                lambda put, is_over: hooked(put, place.hooks, is_over),
            ),
        )
        try:
            yield Receiver(options, intake), intake
        finally:
            intake.close()


def _is_there(repository: str) -> bool:
    try:
        open_repository(repository)
    except Absent:
        return False
    return True


def _refuse_known_slot(connection: Connection, slot: str, repository: str) -> None:
    def open_sql() -> Connection:
        return Connection.open(connection.conninfo, application_name="walstream", replication=False)

    if find_slot(connection, slot, open_sql).kind is not None:
        raise StreamRefused(
            f"there is no repository in {repository!r}, but the server has the slot {slot!r} already",
            "is its disk mounted? If this is to be a new repository, start it once by hand: walstream receive-wal",
        )


def _ready_home(home: str, repository: Repository) -> None:
    if os.path.abspath(home) != repository.root:
        _claim_home(home, repository.identity)
    try:
        for directory in (layout.STREAMING, layout.INCOMING, layout.ERRORS, layout.STATE):
            durable.make_directories(os.path.join(home, directory))
    except OSError as error:
        raise failed("make", home, error) from error


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
