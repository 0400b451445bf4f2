"""``check``, the part about replication slots: facts in, items out. Pure.

The slot that the receiver uses must be there, be read from, and not be about to lose WAL. A slot of the same
name on another host of the connection string, as a failover leaves one, fills that host's disk for nobody.
"""

from __future__ import annotations

from collections.abc import Iterable

from catalog.units import size
from walstream.ops import requirements
from walstream.ops.items import Item, at_local_time, failure, fine, to_start, warned
from walstream.ops.other_hosts import HostSlot
from walstream.ops.survey import Survey
from walstream.server import ClusterFacts
from walstream.settings.server import ServerSettings
from walstream.slots import SlotFacts

SLOT = "replication slot"
LIMIT = "max_slot_wal_keep_size"
IDLE_TIMEOUT = "idle_replication_slot_timeout"
UNLIMITED = "-1"
LOST, UNRESERVED = "lost", "unreserved"

# So much may be kept on a host without a limit before somebody has to look.
MOST_LEFT_BEHIND = 1 << 30


def slot_items(settings: ServerSettings, found: Survey, receiving: bool) -> list[Item]:
    """What concerns the slot, on the node that WAL is streamed from."""
    facts = found.cluster
    if facts is None or (settings.slot_name is None and not settings.streaming_archiver):
        return []
    items = [_slot(settings, found.slot, facts, receiving), _slot_limit(facts)]
    idle = facts.settings.get(IDLE_TIMEOUT, "0")
    if idle != "0" and settings.slot_name is not None:
        items.append(
            warned(
                IDLE_TIMEOUT,
                f"the server gives up a slot that nobody has read from for {idle} seconds, and its WAL with it",
                f"let no receiver be away for so long, or run on the server: ALTER SYSTEM SET {IDLE_TIMEOUT} = 0; "
                "SELECT pg_reload_conf();",
            )
        )
    return items


def left_behind_items(settings: ServerSettings, hosts: Iterable[HostSlot]) -> list[Item]:
    """One item for each other host that has our slot, or could not say."""
    return [item for each in hosts if (item := _left_behind(settings, each)) is not None]


