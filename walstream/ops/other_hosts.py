"""Our slot on every host of a connection string: after a failover the old node still keeps one, for nobody."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from catalog.errors import UsageError, WalstreamError
from walstream import commands
from walstream.connecting import named_hosts
from walstream.ops import wiring
from walstream.ops.asking import Questions
from walstream.settings.conninfo import Conninfo
from walstream.settings.server import ServerSettings
from walstream.slots import SlotFacts, slot_facts


@dataclass(frozen=True, slots=True)
class HostSlot:
    """What one host said: ``slot`` is None when it has none of our name; ``limited``: slots keep only so much."""

    host: str
    slot: SlotFacts | None = None
    limited: bool = True
    error: WalstreamError | None = None


class OtherHosts:
    """Asks all hosts from the moment it is made; with one host only, or without a slot, it asks nobody."""

    def __init__(self, settings: ServerSettings) -> None:
        try:
            hosts = named_hosts(settings.conninfo)
        except UsageError:
            hosts = {}  # whoever connects says what is wrong with it
        self._hosts = hosts if len(hosts) > 1 and settings.slot_name is not None else {}
        questions = {host: _question(settings, host, conninfo) for host, conninfo in self._hosts.items()}
        self._questions = Questions(questions, settings.check_timeout)

    def slots(self, leave_out: str | None) -> list[HostSlot]:
        """The answers of all but the one host that ``leave_out``, a connection string, leads to."""
        found = []
        for host, answer in self._questions.answers().items():
            if self._hosts[host] == leave_out:
                continue
            found.append(HostSlot(host, error=answer) if isinstance(answer, WalstreamError) else answer)
        return found


def _question(settings: ServerSettings, host: str, conninfo: str) -> Callable[[], HostSlot]:
    def ask() -> HostSlot:
        with wiring.open_sql(replace(settings, conninfo=Conninfo(conninfo))) as connection:
            limit = commands.text(connection.row("SHOW max_slot_wal_keep_size")[0], "limit")
            return HostSlot(host, slot_facts(connection, str(settings.slot_name)), limit != "-1")

    return ask
