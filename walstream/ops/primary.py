"""The primary of a standby, as ``primary_conninfo`` leads to it: asked for its role and its cluster."""

from __future__ import annotations

from dataclasses import dataclass, replace

from catalog.errors import ServerRefused, WalstreamError
from walstream import commands
from walstream.connection import Connection
from walstream.ops import wiring
from walstream.ops.asking import Questions
from walstream.server import is_standby, system_identifier
from walstream.settings.server import ServerSettings


@dataclass(frozen=True, slots=True)
class PrimaryFacts:
    """What it says of itself; ``system_identifier`` is None when it tells that to nobody like us."""

    in_recovery: bool
    system_identifier: int | None


def primary_node(settings: ServerSettings) -> ServerSettings | None:
    """The settings as they are for the primary; None where none is configured."""
    conninfo = settings.primary_conninfo
    return None if conninfo is None else replace(settings, conninfo=conninfo, streaming_conninfo=conninfo)


class Primary:
    """Asks the primary from the moment it is made, for at most ``check_timeout``; nobody where there is none."""

    def __init__(self, settings: ServerSettings) -> None:
        node = primary_node(settings)
        self._questions = Questions(
            {} if node is None else {"primary": lambda: primary_facts(node)}, settings.check_timeout
        )

    def answer(self) -> PrimaryFacts | WalstreamError | None:
        """What it said, or why it said nothing; None when nobody was asked."""
        return self._questions.answers().get("primary")


def primary_facts(node: ServerSettings) -> PrimaryFacts:
    """Ask; raises what keeps it from answering by SQL."""
    with wiring.open_sql(node) as connection:
        return PrimaryFacts(is_standby(connection), identifier_of(node, connection))


def identifier_of(node: ServerSettings, connection: Connection) -> int | None:
    """The cluster's identifier, by SQL or else by streaming; None when the role may do neither."""
    try:
        return system_identifier(connection)
    except ServerRefused:
        pass
    try:
        with wiring.open_streaming(node) as streaming:
            return commands.system_facts(streaming.row(commands.IDENTIFY_SYSTEM)).system_identifier
    except WalstreamError:
        return None
