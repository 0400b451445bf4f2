"""Replication commands as text, by server version, and the meaning of their result rows.

Pure. A version is what libpq calls ``server_version``: 150018 for 15.18. Quoting follows the
scanner of the replication grammar (PostgreSQL: ``repl_scanner.l``): keywords in upper case,
strings with doubled quotes, identifiers checked instead of trusted, because a name over 63
bytes is silently cut by the server.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from catalog.errors import Malformed, ProtocolError, UsageError
from catalog.lsn import LSN

Row = Sequence[bytes | None]

OLDEST_SUPPORTED = 130000
FIRST_WITH_OPTION_LISTS = 150000
FIRST_WITH_READ_SLOT = 150000
FIRST_WITH_INCREMENTALS = 170000

IDENTIFY_SYSTEM = "IDENTIFY_SYSTEM"
UPLOAD_MANIFEST = "UPLOAD_MANIFEST"
_SLOT_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_")
_MOST_DIGITS = 20  # of 64 bits


@dataclass(frozen=True, slots=True)
class SystemFacts:
    """The answer to IDENTIFY_SYSTEM."""

    system_identifier: int
    timeline: int
    position: LSN


@dataclass(frozen=True, slots=True)
class SlotPosition:
    """The answer to READ_REPLICATION_SLOT; all None for a slot that does not exist."""

    kind: str | None
    restart: LSN | None
    timeline: int | None


@dataclass(frozen=True, slots=True)
class BaseBackupOptions:
    """What is asked of BASE_BACKUP; rates in kB/s, 32 to 1048576.

    ``incremental`` (17 and later): upon the backup whose manifest was uploaded on this connection.
    """

    label: str
    fast_checkpoint: bool = False
    max_rate: int | None = None
    progress: bool = True
    incremental: bool = False


def text(value: bytes | None, what: str) -> str:
    """A column that must not be null, as text."""
    if value is None:
        raise ProtocolError(f"the server sent no {what}")
    return bytes(value).decode("utf-8", "surrogateescape")


def number(value: bytes | None, what: str) -> int:
    """A column that must be an unsigned number."""
    digits = text(value, what)
    if not digits.isascii() or not digits.isdecimal() or len(digits) > _MOST_DIGITS:
        raise ProtocolError(f"the server sent {digits!r} as {what}")
    return int(digits)


def checked_slot_name(name: str) -> str:
    """The name itself when PostgreSQL would accept it as the name of a slot."""
    if not 0 < len(name) <= 63 or not _SLOT_LETTERS.issuperset(name):
        raise UsageError(
            f"not the name of a replication slot: {name!r}",
            "use 1 to 63 lower-case letters, digits and underscores",
        )
    return name


def show(setting: str) -> str:
    """SHOW: one row with one text column."""
    if not setting.isascii() or not setting.replace("_", "").isalnum():
        raise UsageError(f"not the name of a setting: {setting!r}")
    return f"SHOW {setting}"


def system_facts(row: Row) -> SystemFacts:
    """Read the row of IDENTIFY_SYSTEM."""
    _require_columns(row, 3, IDENTIFY_SYSTEM)
    return SystemFacts(
        number(row[0], "system identifier"),
        number(row[1], "timeline"),
        _position(row[2], "position"),
    )


def timeline_history(timeline: int) -> str:
    """TIMELINE_HISTORY: one row of file name and content; not for timeline 1, which has none."""
    return f"TIMELINE_HISTORY {timeline:d}"


def history_content(row: Row) -> bytes:
    """Read the row of TIMELINE_HISTORY: the file as the server has it, whatever type the column claims."""
    _require_columns(row, 2, "TIMELINE_HISTORY")
    if row[1] is None:
        raise ProtocolError("the server sent no history")
    return bytes(row[1])


def create_slot(name: str, version: int, *, temporary: bool = False) -> str:
    """CREATE_REPLICATION_SLOT, physical, reserving WAL at once."""
    reserve = "(RESERVE_WAL)" if version >= FIRST_WITH_OPTION_LISTS else "RESERVE_WAL"
    kind = "TEMPORARY PHYSICAL" if temporary else "PHYSICAL"
    return f'CREATE_REPLICATION_SLOT "{checked_slot_name(name)}" {kind} {reserve}'


def drop_slot(name: str) -> str:
    """DROP_REPLICATION_SLOT; an active slot is refused by the server rather than waited for."""
    return f'DROP_REPLICATION_SLOT "{checked_slot_name(name)}"'


def read_slot(name: str) -> str:
    """READ_REPLICATION_SLOT (15 and later)."""
    return f'READ_REPLICATION_SLOT "{checked_slot_name(name)}"'


def slot_position(row: Row) -> SlotPosition:
    """Read the row of READ_REPLICATION_SLOT."""
    _require_columns(row, 3, "READ_REPLICATION_SLOT")
    return SlotPosition(
        None if row[0] is None else text(row[0], "kind of slot"),
        None if row[1] is None else _position(row[1], "restart position"),
        None if row[2] is None else number(row[2], "restart timeline"),
    )


def start_replication(position: LSN, timeline: int, slot: str | None) -> str:
    """START_REPLICATION, physical, with an explicit timeline."""
    with_slot = f'SLOT "{checked_slot_name(slot)}" ' if slot is not None else ""
    return f"START_REPLICATION {with_slot}PHYSICAL {position} TIMELINE {timeline:d}"


def next_timeline(row: Row) -> tuple[int, LSN]:
    """Read the row that ends a historic timeline: the next timeline and where it begins."""
    _require_columns(row, 2, "START_REPLICATION")
    return number(row[0], "next timeline"), _position(row[1], "start of next timeline")


def base_backup(options: BaseBackupOptions, version: int) -> str:
    """BASE_BACKUP with manifest and tablespace map, never waiting for archiving."""
    words = [f"LABEL {quoted(_checked_label(options.label))}"]
    new = version >= FIRST_WITH_OPTION_LISTS
    if options.progress:
        words.append("PROGRESS")
    if options.fast_checkpoint:
        words.append("CHECKPOINT 'fast'" if new else "FAST")
    words.append("WAIT false" if new else "NOWAIT")
    if options.max_rate is not None:
        words.append(f"MAX_RATE {options.max_rate:d}")
    words += ["TABLESPACE_MAP", "MANIFEST 'yes'"]
    if options.incremental:
        words.append("INCREMENTAL")
    return f"BASE_BACKUP ({', '.join(words)})" if new else f"BASE_BACKUP {' '.join(words)}"


def quoted(value: str) -> str:
    """A string literal of the replication grammar: no backslash escapes, quotes doubled."""
    return "'" + value.replace("'", "''") + "'"


def _position(value: bytes | None, what: str) -> LSN:
    position = text(value, what)
    try:
        return LSN.parse(position)
    except Malformed:
        raise ProtocolError(f"the server sent {position!r} as {what}") from None


def _require_columns(row: Row, count: int, command: str) -> None:
    if len(row) < count:
        raise ProtocolError(f"the server's answer to {command} has {len(row)} columns, not {count}")


def _checked_label(label: str) -> str:
    if len(label.encode(errors="surrogatepass")) > 1024 or any(map(_is_unsafe, label)):
        raise UsageError(
            f"not a backup label: {label!r}",
            "use at most 1024 bytes and no control characters: the label becomes a line of backup_label",
        )
    return label


def _is_unsafe(character: str) -> bool:
    return character < " " or character == "\x7f" or "\ud800" <= character <= "\udfff"
