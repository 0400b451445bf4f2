"""Facts about a server, asked for by SQL on an ordinary connection."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from catalog.errors import ServerRefused
from catalog.lsn import LSN, SegmentSize
from catalog.walname import Segment
from walstream.commands import Row, number, show, text
from walstream.connection import Connection

INSUFFICIENT_PRIVILEGE = "42501"

_SETTINGS = (
    "wal_level",
    "max_wal_senders",
    "max_replication_slots",
    "max_slot_wal_keep_size",
    "idle_replication_slot_timeout",
    "synchronous_standby_names",
    "synchronous_commit",
    "wal_segment_size",
    "data_directory",
    "data_checksums",
    "block_size",
    "summarize_wal",
    "archive_mode",
    "full_page_writes",
)


@dataclass(frozen=True, slots=True)
class TablespaceFacts:
    """A tablespace; ``location`` is empty for the built-in ones, relative for one in place."""

    oid: int
    name: str
    location: str


@dataclass(frozen=True, slots=True)
class CommitLevel:
    """What ``synchronous_commit`` is set to for a role or a database, or a role in a database."""

    role: str | None
    database: str | None
    level: str


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """What an administrator would look up; settings that the role may not see are missing.

    ``clock_offset``: seconds to add to the local clock for the server's. ``wal_senders`` counts the
    connections that use one. ``commit_levels`` are what roles and databases set ``synchronous_commit``
    to, whatever it is for the rest.
    """

    version: int
    in_recovery: bool
    role: str
    may_replicate: bool
    may_switch_wal: bool
    clock_offset: float
    slots: int
    wal_senders: int
    settings: Mapping[str, str]
    tablespaces: tuple[TablespaceFacts, ...]
    commit_levels: tuple[CommitLevel, ...] = ()


def cluster_facts(connection: Connection) -> ClusterFacts:
    """Ask for all of it, in a few queries."""
    before = time.time()
    clock = text(connection.row("SELECT extract(epoch FROM clock_timestamp())")[0], "time")
    local = (before + time.time()) / 2
    names = ", ".join(f"'{name}'" for name in _SETTINGS)
    settings = connection.query(f"SELECT name, setting FROM pg_settings WHERE name IN ({names})")
    spaces = connection.query(
        "SELECT oid, spcname, CASE WHEN spcname IN ('pg_default', 'pg_global') THEN '' "
        "ELSE pg_tablespace_location(oid) END FROM pg_tablespace ORDER BY oid"
    )
    role = connection.row(
        "SELECT current_user, rolsuper OR rolreplication, pg_is_in_recovery(), "
        "has_function_privilege('pg_switch_wal()', 'EXECUTE'), "
        "(SELECT count(*) FROM pg_replication_slots), "
        "(SELECT count(*) FROM pg_stat_get_wal_senders() w) "
        "FROM pg_roles WHERE rolname = current_user"
    )
    return ClusterFacts(
        version=connection.server_version,
        in_recovery=_is_true(role[2]),
        role=text(role[0], "role"),
        may_replicate=_is_true(role[1]),
        may_switch_wal=_is_true(role[3]),
        clock_offset=float(clock) - local,
        slots=number(role[4], "number of slots"),
        wal_senders=number(role[5], "number of WAL senders"),
        settings={text(row[0], "setting"): text(row[1], "setting") for row in settings},
        tablespaces=tuple(_tablespace(row) for row in spaces),
        commit_levels=_commit_levels(connection),
    )


def _commit_levels(connection: Connection) -> tuple[CommitLevel, ...]:
    rows = connection.query(
        "SELECT rolname, datname, split_part(value, '=', 2) FROM pg_db_role_setting s "
        "LEFT JOIN pg_roles r ON r.oid = setrole LEFT JOIN pg_database d ON d.oid = setdatabase, "
        "unnest(setconfig) value WHERE split_part(value, '=', 1) = 'synchronous_commit' ORDER BY 1, 2"
    )
    return tuple(
        CommitLevel(_maybe(role), _maybe(database), text(level, "level")) for role, database, level in rows
    )


def _maybe(name: bytes | None) -> str | None:
    return None if name is None else text(name, "name")


def system_identifier(connection: Connection) -> int:
    """The cluster's identifier, by SQL."""
    return number(connection.row("SELECT system_identifier FROM pg_control_system()")[0], "system identifier")


def data_size(connection: Connection) -> int | None:
    """How many bytes all databases take; None when the role may not see that of each."""
    try:
        found = connection.row("SELECT sum(pg_database_size(oid))::bigint FROM pg_database")[0]
    except ServerRefused as refusal:
        if refusal.sqlstate != INSUFFICIENT_PRIVILEGE:
            raise
        return None
    return number(found, "number of bytes")


def is_standby(connection: Connection) -> bool:
    """Whether the server is in recovery, and so cannot write WAL of its own."""
    return _is_true(connection.row("SELECT pg_is_in_recovery()")[0])


def switch_wal(connection: Connection) -> str:
    """Make the server begin a new segment; the name of the one that was ended.

    On a server without new WAL nothing happens, and the name is that of the segment before.
    """
    with _privileged("GRANT EXECUTE ON FUNCTION pg_switch_wal() TO …"):
        position = LSN.parse(text(connection.row("SELECT pg_switch_wal()")[0], "position"))
    # For a position between two segments pg_walfile_name names the former before 17 and the latter
    # from then on, so that only the timeline is taken from its answer.
    name = text(connection.row(f"SELECT pg_walfile_name('{position}')")[0], "segment")
    size = SegmentSize.parse(text(connection.row(show("wal_segment_size"))[0], "segment size"))
    return Segment(int(name[:8], 16), size.number_before(position)).name(size)


def checkpoint(connection: Connection) -> None:
    """Make the server do a checkpoint, which writes a little WAL."""
    grant = "GRANT pg_checkpoint TO … (before PostgreSQL 15: only superusers can); or leave --force away"
    with _privileged(grant):
        connection.query("CHECKPOINT")


@contextmanager
def _privileged(grant: str) -> Iterator[None]:
    """What needs a privilege that a role may lack; ``grant`` is how it gets that."""
    try:
        yield
    except ServerRefused as refusal:
        if refusal.sqlstate != INSUFFICIENT_PRIVILEGE:
            raise
        hint = f"give the role the privilege: {grant}"
        raise ServerRefused(refusal.message, hint, refusal.sqlstate) from None


def _tablespace(row: Row) -> TablespaceFacts:
    return TablespaceFacts(number(row[0], "oid"), text(row[1], "name"), text(row[2], "location"))


def _is_true(value: bytes | None) -> bool:
    return value == b"t"
