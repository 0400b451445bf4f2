"""``check``, the part that a running server answers: a survey in, items out. Pure."""

from __future__ import annotations

from walstream.facts import names_standby
from walstream.ops import requirements
from walstream.ops.items import Item, failure, fine, in_units, judged, warned
from walstream.ops.survey import Survey
from walstream.server import ClusterFacts
from walstream.settings.server import ServerSettings
from walstream.slots import SlotFacts

MOST_CLOCK_DIFFERENCE = 10.0
BARMANS_NAME = "barman_receive_wal"

SLOT = "replication slot"


def server_items(settings: ServerSettings, found: Survey, receiving: bool) -> list[Item]:
    """What concerns the server: connections, privileges, settings, the clock."""
    facts = found.cluster
    items = [_connection(found)]
    if facts is not None:
        items.append(_privileges(facts, needs_replication=settings.streaming_conninfo == settings.conninfo))
    items.append(_streaming(found))
    if facts is not None:
        items += [
            judged("wal_level", requirements.lack_of_wal(facts), facts.settings.get("wal_level", "")),
            _senders(facts, receiving or not settings.streaming_archiver),
            judged("tablespaces", requirements.lack_of_tablespace_content(facts)),
            _clock(facts),
            _standby_names(settings, facts, receiving),
        ]
    return items


def slot_items(settings: ServerSettings, found: Survey, receiving: bool) -> list[Item]:
    """What concerns the slot, on the node that WAL is streamed from."""
    facts = found.cluster
    if facts is None or (settings.slot_name is None and not settings.streaming_archiver):
        return []
    return [_slot(settings, found.slot, facts, receiving), _slot_limit(facts)]


def _connection(found: Survey) -> Item:
    if found.cluster is None:
        lack = requirements.connection_lack(found.sql_error) if found.sql_error else None
        return judged("PostgreSQL", lack)
    version = found.cluster.version
    role = "standby" if found.cluster.in_recovery else "primary"
    return fine("PostgreSQL", f"{version // 10000}.{version % 10000}, {role}")


def _streaming(found: Survey) -> Item:
    lack = requirements.connection_lack(found.stream_error) if found.stream_error else None
    return judged("PostgreSQL streaming", lack)


def _privileges(facts: ClusterFacts, *, needs_replication: bool) -> Item:
    label = "superuser or standard user with backup privileges"
    lack = requirements.lack_of_replication(facts) if needs_replication else None
    if lack is None and not facts.may_switch_wal:
        return warned(
            label,
            f"role {facts.role!r} may not call pg_switch_wal, which 'walstream switch-wal' needs",
            "run on the server: GRANT EXECUTE ON FUNCTION pg_switch_wal() TO "
            f"{requirements.identifier(facts.role)};",
        )
    return judged(label, lack)


def _senders(facts: ClusterFacts, receiving: bool) -> Item:
    """One for the receiver, unless it has it already, and one for a base backup."""
    label = "max_wal_senders"
    lack = requirements.lack_of_senders(facts)
    left = requirements.free(label, facts.wal_senders, facts)
    if lack is not None or left is None:
        return judged(label, lack)
    if left == 1 and not receiving:
        return warned(
            label,
            "only 1 is free: the receiver and a base backup need 2",
            "run on the server: ALTER SYSTEM SET max_wal_senders = 10; -- then restart it",
        )
    return fine(label, f"{left} of {facts.settings[label]} free")


def _clock(facts: ClusterFacts) -> Item:
    if abs(facts.clock_offset) <= MOST_CLOCK_DIFFERENCE:
        return fine("clock")
    ahead = "ahead of" if facts.clock_offset > 0 else "behind"
    return warned(
        "clock",
        f"the server's clock is {abs(facts.clock_offset):.0f} s {ahead} this host's",
        "synchronise both, for instance with chrony",
    )


def _standby_names(settings: ServerSettings, facts: ClusterFacts, receiving: bool) -> Item:
    label = "synchronous_standby_names"
    names = facts.settings.get(label, "")
    ours = settings.streaming_archiver_name
    named = names_standby(names, ours)
    if not named and BARMANS_NAME in names:
        return warned(
            label,
            f"it names {BARMANS_NAME}, but this receiver is called {ours}",
            f"set it to {ours} on the server, or streaming_archiver_name = {BARMANS_NAME} here",
        )
    if named and settings.streaming_archiver and not receiving:
        return warned(
            label,
            f"commits may wait for {ours}, and no receiver runs",
            f"run: walstream receive-wal {settings.name}",
        )
    return fine(label, f"it names {ours}" if named else "")


def _slot(settings: ServerSettings, slot: SlotFacts | None, facts: ClusterFacts, receiving: bool) -> Item:
    name, receive = settings.slot_name, f"walstream receive-wal {settings.name}"
    if name is None:
        return warned(
            SLOT, "none is configured: the server may remove WAL before it is received", "set slot_name"
        )
    if slot is None:
        return _missing_slot(settings, name, facts, receiving)
    drop = f"run on the server: SELECT pg_drop_replication_slot('{name}'); -- then: {receive}"
    if slot.kind != "physical":
        return failure(SLOT, f"{name} is a {slot.kind} slot", "give slot_name the name of a physical slot")
    if slot.wal_status == "lost":
        again = f"{drop}, and take a new backup"
        return failure(SLOT, f"{name} has lost WAL that was not yet received", again)
    if slot.restart is None:
        return failure(SLOT, f"{name} keeps no WAL yet", drop if not receiving else "wait a few seconds")
    kept = f"keeps {in_units(slot.retained or 0)} of WAL from {slot.restart} on"
    if slot.wal_status == "unreserved":
        about = f"{name} is about to lose WAL: it {kept}, more than max_slot_wal_keep_size"
        return failure(SLOT, about, f"receive now ({receive}), or raise max_slot_wal_keep_size on the server")
    return _use_of_slot(settings, slot, name, kept, receiving)


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


def _use_of_slot(settings: ServerSettings, slot: SlotFacts, name: str, kept: str, receiving: bool) -> Item:
    """Whether the slot is read from exactly when our receiver runs."""
    if slot.active == receiving:
        if receiving:
            return fine(SLOT, f"{name} {kept}")
        about, remedy = f"{name} is not active; it {kept}", f"run: walstream receive-wal {settings.name}"
        if settings.streaming_archiver:
            return failure(SLOT, about, remedy)
        return warned(
            SLOT, about, f"run on the server, if nobody needs it: SELECT pg_drop_replication_slot('{name}');"
        )
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
    label = "max_slot_wal_keep_size"
    limit = facts.settings.get(label)
    if limit == "-1":
        return warned(
            label,
            "unlimited: while no receiver runs, the WAL that a slot keeps can fill the server's disk",
            "run on the server, with a size that it can spare: "
            "ALTER SYSTEM SET max_slot_wal_keep_size = '50GB'; SELECT pg_reload_conf();",
        )
    return fine(label, "" if limit is None else f"{limit} MB")
