"""``replication-status``: who streams from a server, and what kind of client each of them is."""

from __future__ import annotations

from catalog.errors import UsageError, WalstreamError
from walstream.ops import wiring
from walstream.ops.asking import Questions
from walstream.ops.survey import wal_node
from walstream.replication import BACKING_UP, Client, Clients, clients_of
from walstream.settings.server import ServerSettings

BACKUP_HOST, WAL_HOST = "backup-host", "wal-host"
STANDBY, STREAMER, BACKUP, UNKNOWN = "standby", "WAL streamer", "base backup", "client"


def replication_status(settings: ServerSettings, source: str = BACKUP_HOST) -> Clients:
    """Ask the node that backups, or WAL, are taken from; what has no answer in ``check_timeout`` is an error."""
    node = settings
    if source == WAL_HOST:
        node = wal_node(settings)
        if node is settings:
            raise UsageError(
                f"server {settings.name!r} has no host of its own for WAL",
                "leave --source away, or set wal_streaming_conninfo",
            )

    def ask() -> Clients:
        with wiring.open_sql(node) as connection:
            return clients_of(connection)

    answer = Questions({"": ask}, settings.check_timeout).answers()[""]
    if isinstance(answer, WalstreamError):
        raise answer
    return answer


def is_ours(client: Client, settings: ServerSettings) -> bool:
    """Whether a client is this server's receiver: by its slot, which is always seen; without one, by its name."""
    if settings.slot_name is not None:
        return client.slot == settings.slot_name
    return client.application_name == settings.streaming_archiver_name and client.state != BACKING_UP


def kind_of_client(client: Client, settings: ServerSettings) -> str:
    """Whoever replays is a standby; our receiver is none, whatever it reports."""
    if client.state == BACKING_UP:
        return BACKUP
    if is_ours(client, settings):
        return STREAMER
    if client.state is None:
        return UNKNOWN
    return STANDBY if client.replayed is not None else STREAMER
