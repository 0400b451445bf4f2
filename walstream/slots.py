"""Replication slots: find, create, drop.

READ_REPLICATION_SLOT exists from 15 on; before, the same facts are asked for by SQL on a second, ordinary
connection that the caller opens.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from catalog.errors import ServerRefused
from catalog.lsn import LSN
from walstream import commands
from walstream.connection import Connection

log = logging.getLogger("walstream.receiver")

DUPLICATE_OBJECT = "42710"
UNDEFINED_OBJECT = "42704"
OBJECT_IN_USE = "55006"
NOT_IN_PREREQUISITE_STATE = "55000"
FEATURE_NOT_SUPPORTED = "0A000"
FIRST_WITH_INVALIDATION = 170000

OpenSql = Callable[[], Connection]


@dataclass(frozen=True, slots=True)
class SlotFacts:
    """A slot as ``pg_replication_slots`` shows it; ``retained`` is how many bytes of WAL it keeps.

    ``safe``: so many bytes may be written before it can lose WAL, None without a limit. ``invalidated`` says why
    the server has given it up, ``inactive_since`` (Unix time) since when nobody reads from it; both from 17 on.
    """

    kind: str
    active: bool
    restart: LSN | None
    wal_status: str | None
    retained: int | None
    safe: int | None = None
    invalidated: str | None = None
    inactive_since: float | None = None


def find_slot(connection: Connection, name: str, open_sql: OpenSql) -> commands.SlotPosition:
    """Kind and restart position of a slot; all None when there is none of that name."""
    commands.checked_slot_name(name)
    if connection.server_version >= commands.FIRST_WITH_READ_SLOT:
        try:
            return commands.slot_position(connection.row(commands.read_slot(name)))
        except ServerRefused as refusal:
            if refusal.sqlstate != FEATURE_NOT_SUPPORTED:
                raise
            return commands.SlotPosition("logical", None, None)
    with open_sql() as sql:
        rows = sql.query(
            f"SELECT slot_type, restart_lsn, NULL FROM pg_replication_slots WHERE slot_name = '{name}'"
        )
    return commands.slot_position(rows[0]) if rows else commands.SlotPosition(None, None, None)


def ensure_slot(connection: Connection, name: str, *, create: bool, open_sql: OpenSql) -> LSN | None:
    """The restart position of a physical slot, created (and WAL reserved at once) if need be.

    None for a slot that has not reserved WAL yet. ``ServerRefused`` when it is missing and ``create``
    is false, or is not physical, or cannot be created.
    """
    found = find_slot(connection, name, open_sql)
    if found.kind is None and create:
        create_slot(connection, name)
        found = find_slot(connection, name, open_sql)
    if found.kind == "physical" and found.restart is None:
        renew_slot(connection, name, create=create)
        found = find_slot(connection, name, open_sql)
    if found.kind is None:
        raise ServerRefused(
            f"there is no replication slot {name!r} on the server",
            "create it with 'walstream receive-wal --create-slot', or set create_slot = auto",
            UNDEFINED_OBJECT,
        )
    if found.kind != "physical":
        raise ServerRefused(
            f"replication slot {name!r} is a {found.kind} one", "give slot_name the name of a physical slot"
        )
    return found.restart


def renew_slot(connection: Connection, name: str, *, create: bool) -> None:
    """Make a slot anew in place of one that holds no WAL: ours always do, so the server has invalidated it.

    From 18 on it may also do so for the time that nobody used it, which only a stream that is refused shows.
    """
    if not create:
        raise ServerRefused(
            f"replication slot {name!r} keeps no WAL: the server has invalidated it, or it was made without WAL",
            "drop it and create it again with 'walstream receive-wal --drop-slot' and '--create-slot', then take "
            "a new backup; raise max_slot_wal_keep_size to keep it from happening again",
        )
    log.warning("replication slot %s was invalidated by the server: it is made anew", name)
    drop_slot(connection, name)
    create_slot(connection, name)


def create_slot(connection: Connection, name: str, *, temporary: bool = False) -> bool:
    """Create a physical slot that reserves WAL at once; False when it was there already.

    A temporary one is gone when the connection ends.
    """
    try:
        connection.query(commands.create_slot(name, connection.server_version, temporary=temporary))
    except ServerRefused as refusal:
        if refusal.sqlstate == DUPLICATE_OBJECT:
            return False
        raise
    return True


def drop_slot(connection: Connection, name: str) -> None:
    """Drop a slot; the server refuses while somebody streams from it."""
    connection.query(commands.drop_slot(name))


def slot_facts(connection: Connection, name: str) -> SlotFacts | None:
    """Ask about a slot by SQL, on an ordinary connection; None when there is none of that name."""
    newer = connection.server_version >= FIRST_WITH_INVALIDATION
    causes = "invalidation_reason, extract(epoch FROM inactive_since)" if newer else "NULL, NULL"
    rows = connection.query(
        "SELECT slot_type, active, restart_lsn, wal_status, greatest(0, pg_wal_lsn_diff(CASE WHEN "
        "pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, restart_lsn))::bigint, "
        f"safe_wal_size, {causes} "
        f"FROM pg_replication_slots WHERE slot_name = '{commands.checked_slot_name(name)}'"
    )
    if not rows:
        return None
    kind, active, restart, wal_status, retained, safe, invalidated, inactive_since = rows[0]
    position = _maybe(restart, "restart position")
    since = _maybe(inactive_since, "time")
    return SlotFacts(
        commands.text(kind, "kind of slot"),
        active == b"t",
        None if position is None else LSN.parse(position),
        _maybe(wal_status, "WAL status"),
        # greatest() passes over nulls: without a position nothing is retained, rather than 0 bytes
        None if position is None else commands.number(retained, "number of bytes"),
        None if safe is None else int(commands.text(safe, "number of bytes")),
        _maybe(invalidated, "reason"),
        None if since is None else float(since),
    )


def _maybe(value: bytes | None, what: str) -> str | None:
    return None if value is None else commands.text(value, what)
