"""What a server answers when it is asked everything at once, within a limit of time.

Changes nothing on the server. A part that fails leaves its error in place of its facts, and the other parts
are asked all the same.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from catalog.errors import ConnectionFailed, ServerRefused, WalstreamError
from walstream import commands
from walstream.commands import SystemFacts
from walstream.connection import Connection
from walstream.ops import wiring
from walstream.server import ClusterFacts, cluster_facts, system_identifier
from walstream.settings.server import ServerSettings
from walstream.slots import SlotFacts, slot_facts


@dataclass(slots=True)
class Survey:
    """The answers: ``cluster``, or else ``sql_error``; ``stream``, or else ``stream_error``.

    ``slot`` is None also when no slot is configured, ``system_identifier`` when the role may not see it.
    """

    cluster: ClusterFacts | None = None
    system_identifier: int | None = None
    slot: SlotFacts | None = None
    sql_error: WalstreamError | None = None
    stream: SystemFacts | None = None
    stream_error: WalstreamError | None = None


def survey(settings: ServerSettings) -> Survey:
    """Ask; what has not been answered after ``check_timeout`` counts as failed."""
    found = Survey()
    faults: list[BaseException] = []
    # A thread that may be left behind: nothing else ends a question to a server that hangs.
    asking = threading.Thread(
        target=_run, args=(settings, found, faults), name="walstream-survey", daemon=True
    )
    asking.start()
    asking.join(settings.check_timeout or None)
    if faults:
        raise faults[0]
    if not asking.is_alive():
        return found
    late = ConnectionFailed(
        f"the server did not answer within {settings.check_timeout:g} seconds",
        "see whether it hangs; if it is only slow, raise check_timeout",
    )
    # A copy: what comes after this moment is not taken in.
    return Survey(
        found.cluster,
        found.system_identifier,
        found.slot,
        found.sql_error or (None if found.cluster else late),
        found.stream,
        found.stream_error or (None if found.stream else late),
    )


def _run(settings: ServerSettings, found: Survey, faults: list[BaseException]) -> None:
    try:
        _ask(settings, found)
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
            found.cluster = cluster
    except WalstreamError as error:
        found.sql_error = error
    try:
        with wiring.open_streaming(settings) as connection:
            found.stream = commands.system_facts(connection.row(commands.IDENTIFY_SYSTEM))
    except WalstreamError as error:
        found.stream_error = error


def _visible_identifier(connection: Connection) -> int | None:
    try:
        return system_identifier(connection)
    except ServerRefused:
        return None