def is_running_short(slot: SlotFacts, facts: ClusterFacts) -> bool:
    """Whether less than a tenth of the limit, or than a segment, is left before the slot can lose WAL."""
    limit, segment = facts.settings.get(LIMIT), facts.settings.get("wal_segment_size")
    if slot.safe is None or limit in (None, UNLIMITED):
        return False
    return slot.safe < max(int(limit or 0) * (1 << 20) // 10, int(segment or 0))


def _left_behind(settings: ServerSettings, found: HostSlot) -> Item | None:
    label = f"{SLOT} on {found.host}"
    if found.error is not None:
        return warned(
            label,
            f"this host cannot be asked for a slot that was left behind: {found.error.message}",
            found.error.hint or "see whether it runs",
        )
    slot = found.slot
    if slot is None or slot.active:
        return None
    since = f" since {at_local_time(slot.inactive_since)}" if slot.inactive_since else ""
    about = f"{settings.slot_name} is not active{since}; it {_kept(slot)}"
    drop = f"run on that host, unless it is to become the primary: {_drop(settings)}"
    if not found.limited and (slot.retained or 0) >= MOST_LEFT_BEHIND:
        return failure(label, f"{about}, which fills that host's disk: {LIMIT} is unlimited", drop)
    return warned(label, about, drop)


def _slot(settings: ServerSettings, slot: SlotFacts | None, facts: ClusterFacts, receiving: bool) -> Item:
    name = settings.slot_name
    if name is None:
        return warned(
            SLOT, "none is configured: the server may remove WAL before it is received", "set slot_name"
        )
    if slot is None:
        return _missing_slot(settings, name, facts, receiving)
    drop = f"run on the server: {_drop(settings)}"
    if settings.create_slot == "auto" and settings.streaming_archiver:
        drop = "the receiver makes it anew by itself"
        drop += "" if receiving else f"; {to_start(settings.name)}"
    if slot.kind != "physical":
        return failure(SLOT, f"{name} is a {slot.kind} slot", "give slot_name the name of a physical slot")
    if slot.wal_status == LOST:
        why = f" ({slot.invalidated})" if slot.invalidated else ""
        return failure(
            SLOT,
            f"{name} has lost WAL that was not yet received{why}",
            f"{drop}; then take a new backup: walstream backup {settings.name}",
        )
    if slot.restart is None:
        return failure(SLOT, f"{name} keeps no WAL yet", drop if not receiving else "wait a few seconds")
    if slot.wal_status == UNRESERVED:
        about = f"{name} is about to lose WAL: it {_kept(slot)}, more than {LIMIT}"
        receive = f"see what keeps the receiver back (walstream status {settings.name})"
        receive = receive if receiving else to_start(settings.name)
        return failure(SLOT, about, f"{receive}; or raise {LIMIT} on the server")
    return _use_of_slot(settings, slot, name, receiving, is_running_short(slot, facts))


def _missing_slot(settings: ServerSettings, name: str, facts: ClusterFacts, receiving: bool) -> Item:
    if not settings.streaming_archiver:
        return fine(SLOT, f"{name} is not there, nor needed: streaming_archiver is off")
    if (lack := requirements.lack_of_slots(facts)) is not None:
        return failure(SLOT, f"there is no slot {name}, and {lack.message}", lack.remedy)
    if settings.create_slot == "auto" and not receiving:
        return fine(SLOT, f"{name} is made when the receiver connects")
    return failure(
        SLOT,
        f"there is no slot {name}",
        f"run on the server: SELECT pg_create_physical_replication_slot('{name}', true);",
    )


def _use_of_slot(
    settings: ServerSettings, slot: SlotFacts, name: str, receiving: bool, running_short: bool
) -> Item:
    """Whether the slot is read from exactly when our receiver runs."""
    kept = _kept(slot)
    if slot.active == receiving:
        if receiving and running_short:
            remedy = f"see what keeps the receiver back (walstream status {settings.name}), or raise {LIMIT}"
            return warned(SLOT, f"{name} {kept}", remedy)
        if receiving:
            return fine(SLOT, f"{name} {kept}")
        since = f" since {at_local_time(slot.inactive_since)}" if slot.inactive_since else ""
        about, remedy = (
            f"{name} is not active{since}; it {kept}",
            to_start(settings.name),
        )
        if settings.streaming_archiver:
            return failure(SLOT, about, remedy)
        return warned(SLOT, about, f"run on the server, if nobody needs it: {_drop(settings)}")
    if slot.active:
        return failure(
            SLOT,
            f"{name} is in use, but not by the receiver of this server; it {kept}",
            "give slot_name another name, or stop the other receiver",
        )
    return failure(
        SLOT,
        f"{name} is not active although a receiver runs; it {kept}",
        "see the receiver's log: it is connecting again, or streams without this slot",
    )


def _slot_limit(facts: ClusterFacts) -> Item:
    limit = facts.settings.get(LIMIT)
    if limit == UNLIMITED:
        return warned(
            LIMIT,
            "unlimited: while no receiver runs, the WAL that a slot keeps can fill the server's disk",
            "run on the server, with a size that it can spare: "
            "ALTER SYSTEM SET max_slot_wal_keep_size = '50GB'; SELECT pg_reload_conf();",
        )
    return fine(LIMIT, "" if limit is None else f"{limit} MB")


def _kept(slot: SlotFacts) -> str:
    if slot.restart is None:
        return "keeps no WAL"
    kept = f"keeps {size(slot.retained or 0)} of WAL from {slot.restart} on"
    return kept if slot.safe is None else f"{kept} and may lose it after {size(max(slot.safe, 0))} more"


def _drop(settings: ServerSettings) -> str:
    return f"SELECT pg_drop_replication_slot('{settings.slot_name}');"
