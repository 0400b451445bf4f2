"""What a server answers when it is asked everything at once, within a limit of time.

Changes nothing on the server. A part that fails leaves its error in place of its facts, and the other parts
are asked all the same.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace

from catalog.errors import ServerRefused, WalstreamError
from catalog.lsn import LSN
from walstream import commands
from walstream.commands import SystemFacts
from walstream.connection import Connection
from walstream.ops import wiring
from walstream.ops.asking import late
from walstream.server import ClusterFacts, cluster_facts, data_size, system_identifier
from walstream.settings.server import ServerSettings
from walstream.slots import SlotFacts, slot_facts


@dataclass(slots=True)
class Survey:
    """The answers: ``cluster``, or else ``sql_error``; ``stream``, or else ``stream_error``.

    ``slot`` is None also when no slot is configured, ``system_identifier`` and ``size`` (of all data) when the
    role may not see them. ``conninfo`` leads to the host that answered by SQL.
    """

    cluster: ClusterFacts | None = None
    system_identifier: int | None = None
    slot: SlotFacts | None = None
    sql_error: WalstreamError | None = None
    stream: SystemFacts | None = None
    stream_error: WalstreamError | None = None
    conninfo: str | None = field(default=None, repr=False)
    size: int | None = None

    @property
    def position(self) -> tuple[int, LSN] | None:
        """The server's timeline, and what it has flushed of it, or received as a standby."""
        return (self.stream.timeline, self.stream.position) if self.stream is not None else None


def wal_node(settings: ServerSettings) -> ServerSettings:
    """The settings as they are for the node that WAL is streamed from: the very same when that is no other one."""
    conninfo = settings.wal_streaming_conninfo
    if conninfo == settings.streaming_conninfo:
        return settings
    return replace(settings, conninfo=conninfo, streaming_conninfo=conninfo)


def survey(settings: ServerSettings, *, with_size: bool = False) -> Survey:
    """Ask; what has not been answered after ``check_timeout`` counts as failed.

    ``with_size`` asks, last of all, how much room the data takes, which takes the longer the more files there are.
    """
    found = Survey()
    faults: list[BaseException] = []
    # A thread that may be left behind: nothing else ends a question to a server that hangs.
    asking = threading.Thread(
        target=_run, args=(settings, with_size, found, faults), name="walstream-survey", daemon=True
    )
    asking.start()
    asking.join(settings.check_timeout or None)
    if faults:
        raise faults[0]
    if not asking.is_alive():
        return found
    unanswered = late(settings.check_timeout)
    # A copy: what comes after this moment is not taken in.
    given = replace(found)
    given.sql_error = given.sql_error or (None if given.cluster else unanswered)
    given.stream_error = given.stream_error or (None if given.stream else unanswered)
    return given


def _run(settings: ServerSettings, with_size: bool, found: Survey, faults: list[BaseException]) -> None:
    try:
        _ask(settings, found)
        if with_size and found.cluster is not None:
            _ask_for_size(settings, found)
    except BaseException as fault:
        # The boundary of the thread: handed on, and raised by whoever waits.
        faults.append(fault)


def _ask(settings: ServerSettings, found: Survey) -> None:
    # SQL first: the question how many WAL senders are in use must not count our own.
    try:
        with wiring.open_sql(settings) as connection:
            cluster = cluster_facts(connection)
            found.system_identifier = _visible_identifier(connection)
            if settings.slot_name is not None:
                found.slot = slot_facts(connection, settings.slot_name)
            found.conninfo = connection.conninfo
            found.cluster = cluster
    except WalstreamError as error:
        found.sql_error = error
    try:
        with wiring.open_streaming(settings) as connection:
            found.stream = commands.system_facts(connection.row(commands.IDENTIFY_SYSTEM))
    except WalstreamError as error:
        found.stream_error = error


def _ask_for_size(settings: ServerSettings, found: Survey) -> None:
    try:
        with wiring.open_sql(settings) as connection:
            found.size = data_size(connection)
    except WalstreamError:
        pass  # the one fact that is only nice to have


def _visible_identifier(connection: Connection) -> int | None:
    try:
        return system_identifier(connection)
    except ServerRefused:
        return None
