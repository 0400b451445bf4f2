"""What ``status`` says of the replication slot. Pure."""

from __future__ import annotations

from catalog.units import size
from walstream.cli.status_entries import NOT_KNOWN, Entry, moment, timestamp
from walstream.ops.status_facts import ServerStatus

TYPE_CHECKING = False
if TYPE_CHECKING:
    # What asks a server loads psycopg.
    from walstream.slots import SlotFacts


def slot_entries(status: ServerStatus) -> list[Entry]:
    """The slot as the node that WAL is streamed from shows it."""
    settings, wal = status.settings, status.wal
    if settings is None or wal is None:
        return []
    key, description = "replication_slot", "Replication slot"
    if settings.slot_name is None:
        return [Entry(key, description, "none is configured")]
    if wal.cluster is None:
        return [
            Entry(key, description, f"{settings.slot_name}, {NOT_KNOWN}", {"slot_name": settings.slot_name})
        ]
    if wal.slot is None:
        message = f"{settings.slot_name} is not on the server"
        return [Entry(key, description, message, {"slot_name": settings.slot_name})]
    return [
        Entry(
            key,
            description,
            _message(settings.slot_name, wal.slot),
            _facts(settings.slot_name, wal.slot),
        )
    ]


def _message(name: str, slot: SlotFacts) -> str:
    words = [name, "active" if slot.active else "not active"]
    if slot.inactive_since is not None and not slot.active:
        words[1] += f" since {moment(slot.inactive_since)}"
    words.append(slot.wal_status or "no WAL status")
    if slot.invalidated is not None:
        words.append(f"invalidated ({slot.invalidated})")
    words.append(
        f"keeps {size(slot.retained or 0)} of WAL from {slot.restart} on" if slot.restart else "keeps no WAL"
    )
    words.append("no limit" if slot.safe is None and slot.restart else "")
    if slot.safe is not None:
        words.append(f"may lose it after {size(max(slot.safe, 0))} more")
    return ", ".join(word for word in words if word)


def _facts(name: str, slot: SlotFacts) -> dict[str, object]:
    facts: dict[str, object] = {
        "slot_name": name,
        "active": slot.active,
        "wal_status": slot.wal_status,
        "restart_lsn": str(slot.restart) if slot.restart else None,
        "retained_bytes": slot.retained,
        "safe_wal_size_bytes": slot.safe,
        "invalidation_reason": slot.invalidated,
    }
    if slot.inactive_since is not None:
        facts["inactive_since_timestamp"] = timestamp(slot.inactive_since)
    return facts
