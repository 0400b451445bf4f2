"""``check``: is this server protected? Items in order, each OK or FAILED with its remedy; changes nothing.

Labels are Barman's where the question is the same. A server that does not answer is one failed item, and what
can be answered without it is.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from catalog.errors import ConfigurationError, StorageError, WalstreamError
from catalog.record import BackupRecord
from catalog.repository import Repository
from catalog.state import live_receiver_state
from walstream.ops.check_limits import newest_of
from walstream.ops.check_primary import primary_items
from walstream.ops.check_receiver import lag_items
from walstream.ops.check_server import server_items, summarizer_items
from walstream.ops.check_slots import left_behind_items, slot_items
from walstream.ops.check_stored import figures, is_receiving, stored_items
from walstream.ops.items import CONFIGURATION, Item, failure, fine
from walstream.ops.other_hosts import OtherHosts
from walstream.ops.primary import Primary
from walstream.ops.survey import Survey, survey, wal_node
from walstream.settings.models import Model
from walstream.settings.server import ServerSettings

_ELSEWHERE = " (WAL streaming)"
AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Report:
    """All that was found out about a server."""

    server: str
    active: bool
    items: tuple[Item, ...]
    figures: Mapping[str, tuple[float, str]] = field(default_factory=dict)
    """Names and values for monitoring, each with its unit: ``s`` or ``B``."""
    wal: Survey | None = None
    """What the node answered that WAL is streamed from."""

    @property
    def ok(self) -> bool:
        """Whether nothing failed; an inactive server is never blamed."""
        return not self.active or all(item.ok for item in self.items)


def check(settings: ServerSettings) -> Report:
    """Check one server; an inactive one is not connected to."""
    now = time.time()
    stored, repository = stored_items(settings, now)
    online: list[Item] = []
    wal: Survey | None = None
    if settings.active:
        online, wal = _online(settings, repository)
    items = (*online, *stored)
    return Report(settings.name, settings.active, items, figures(settings, repository, now), wal)


def check_all(servers: Sequence[ServerSettings]) -> list[Report]:
    """Check servers side by side, so that one that does not answer holds up no other; reports in their order."""
    if len(servers) < 2:
        return [check(settings) for settings in servers]
    with ThreadPoolExecutor(min(len(servers), AT_ONCE), "walstream-check") as threads:
        return list(threads.map(check, servers))


def with_models(report: Report, models: Iterable[Model]) -> Report:
    """The report, and what is wrong with the models that ``config-switch`` could put in force for the server."""
    items = [
        failure("models", error.message, error.hint or "correct this line of the configuration")
        for model in models
        for error in model.errors
    ]
    return replace(report, items=(*report.items, *items))


def broken(name: str, errors: Sequence[ConfigurationError]) -> Report:
    """The report on a server whose section cannot be understood."""
    items = [
        failure(CONFIGURATION, error.message, error.hint or "correct this line of the configuration")
        for error in errors
    ]
    return Report(name, True, tuple(items))


def _online(settings: ServerSettings, repository: Repository | None) -> tuple[list[Item], Survey]:
    try:
        receiving, state = is_receiving(settings), live_receiver_state(settings.home)
    except StorageError:
        receiving, state = False, None  # the item about the receiver says why that is not known
    node = wal_node(settings)
    others, primary = OtherHosts(node), Primary(settings)
    found = survey(settings)
    items = server_items(settings, found, receiving)
    items += primary_items(settings.name, found, primary.answer())
    items += summarizer_items(found.cluster, _newest(repository))
    if node is settings:
        items += slot_items(settings, found, receiving)
        items += left_behind_items(settings, others.slots(found.conninfo))
        items += lag_items(settings, state, found.position, time.time())
        return [*items, *_coherence("systemid coherence", found, repository)], found
    wal = survey(node)
    items += [
        replace(item, label=item.label + _ELSEWHERE)
        for item in (*server_items(node, wal, receiving)[:3], *slot_items(node, wal, receiving))
    ]
    items += left_behind_items(node, others.slots(wal.conninfo))
    items += lag_items(node, state, wal.position, time.time())
    items += _coherence("systemid coherence", found, repository)
    return [*items, *_coherence("systemid coherence" + _ELSEWHERE, wal, repository)], wal


def _newest(repository: Repository | None) -> BackupRecord | None:
    """The newest backup; None too when that cannot be told, which is another item's business."""
    try:
        return None if repository is None else newest_of(repository.backups.records())
    except WalstreamError:
        return None


def _coherence(label: str, found: Survey, repository: Repository | None) -> list[Item]:
    """SQL, streaming and the repository must mean the same cluster."""
    known = {
        "by SQL": found.system_identifier,
        "by streaming": found.stream.system_identifier if found.stream else None,
        "in the repository": repository.identity.system_identifier if repository else None,
    }
    told = {where: value for where, value in known.items() if value is not None}
    if not told.keys() - {"in the repository"}:
        return []
    if len(set(told.values())) == 1:
        return [fine(label)]
    shown = ", ".join(f"{value} {where}" for where, value in told.items())
    return [
        failure(
            label,
            f"these are different clusters: {shown}",
            "correct the connection strings; after pg_upgrade or a new initdb protect the server under a new "
            "name, and set active = false in the old section",
        )
    ]
