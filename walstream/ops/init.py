"""``init``: take a server under protection. Connect first, write last, and only when all is there.

What the server lacks comes back as values, each with the SQL or the line of ``pg_hba.conf`` to run, and
nothing was written. Otherwise the repository is made, then the section of the configuration file; each refuses
what is not ours before it writes. No replication slot is made: none shall wait for a receiver that never comes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from catalog.errors import ConfigurationError, ForeignRepository, ServerRefused, StorageError, UsageError
from walstream import commands
from walstream.connecting import parsed_conninfo
from walstream.connection import Connection
from walstream.facts import server_facts
from walstream.ops import requirements, wiring
from walstream.ops.check import Report, check
from walstream.ops.requirements import Lack, connection_lack
from walstream.ops.survey import Survey, survey
from walstream.settings.conninfo import SECRETS
from walstream.settings.locate import STANDARD_FILES, find_file
from walstream.settings.occupied import occupant
from walstream.settings.server import ServerSettings
from walstream.settings.write import add_server, planned_server

SLOT = "walstream"
_SLOT_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_")


@dataclass(frozen=True, slots=True)
class InitRequest:
    """Whom to protect, and where to write it; None for the standard places."""

    name: str
    conninfo: str
    description: str | None = None
    config: str | None = None
    home: str | None = None


@dataclass(frozen=True, slots=True)
class InitOutcome:
    """With ``lacks`` nothing was written; else the section is there, ``added`` if it is new."""

    file: str
    lacks: tuple[Lack, ...] = ()
    settings: ServerSettings | None = None
    added: bool = False
    advice: tuple[str, ...] = ()
    report: Report | None = None


def init(request: InitRequest) -> InitOutcome:
    """Protect a server; the outcome says what it lacks, or what was written and checked.

    Raises, and leaves the file as it was, when the section exists with another conninfo, and when the
    repository's directory is another cluster's, another program's or cannot be written.
    """
    parsed_conninfo(request.conninfo)
    file = configuration_file(request.config)
    home = os.path.abspath(os.path.expanduser(request.home or _standard_home()))
    lines = section(request, SLOT)
    settings, new = planned_server(file, request.name, lines, home)
    if request.home is not None and settings.home != os.path.join(home, request.name):
        raise UsageError(
            f"{file} sets another walstream_home than {home}: {os.path.dirname(settings.home)}",
            "leave --home away, or name another file with -c",
        )
    _require_writable(file)
    _refuse_occupied(os.path.dirname(settings.home))
    found = survey(settings)
    lacks = lacks_of(settings, found)
    if lacks:
        return InitOutcome(file, lacks)
    exists = found.slot is not None
    if new and found.slot is not None and found.slot.active:
        # Somebody else receives from it; an inactive one is rather our own, from before this file was lost.
        lines["slot_name"] = derived_slot_name(request.name)
        settings, exists = planned_server(file, request.name, lines, home)[0], False
    with wiring.open_streaming(settings) as connection:
        lack = None if exists else _try_slot(connection)
        if lack is not None:
            return InitOutcome(file, (lack,))
        wiring.ready_repository(settings, connection, server_facts(connection), new=new)
    added = add_server(file, request.name, lines, home)
    return InitOutcome(file, (), settings, added, advice_on(request, file), check(settings))


def _refuse_occupied(home: str) -> None:
    """``ForeignRepository`` when the root of all servers is a data directory, or Barman's home."""
    found = occupant(home, ())
    if found is not None:
        raise ForeignRepository(
            f"{home!r} is {found[0]} (it holds {found[1]!r})",
            "give walstream a directory of its own with --home; nothing was written",
        )


def configuration_file(config: str | None) -> str:
    """The file that is in force, or where a new one belongs."""
    try:
        return find_file(config)
    except ConfigurationError:
        return os.path.expanduser(STANDARD_FILES[1 if os.geteuid() == 0 else 0])


def section(request: InitRequest, slot: str) -> dict[str, str]:
    """The lines to write."""
    about = {"description": request.description} if request.description else {}
    return about | {
        "conninfo": request.conninfo,
        "streaming_archiver": "on",
        "slot_name": slot,
        "create_slot": "auto",
    }


def derived_slot_name(name: str) -> str:
    """A slot's name made of a server's: for the second archive of one cluster."""
    low = "".join(c if c in _SLOT_LETTERS else "_" for c in name.lower())
    return f"{SLOT}_{low}"[:63]


def lacks_of(settings: ServerSettings, found: Survey) -> tuple[Lack, ...]:
    """All that a server lacks, each thing once."""
    if found.cluster is None:
        return (connection_lack(found.sql_error),) if found.sql_error else ()
    facts = found.cluster
    needs_slot = settings.slot_name is not None and found.slot is None
    rules = [requirements.lack_of_replication(facts), requirements.lack_of_wal(facts)]
    rules.append(requirements.lack_of_senders(facts))
    rules.append(requirements.lack_of_slots(facts) if needs_slot else None)
    lacks = [lack for lack in rules if lack is not None]
    if found.stream_error is not None and (not lacks or _about_access(found)):
        lacks.append(connection_lack(found.stream_error))
    return tuple(lacks)


def advice_on(request: InitRequest, file: str) -> tuple[str, ...]:
    """What could be done better, once it works."""
    if not SECRETS.isdisjoint(parsed_conninfo(request.conninfo)):
        return (
            f"the password stands in {file}: better keep it in a passfile, ~/.pgpass or "
            "passfile=/path in the connection string",
        )
    return ()


def _about_access(found: Survey) -> bool:
    """Whether the streaming connection failed for a reason that no other rule names."""
    return found.stream_error is not None and "pg_hba.conf" in found.stream_error.message


def _try_slot(connection: Connection) -> Lack | None:
    """Whether a slot could be made: by a temporary one, which goes with the connection."""
    name = f"{SLOT}_init_{os.getpid()}"
    try:
        connection.query(commands.create_slot(name, connection.server_version, temporary=True))
        connection.query(commands.drop_slot(name))
    except ServerRefused as refusal:
        return connection_lack(refusal)
    return None


def _standard_home() -> str:
    return "/var/lib/walstream" if os.geteuid() == 0 else "~/walstream"


def _require_writable(file: str) -> None:
    """Before anything is made: a file that cannot be written would leave a repository without a section."""
    place = os.path.dirname(os.path.realpath(file))
    while not os.path.exists(place):
        place = os.path.dirname(place)
    if not os.path.isdir(place) or not os.access(place, os.W_OK | os.X_OK):
        raise StorageError(f"cannot write {file!r}: {place!r} is closed", "name another file with -c")
