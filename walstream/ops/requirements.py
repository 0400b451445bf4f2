"""What a server must offer before it can be protected: facts in, what is lacking out, each with its remedy.

Pure. The remedy is the SQL, or the line of ``pg_hba.conf``, to run as it stands. The server's English
sentences are understood; in other languages the message is shown without a remedy of ours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from catalog.errors import WalstreamError
from walstream.server import ClusterFacts

_ROLE = re.compile(r'role "(?P<user>(?:[^"]|"")+)" does not exist')
_DATABASE = re.compile(r'database "(?P<database>[^"]+)" does not exist')
_HBA = re.compile(
    r"(?:no pg_hba\.conf entry for|pg_hba\.conf rejects) (?:replication connection (?:from|for) |connection for )?"
    r'host "(?P<host>[^"]*)", user "(?P<user>[^"]*)"(?:, database "(?P<database>[^"]*)")?'
)
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Lack:
    """One thing that is missing: what is wrong, and what to do about it."""

    message: str
    remedy: str


def connection_lack(error: WalstreamError) -> Lack:
    """What a failed connection lacks."""
    if match := _ROLE.search(error.message):
        return Lack(error.message, f"run on the server: {new_role(match['user'])}")
    if match := _HBA.search(error.message):
        line = hba_line(match["host"], match["user"], match["database"])
        return Lack(
            error.message,
            f"add above the other lines of the server's pg_hba.conf: {line} -- "
            "and run: SELECT pg_reload_conf();",
        )
    if match := _DATABASE.search(error.message):
        return Lack(error.message, "name a database that exists: dbname=postgres")
    return Lack(error.message, error.hint or "check the connection string, and the server's log")


def new_role(user: str) -> str:
    """The SQL that makes a role with just what is needed."""
    name = identifier(user)
    return (
        f"CREATE ROLE {name} LOGIN REPLICATION; GRANT EXECUTE ON FUNCTION pg_switch_wal() TO {name}; "
        rf"\password {name}"
    )


def hba_line(host: str, user: str, database: str | None) -> str:
    """A line of ``pg_hba.conf`` that lets a user in; no database means replication."""
    who = f"{_word(database or 'replication')} {_word(user)}"
    if host == "[local]":
        return f"local {who} scram-sha-256"
    mask = "/128" if ":" in host else "/32" if host.replace(".", "").isdigit() else ""
    return f"host {who} {host}{mask} scram-sha-256"


def identifier(name: str) -> str:
    """A name as SQL has it, quoted if need be."""
    return name if _PLAIN.fullmatch(name) else '"' + name.replace('"', '""') + '"'


def _word(name: str) -> str:
    return name if name == "replication" or _PLAIN.fullmatch(name) else f'"{name}"'


def lack_of_replication(facts: ClusterFacts) -> Lack | None:
    """The role must be allowed to stream."""
    if facts.may_replicate:
        return None
    role = identifier(facts.role)
    return Lack(
        f"role {facts.role!r} may not use replication", f"run on the server: ALTER ROLE {role} REPLICATION;"
    )


def lack_of_wal(facts: ClusterFacts) -> Lack | None:
    """WAL must hold enough to recover from."""
    if facts.settings.get("wal_level") != "minimal":
        return None
    return Lack(
        "wal_level is minimal: its WAL cannot be used for recovery",
        "run on the server: ALTER SYSTEM SET wal_level = replica; -- then restart it",
    )


def lack_of_senders(facts: ClusterFacts) -> Lack | None:
    """A WAL sender must be free: WAL streaming needs one, a base backup another."""
    return _lack_of_free("max_wal_senders", facts.wal_senders, facts, "WAL senders")


def lack_of_slots(facts: ClusterFacts) -> Lack | None:
    """A replication slot must be free, unless ours exists."""
    return _lack_of_free("max_replication_slots", facts.slots, facts, "replication slots")


def free(setting: str, used: int, facts: ClusterFacts) -> int | None:
    """How many are left of what ``setting`` limits; None when the limit is not known."""
    limit = facts.settings.get(setting)
    return None if limit is None else int(limit) - used


def lack_of_tablespace_content(facts: ClusterFacts) -> Lack | None:
    """Some tablespaces a base backup leaves out without a word.

    Before 16 those inside the data directory; in 13, which looks for them under an escaped name, those with a line
    break in their location.
    """
    inside = [s.name for s in facts.tablespaces if s.location and not s.location.startswith("/")]
    broken = [s.name for s in facts.tablespaces if "\n" in s.location or "\r" in s.location]
    if inside and facts.version < 160000:
        left_out, what = inside, "tablespaces in place"
    elif broken and facts.version < 140000:
        left_out, what = broken, "tablespaces with a line break in their location"
    else:
        return None
    named = ", ".join(repr(name) for name in left_out)
    return Lack(
        f"{what} ({named}): PostgreSQL {facts.version // 10000} leaves them out of base backups",
        "move their tables elsewhere and drop them: ALTER TABLE ALL IN TABLESPACE "
        f"{identifier(left_out[0])} SET TABLESPACE pg_default; DROP TABLESPACE {identifier(left_out[0])};",
    )


def lack_of_summaries(facts: ClusterFacts) -> Lack | None:
    """An incremental backup rests on what the server notes about its WAL."""
    if facts.version < 170000:
        return Lack(
            f"incremental backups need PostgreSQL 17 or later, and the server is {facts.version // 10000}",
            "take a full backup: leave --incremental away",
        )
    if facts.settings.get("summarize_wal") != "off":
        return None
    return Lack(
        "summarize_wal is off: the server does not know what has changed since an earlier backup",
        "run on the server: ALTER SYSTEM SET summarize_wal = on; SELECT pg_reload_conf(); -- then take a full "
        "backup, on which incremental ones can be based",
    )


def _lack_of_free(setting: str, used: int, facts: ClusterFacts, what: str) -> Lack | None:
    left = free(setting, used, facts)
    if left is None or left > 0:
        return None
    limit = facts.settings[setting]
    return Lack(
        f"all {what} are in use ({used} of {setting} = {limit})",
        f"run on the server: ALTER SYSTEM SET {setting} = {max(10, int(limit) + 5)}; -- then restart it",
    )
