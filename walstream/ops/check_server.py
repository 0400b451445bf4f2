"""``check``, the part that a running server answers: a survey in, items out. Pure."""

from __future__ import annotations

from catalog.record import BackupRecord
from walstream.facts import names_standby
from walstream.ops import requirements
from walstream.ops.items import Item, failure, fine, judged, to_start, warned
from walstream.ops.survey import Survey
from walstream.server import ClusterFacts
from walstream.settings.server import ServerSettings

MOST_CLOCK_DIFFERENCE = 10.0
BARMANS_NAME = "barman_receive_wal"
REMOTE_APPLY = "remote_apply"


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
            _commits(settings, facts),
        ]
    return items


def summarizer_items(facts: ClusterFacts | None, newest: BackupRecord | None) -> list[Item]:
    """Where incremental backups are taken, which the newest one tells, the server must go on summarizing WAL."""
    if facts is None or newest is None or newest.parent is None:
        return []
    return [judged("WAL summarizer", requirements.lack_of_summaries(facts), "on")]


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
            to_start(settings.name),
        )
    return fine(label, f"it names {ours}" if named else "")


def _commits(settings: ServerSettings, facts: ClusterFacts) -> Item:
    """Commits with ``remote_apply`` wait for the applied position, which an archive does not have."""
    label = "synchronous_commit"
    ours, names = settings.streaming_archiver_name, facts.settings.get("synchronous_standby_names", "")
    where = _where_applied(facts)
    if not where or not settings.streaming_archiver or not names_standby(names, ours):
        return fine(label)
    if settings.report_applied:
        return fine(label, f"remote_apply {where[0][0]}; report_applied is on")
    shown, undo = ", ".join(each for each, _ in where[:3]), " ".join(sql for _, sql in where[:3])
    return failure(
        label,
        f"remote_apply {shown}: such commits can wait for ever for {ours}, which reports no applied position",
        f"set report_applied = on for {settings.name} and start its receiver again, or run on the server: {undo}",
    )


def _where_applied(facts: ClusterFacts) -> list[tuple[str, str]]:
    """Where ``synchronous_commit`` is ``remote_apply``, each with the SQL that sets it to ``on`` there."""
    found = []
    if facts.settings.get("synchronous_commit") == REMOTE_APPLY:
        found.append(("by default", "ALTER SYSTEM SET synchronous_commit = on; SELECT pg_reload_conf();"))
    for each in facts.commit_levels:
        if each.level != REMOTE_APPLY:
            continue
        database = each.database and requirements.identifier(each.database)
        if each.role is None:
            about, whose = f"in database {each.database}", f"DATABASE {database}"
        else:
            inside = f" IN DATABASE {database}" if database else ""
            about = f"for role {each.role}" + (f" in database {each.database}" if database else "")
            whose = f"ROLE {requirements.identifier(each.role)}{inside}"
        found.append((about, f"ALTER {whose} SET synchronous_commit = on;"))
    return found
