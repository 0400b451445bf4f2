"""``status``: ask the server within ``check_timeout``, look at what is stored; changes nothing."""

from __future__ import annotations

from dataclasses import replace

from catalog.errors import WalstreamError
from walstream.facts import names_standby
from walstream.ops.status_facts import ServerStatus, local_status
from walstream.ops.survey import Survey, survey, wal_node
from walstream.settings.server import ServerSettings


def status(settings: ServerSettings) -> ServerStatus:
    """All that can be found out; an inactive server is not connected to."""
    cluster = wal = None
    if settings.active:
        cluster = survey(settings, with_size=True)
        node = wal_node(settings)
        wal = cluster if node is settings else survey(node)
    timeline = wal.position[0] if wal is not None and wal.position is not None else None
    found = local_status(settings.name, settings.repository, settings.home, timeline, settings)
    return replace(
        found,
        cluster=cluster,
        wal=wal,
        named=_is_named(settings, cluster),
        errors=(*_errors(cluster, wal), *found.errors),
    )


def _is_named(settings: ServerSettings, cluster: Survey | None) -> bool | None:
    if cluster is None or cluster.cluster is None:
        return None
    names = cluster.cluster.settings.get("synchronous_standby_names", "")
    return names_standby(names, settings.streaming_archiver_name)


def _errors(cluster: Survey | None, wal: Survey | None) -> list[WalstreamError]:
    """What the nodes could not be asked, each message once."""
    found: dict[str, WalstreamError] = {}
    for node in (cluster, wal):
        for error in (node.sql_error, node.stream_error) if node is not None else ():
            if error is not None:
                found.setdefault(error.message, error)
    return list(found.values())
