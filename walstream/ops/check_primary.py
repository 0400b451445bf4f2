"""``check``, the part about a standby's primary: what both say in, items with Barman's labels out. Pure."""

from __future__ import annotations

from catalog.errors import WalstreamError
from walstream.ops.items import Item, failure, fine, warned
from walstream.ops.primary import PrimaryFacts
from walstream.ops.survey import Survey

STANDBY = "PostgreSQL server is standby"
PRIMARY = "Primary server is not a standby"
SAME = "Primary and standby have same system ID"


def primary_items(server: str, found: Survey, primary: PrimaryFacts | WalstreamError | None) -> list[Item]:
    """An item for each question that can be answered; none where no primary is configured."""
    if primary is None:
        return []
    items = [_role(server, found.cluster.in_recovery)] if found.cluster is not None else []
    if isinstance(primary, WalstreamError):
        return [*items, failure(PRIMARY, primary.message, primary.hint or "correct primary_conninfo")]
    if primary.in_recovery:
        remedy = (
            "let primary_conninfo lead to the primary (with several hosts: target_session_attrs=read-write)"
        )
        items.append(failure(PRIMARY, "primary_conninfo leads to a standby", remedy))
    else:
        items.append(fine(PRIMARY))
    known = found.system_identifier or (found.stream.system_identifier if found.stream is not None else None)
    return [*items, _sameness(known, primary.system_identifier)] if known is not None else items


def _role(server: str, in_recovery: bool) -> Item:
    if in_recovery:
        return fine(STANDBY)
    return failure(
        STANDBY,
        "conninfo leads to a primary, so that primary_conninfo is not used",
        f"after a failover: walstream config-switch {server} MODEL; or remove primary_conninfo",
    )


def _sameness(ours: int, theirs: int | None) -> Item:
    if theirs is None:
        return warned(SAME, "the primary tells its identifier to nobody like us",
                      "GRANT EXECUTE ON FUNCTION pg_control_system() there")  # fmt: skip
    if ours == theirs:
        return fine(SAME)
    return failure(
        SAME,
        f"these are different clusters: {ours} the standby, {theirs} the primary",
        "correct conninfo or primary_conninfo",
    )
