"""Who streams from a server: the rows of ``pg_stat_replication``, asked for on an ordinary connection."""

from __future__ import annotations

from dataclasses import dataclass

from catalog.lsn import LSN
from walstream.commands import Row, number, text
from walstream.connection import Connection

BACKING_UP = "backup"

_CLIENTS = """
SELECT r.pid, s.slot_name, r.application_name, r.usename, host(r.client_addr), r.client_hostname, r.client_port,
    extract(epoch FROM r.backend_start), r.backend_xmin, r.state, r.sync_state, r.sync_priority,
    r.sent_lsn, r.write_lsn, r.flush_lsn, r.replay_lsn
FROM pg_stat_replication r LEFT JOIN pg_replication_slots s ON s.active_pid = r.pid
ORDER BY r.backend_start, r.pid"""
_POSITION = """
SELECT CASE WHEN pg_is_in_recovery() THEN coalesce(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
    ELSE pg_current_wal_lsn() END, current_user"""


@dataclass(frozen=True, slots=True)
class Client:
    """One connection that streams; ``started`` in Unix seconds.

    Where a client has reported no position, or the role may not see it, that is None; a role without privileges
    sees neither ``state`` nor what follows it.
    """

    pid: int
    slot: str | None
    application_name: str | None
    user: str | None
    address: str | None
    hostname: str | None
    port: int | None
    started: float | None
    xmin: str | None
    state: str | None
    sync_state: str | None
    sync_priority: int | None
    sent: LSN | None
    written: LSN | None
    flushed: LSN | None
    replayed: LSN | None


@dataclass(frozen=True, slots=True)
class Clients:
    """All of them, the oldest connection first, and how far the server is; ``role`` is who asked."""

    position: LSN
    role: str
    rows: tuple[Client, ...]

    @property
    def are_hidden(self) -> bool:
        """Whether the role may not see what the clients do."""
        return any(row.state is None for row in self.rows)


def clients_of(connection: Connection) -> Clients:
    """Ask; the position last, so that no client is ahead of it."""
    rows = tuple(_client(row) for row in connection.query(_CLIENTS))
    position, role = connection.row(_POSITION)
    return Clients(LSN.parse(text(position, "position")), text(role, "role"), rows)


def _client(row: Row) -> Client:
    words = [None if column is None else text(column, "fact about a client") for column in row]
    _, slot, application_name, user, address, hostname, port, started, xmin, state, sync_state, priority = (
        words[:12]
    )
    sent, written, flushed, replayed = (None if word is None else LSN.parse(word) for word in words[12:])
    return Client(
        pid=number(row[0], "process"),
        slot=slot,
        application_name=application_name,
        user=user,
        address=address,
        hostname=hostname,
        port=None if port is None else int(port),
        started=None if started is None else float(started),
        xmin=xmin,
        state=state,
        sync_state=sync_state,
        sync_priority=None if priority is None else int(priority),
        sent=sent,
        written=written,
        flushed=flushed,
        replayed=replayed,
    )
