"""What a server says about itself on a replication connection: identity, sizes, timelines, who is synchronous."""

from __future__ import annotations

from dataclasses import dataclass

from catalog.errors import ConnectionLost, StreamRefused
from catalog.lsn import LSN, SegmentSize
from catalog.timeline import History
from catalog.walpage import PAGE_SIZE
from walstream import commands
from walstream.commands import SystemFacts
from walstream.connection import COPY_IN, ROWS, Connection


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What a server says about itself when a receiver connects."""

    system: SystemFacts
    version: int
    size: SegmentSize
    history: History
    in_recovery: bool = False


def server_facts(connection: Connection) -> ServerFacts:
    """Identity, version, segment size and timeline history of the server at the other end."""
    system = commands.system_facts(connection.row(commands.IDENTIFY_SYSTEM))
    size = SegmentSize.parse(_shown(connection, "wal_segment_size"))
    page_size = _shown(connection, "wal_block_size")
    if page_size != str(PAGE_SIZE):
        raise StreamRefused(
            f"the server writes WAL in pages of {page_size} bytes",
            f"walstream knows pages of {PAGE_SIZE} bytes only",
        )
    content = history_content(connection, system.timeline)
    history = History.parse(system.timeline, content)
    in_recovery = connection.parameter("in_hot_standby")
    if in_recovery is None:
        # 13 does not say; in recovery every transaction is read-only.
        in_recovery = _shown(connection, "transaction_read_only")
    return ServerFacts(system, connection.server_version, size, history, in_recovery == "on")


def history_content(connection: Connection, timeline: int) -> bytes:
    """The history file of a timeline as the server has it; empty for timeline 1, which has none."""
    if timeline == 1:
        return b""
    return commands.history_content(connection.row(commands.timeline_history(timeline)))


def read_end_of_timeline(connection: Connection, row: commands.Row | None) -> tuple[int, LSN]:
    """Read how the server ended a stream: the next timeline and its beginning.

    ``row`` has it already when the server ended the stream before it began. ``ConnectionLost`` when the
    stream ended without a next timeline.
    """
    while (result := connection.result()) is not None:
        if result.kind == COPY_IN:
            connection.end_copy()
        elif result.kind == ROWS:
            row = result.rows[0]
    if row is None:
        raise ConnectionLost("the server ended the stream (it is shutting down, or was promoted)")
    return commands.next_timeline(row)


def is_synchronous(connection: Connection, application_name: str) -> bool:
    """Whether the server's ``synchronous_standby_names`` could mean a receiver of this name."""
    names = _shown(connection, "synchronous_standby_names")
    return names_standby(names, application_name)


def names_standby(setting: str, application_name: str) -> bool:
    """Whether a value of ``synchronous_standby_names`` names ``application_name``, or everybody (``*``)."""
    inside = setting[setting.find("(") + 1 :].rstrip(") ") if "(" in setting else setting
    names = [name.strip().strip('"') for name in inside.split(",")]
    return any(name == "*" or name.lower() == application_name.lower() for name in names)


def _shown(connection: Connection, setting: str) -> str:
    return commands.text(connection.row(commands.show(setting))[0], setting)
