"""How a client of ``pg_stat_replication`` is shown, in Barman's words and keys. Pure."""

from __future__ import annotations

from catalog.lsn import LSN
from catalog.units import size
from walstream.cli.status_entries import moment
from walstream.ops.replication import BACKUP, STANDBY, UNKNOWN, is_ours, kind_of_client
from walstream.replication import Client
from walstream.settings.server import ServerSettings

Facts = dict[str, object]
_LETTERS = {STANDBY: "R", BACKUP: "B", UNKNOWN: "-"}


def facts_of(client: Client, settings: ServerSettings, current: LSN) -> Facts:
    """A client in JSON."""
    facts: Facts = {
        "name": name_of(client, settings),
        "application_name": client.application_name,
        "our_receiver": is_ours(client, settings),
        "sync_stage": stage_of(client, settings),
        "sync_priority": client.sync_priority,
        "communication": communication_of(client),
        "ip_address": client.address,
        "port": client.port,
        "host": client.hostname,
        "user_name": client.user,
        "current_state": client.state,
        "current_sync_state": client.sync_state,
        "replication_slot": client.slot,
        "wal_sender_pid": client.pid,
        "started_at": None if client.started is None else moment(client.started),
        "standbys_xmin": client.xmin,
    }
    for key, _, position in _positions(client):
        if position is not None:
            behind = max(0, current - position)
            facts |= {key: str(position), f"{key}_diff": size(behind), f"{key}_diff_bytes": behind}
    return facts


def lines_of(client: Client, settings: ServerSettings, current: LSN) -> list[str]:
    """A client as people read it: its name first, without its number."""
    mark = " (the receiver of this server)" if is_ours(client, settings) else ""
    address = f"{client.address} / Port: {client.port} / Host: {client.hostname or '-'}"
    synchronous = f" ({client.sync_state})" if client.sync_state else ""
    lines = [
        ("Application name", client.application_name or "-"),
        ("Sync stage", stage_of(client, settings)),
        ("Communication", communication_of(client)),
        *([("IP Address", address)] if client.address else []),
        ("User name", client.user or "-"),
        ("Current state", f"{client.state or 'hidden'}{synchronous}"),
        *([("Replication slot", client.slot)] if client.slot else []),
        ("WAL sender PID", str(client.pid)),
        *([("Started at", moment(client.started))] if client.started is not None else []),
        *([("Standby's xmin", client.xmin)] if client.xmin else []),
    ]
    shown = [f"{name_of(client, settings)}{mark}", *(f"{label:<16}: {value}" for label, value in lines)]
    for _, label, position in _positions(client):
        if position is not None:
            shown.append(f"{label:<16}: {position} (diff: {size(max(0, current - position))})")
    return shown


def minimal_line(client: Client, settings: ServerSettings) -> str:
    """A client on one line."""
    letter = _LETTERS.get(kind_of_client(client, settings), "W")
    positions = [("S", client.sent), ("W", client.written)]
    if letter == "R":
        positions += [("F", client.flushed), ("R", client.replayed)]
    told = " ".join(f"{word}:{'-' if position is None else position}" for word, position in positions)
    priority = "-" if client.sync_priority is None else client.sync_priority
    host = client.hostname or client.address or ("-" if client.port is None else "socket")
    line = f"{letter}) {client.user or '-'}@{host} {told}"
    mark = " (the receiver of this server)" if is_ours(client, settings) else ""
    return f"{line} P:{priority} AN:{client.application_name or '-'}{mark}"


def name_of(client: Client, settings: ServerSettings) -> str:
    """``Async standby``, ``Sync WAL streamer``; what is neither has no such word."""
    kind = kind_of_client(client, settings)
    if kind in (BACKUP, UNKNOWN) or client.sync_state is None:
        return kind[0].upper() + kind[1:]
    return f"{client.sync_state.capitalize()} {kind}"


def stage_of(client: Client, settings: ServerSettings) -> str:
    """How much the client can vouch for, out of 3 for a streamer, and out of 5 for a standby."""
    if client.state is None:
        return "-"
    is_standby = kind_of_client(client, settings) == STANDBY
    if is_standby and client.replayed is not None:
        return "5/5 Hot standby (max)"
    if is_standby and client.flushed is not None:
        return "4/5 2-safe"
    most = 5 if is_standby else 3
    if client.written is not None:
        return f"3/{most} Remote write"
    return f"2/{most} WAL Sent (min)" if client.sent is not None else f"1/{most} 1-safe"


def communication_of(client: Client) -> str:
    """``TCP/IP``, or a socket of the server's own host; unknown when that is hidden."""
    if client.address is not None:
        return "TCP/IP"
    return "-" if client.port is None else "Unix domain socket"


def _positions(client: Client) -> list[tuple[str, str, LSN | None]]:
    return [
        ("sent_lsn", "Sent LSN", client.sent),
        ("write_lsn", "Write LSN", client.written),
        ("flush_lsn", "Flush LSN", client.flushed),
        ("replay_lsn", "Replay LSN", client.replayed),
    ]
