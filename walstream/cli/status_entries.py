"""What ``status`` says, in order: facts in, entries out. Pure.

Keys and words are Barman's where the fact is the same. Every entry has a description and a message; what a
program may want to calculate with stands beside them in JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from catalog.lsn import SegmentSize
from catalog.units import size
from catalog.walname import Segment
from walstream.cli.units import local_time
from walstream.ops.status_facts import ServerStatus

TYPE_CHECKING = False
if TYPE_CHECKING:
    # What asks a server loads psycopg.
    from walstream.ops.survey import Survey

NOT_KNOWN = "not known: the server did not answer"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of ``status``; ``details`` are lines below it, ``facts`` more keys of its JSON."""

    key: str
    description: str
    message: str
    facts: Mapping[str, object] = field(default_factory=dict)
    details: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        """The entry as Barman has it, and our facts beside."""
        return {"description": self.description, "message": self.message, **self.facts}


def moment(seconds: float) -> str:
    """Unix time as people read it."""
    return local_time(datetime.fromtimestamp(seconds).astimezone())


def timestamp(seconds: float) -> str:
    """Unix time as programs read it."""
    return str(int(seconds))


def configured_entries(status: ServerStatus) -> list[Entry]:
    """What the configuration says."""
    settings = status.settings
    if settings is None:
        return []
    entries = [
        Entry("description", "Description", settings.description or ""),
        Entry("active", "Active", str(settings.active)),
        Entry("disabled", "Disabled", "False"),
    ]
    if settings.active_model is not None:
        entries.append(Entry("active_model", "Active model", settings.active_model))
    return entries


def server_entries(status: ServerStatus) -> list[Entry]:
    """What the server says of itself."""
    found = status.cluster
    if found is None:
        return []
    if found.cluster is None:
        return [Entry("pg_version", "PostgreSQL version", NOT_KNOWN)]
    facts = found.cluster
    version = f"{facts.version // 10000}.{facts.version % 10000}"
    state = "in archive recovery" if facts.in_recovery else "in production"
    entries = [
        Entry("pg_version", "PostgreSQL version", version),
        Entry("is_in_recovery", "Cluster state", state),
    ]
    if found.size is not None:
        entries.append(
            Entry("current_size", "Current data size", size(found.size), {"current_size_bytes": found.size})
        )
    if "data_directory" in facts.settings:
        directory = facts.settings["data_directory"]
        entries.append(Entry("data_directory", "PostgreSQL Data directory", directory))
    segment = _current_segment(found)
    return [*entries, Entry("current_xlog", "Current WAL segment", segment)] if segment else entries


def _current_segment(found: Survey) -> str | None:
    # The size comes from the server: there may be no repository yet.
    nbytes = found.cluster.settings.get("wal_segment_size") if found.cluster is not None else None
    if found.position is None or nbytes is None:
        return None
    timeline, position = found.position
    wal_size = SegmentSize(int(nbytes))
    return Segment.at(timeline, position, wal_size).name(wal_size)


def catalog_entries(status: ServerStatus) -> list[Entry]:
    """What Barman says of the catalog."""
    entries = [
        Entry("passive_node", "Passive node", "False"),
        Entry("retention_policies", "Retention policies", _policy_text(status)),
    ]
    if status.stored is None:
        return entries
    backups = status.stored.backups
    wanted = status.settings.minimum_redundancy if status.settings is not None else 0
    there = status.stored.counting
    state = "satisfied" if there >= wanted else "FAILED"
    return [
        *entries,
        Entry("backups_number", "No. of available backups", str(len(backups))),
        Entry("first_backup", "First available backup", backups[0].id if backups else "None"),
        Entry("last_backup", "Last available backup", backups[-1].id if backups else "None"),
        Entry("minimum_redundancy", "Minimum redundancy requirements", f"{state} ({there}/{wanted})"),
    ]


def _policy_text(status: ServerStatus) -> str:
    policy = status.settings.retention_policy if status.settings is not None else None
    return "not enforced" if policy is None else f"enforced (retention: {policy.text})"
