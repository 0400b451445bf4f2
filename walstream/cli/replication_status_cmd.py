"""``walstream replication-status``: who streams from a server, and how far each of them is."""

from __future__ import annotations

import argparse

from catalog.errors import UsageError, WalstreamError
from walstream.cli.context import Context
from walstream.cli.replication_text import facts_of, lines_of, minimal_line
from walstream.ops.replication import (
    BACKUP_HOST,
    STANDBY,
    STREAMER,
    WAL_HOST,
    kind_of_client,
    replication_status,
)
from walstream.ops.requirements import identifier
from walstream.replication import Client, Clients
from walstream.settings.server import ServerSettings

EXAMPLE = "walstream replication-status main"

# What is asked for → what it is called in JSON and by people, and which kind of client it is.
TARGETS = {
    "all": ("streaming_clients", "streaming clients", None),
    "hot-standby": ("hot_standby_servers", "hot standby servers", STANDBY),
    "wal-streamer": ("wal_streamers", "WAL streamers", STREAMER),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("servers", metavar="SERVER", nargs="+", help="names of servers, or all")
    parser.add_argument("--minimal", action="store_true", help="one line for each client")
    parser.add_argument(
        "--target", choices=list(TARGETS), default="all", help="show only clients of this kind (all)"
    )
    parser.add_argument(
        "--source",
        choices=(BACKUP_HOST, WAL_HOST),
        default=BACKUP_HOST,
        help=f"ask the host of backups or of wal_streaming_conninfo ({BACKUP_HOST})",
    )


def run(context: Context, arguments: argparse.Namespace) -> int:
    """Show each server's clients; a server that does not answer is an error."""
    if arguments.minimal and context.output.as_json:
        raise UsageError("--minimal is for people, JSON always has everything", "leave one of them away")
    settings = [context.server(name) for name in context.server_names(arguments.servers)]
    code = 0
    for server in settings:
        try:
            found = replication_status(server, arguments.source)
        except WalstreamError as error:
            context.output.error(error)
            code = max(code, error.exit_code)
        else:
            _show(context, server, found, arguments)
    return code


def _show(context: Context, settings: ServerSettings, found: Clients, arguments: argparse.Namespace) -> None:
    output = context.output
    key, what, kind = TARGETS[arguments.target]
    clients = [each for each in found.rows if kind is None or kind_of_client(each, settings) == kind]
    facts: dict[str, object] = {"server_lsn": str(found.position)}
    facts[key] = [facts_of(each, settings, found.position) for each in clients]
    if not clients:
        facts["standby_info"] = f"No {what} attached"
    output.put(settings.name, facts)
    output.line(f"Status of {what} for server '{settings.name}':")
    output.line(f"  Current LSN on the server: {found.position}")
    output.line(f"  Number of {what}: {len(clients)}")
    for number, client in enumerate(clients, 1):
        _show_client(context, number, client, settings, found, arguments.minimal)
    if found.are_hidden:
        output.warning(
            f"role {found.role!r} may not see what the clients of {settings.name!r} do",
            f"run on the server: GRANT pg_monitor TO {identifier(found.role)};",
        )


def _show_client(
    context: Context, number: int, client: Client, settings: ServerSettings, found: Clients, minimal: bool
) -> None:
    if minimal:
        context.output.line(f"  {number}. {minimal_line(client, settings)}")
        return
    name, *lines = lines_of(client, settings, found.position)
    context.output.line()
    context.output.line(f"  {number}. {name}")
    for line in lines:
        context.output.line(f"     {line}")
