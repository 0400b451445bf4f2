"""``switch-wal``: end the current segment on the primary, and if wanted wait until it is stored."""

from __future__ import annotations

import time

from catalog.errors import Absent, RepositoryError, ServerRefused, WrongServer
from catalog.repository import Repository
from walstream.connection import Connection
from walstream.ops import wiring
from walstream.ops.check_stored import is_receiving
from walstream.ops.items import to_start
from walstream.ops.primary import identifier_of, primary_node
from walstream.server import checkpoint, is_standby, switch_wal
from walstream.settings.server import ServerSettings

POLL = 0.1


def switch(settings: ServerSettings, *, force: bool = False) -> str:
    """Switch; the name of the segment that was ended. ``force`` does a checkpoint first.

    Without new WAL nothing happens, and the name is that of the segment ended last: ``force`` makes some. For a
    standby its primary switches.
    """
    with wiring.open_sql(settings) as connection:
        if not is_standby(connection):
            return _switch(connection, force=force)
        known = identifier_of(settings, connection)
    node = primary_node(settings)
    if node is None:
        raise ServerRefused(
            f"server {settings.name!r} is a standby, which cannot switch WAL",
            "set primary_conninfo in its section; or run it for the primary, if that is configured under a name "
            "of its own",
        )
    with wiring.open_sql(node) as connection:
        _require_primary(settings.name, connection, known, identifier_of(node, connection))
        return _switch(connection, force=force)


def _switch(connection: Connection, *, force: bool) -> str:
    if force:
        checkpoint(connection)
    return switch_wal(connection)


def _require_primary(server: str, connection: Connection, ours: int | None, theirs: int | None) -> None:
    if is_standby(connection):
        raise ServerRefused(
            f"primary_conninfo of {server!r} leads to a standby, which cannot switch WAL",
            "let it lead to the primary (with several hosts: target_session_attrs=read-write)",
        )
    if ours is not None and theirs is not None and ours != theirs:
        raise WrongServer(
            f"primary_conninfo of {server!r} leads to another cluster: {theirs}, the standby is of {ours}",
            "correct conninfo or primary_conninfo",
        )


def wait_until_stored(settings: ServerSettings, segment: str, timeout: float) -> None:
    """Wait until a segment is in the repository; ``RepositoryError`` when it does not come."""
    repository = wiring.stored_repository(settings)
    deadline = time.monotonic() + timeout
    while not _is_stored(repository, segment):
        if not is_receiving(settings):
            raise RepositoryError(
                f"segment {segment} is not in the repository, and no receiver runs that would bring it",
                to_start(settings.name),
            )
        if time.monotonic() > deadline:
            raise RepositoryError(
                f"segment {segment} did not come into the repository within {timeout:g} seconds",
                f"see what is wrong: walstream check {settings.name}; or raise --archive-timeout",
            )
        time.sleep(POLL)


def _is_stored(repository: Repository, segment: str) -> bool:
    try:
        repository.wal.open(segment).close()
    except Absent:
        return False
    return True
