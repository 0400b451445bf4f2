"""Where a recovery should stop: what the operator wrote, as one checked value.

At most one of time, position, xid, name and ``immediate`` may be given, as PostgreSQL wants it; none of them
means all WAL there is. Every refusal is a ``UsageError``. How settings are spelled for the server is not
known here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from catalog.errors import Malformed, UsageError
from catalog.lsn import LSN

LATEST = "latest"
IMMEDIATE = "immediate"
TIME = "time"
POSITION = "lsn"
XID = "xid"
NAME = "name"

CURRENT = "current"
ACTIONS = ("pause", "promote", "shutdown")

_WITH_BOUNDARY = (TIME, POSITION, XID)
_WRITTEN = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[T ](?P<time>[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?))?"
    r" ?(?P<zone>[+-][0-9:]{2,8}|[A-Za-z][A-Za-z0-9_+/-]*)?"
)
_TIME_HINT = "write it like '2026-01-31 12:00:00+01:00'; without a zone it is local time"


@dataclass(frozen=True)
class RecoveryTarget:
    """Where a recovery stops: a kind, and the value that the kind has (none for latest and immediate).

    ``timeline`` is a number, ``current`` (the backup's), ``latest``, or None for walstream's choice.
    ``local`` says that the time was written without a zone, and was taken for local time.
    """

    kind: str = LATEST
    value: datetime | LSN | str | None = None
    timeline: int | str | None = None
    inclusive: bool = True
    action: str | None = None
    local: bool = False

    @classmethod
    def from_options(
        cls,
        given: Mapping[str, str],
        *,
        timeline: str | None = None,
        exclusive: bool = False,
        action: str | None = None,
        zone: tzinfo | None = None,
    ) -> RecoveryTarget:
        """The target of a command line: ``given`` maps kinds to what was written (of ``immediate``: nothing).

        ``zone`` is what local time means; None for this machine's zone.
        """
        if len(given) > 1:
            names = ", ".join(sorted(given))
            raise UsageError(f"more than one recovery target: {names}", "give one of them")
        kind, text = next(iter(given.items()), (LATEST, ""))
        if exclusive and kind not in _WITH_BOUNDARY:
            raise UsageError(
                f"the target {kind!r} has no boundary to exclude",
                "leave out --exclusive, or give a time, lsn or xid",
            )
        if action is not None and (action not in ACTIONS or kind == LATEST):
            raise UsageError(
                f"the action {action!r} cannot follow the target {kind!r}",
                f"the action is one of {', '.join(ACTIONS)}, and needs a target",
            )
        value, local = _read_value(kind, text, zone)
        number = None if timeline is None else parse_timeline(timeline)
        return cls(kind, value, number, not exclusive, action, local)

    @property
    def lsn(self) -> LSN | None:
        """The position to reach, of a target of that kind."""
        return self.value if isinstance(self.value, LSN) else None

    @property
    def time(self) -> datetime | None:
        """The time to reach, of a target of that kind; always with its zone."""
        return self.value if isinstance(self.value, datetime) else None


def _read_value(kind: str, text: str, zone: tzinfo | None) -> tuple[datetime | LSN | str | None, bool]:
    if kind == TIME:
        return parse_time(text, zone)
    if kind == POSITION:
        return parse_position(text), False
    if kind == XID:
        return parse_xid(text), False
    if kind == NAME:
        return parse_name(text), False
    if kind in (LATEST, IMMEDIATE):
        return None, False
    raise UsageError(f"not a kind of recovery target: {kind!r}")


def parse_time(text: str, zone: tzinfo | None = None) -> tuple[datetime, bool]:
    """Read a time, and whether it was written without a zone and so taken for local time.

    ISO 8601, or as PostgreSQL prints it: ``2026-01-31 12:00:00.5+02``, also with ``UTC`` or a zone's full
    name. A time that the change of clocks doubles or skips in its zone is refused.
    """
    match = _WRITTEN.fullmatch(text.strip())
    written = match["zone"] or "" if match else ""
    if match is None or (written.startswith(("+", "-")) and not match["time"]):
        raise UsageError(f"not a time: {text!r}", _TIME_HINT)
    try:
        time = datetime.fromisoformat(f"{match['date']}T{match['time'] or '00:00'}")
        if not written:
            return _localize(time, zone, text), True
        if written.upper() in ("Z", "UTC", "GMT"):
            return time.replace(tzinfo=UTC), False
        if "/" in written:
            return _localize(time, ZoneInfo(written), text), False
        time = datetime.fromisoformat(time.isoformat() + written)
        time.astimezone(UTC)
    except (ValueError, KeyError, OverflowError, OSError):
        raise UsageError(f"not a time: {text!r}", _TIME_HINT) from None
    return time, False


def _localize(time: datetime, zone: tzinfo | None, text: str) -> datetime:
    both = [time.replace(fold=fold, tzinfo=zone) for fold in (0, 1)]
    first, second = (each.astimezone(UTC).astimezone(zone) for each in both)
    if first.utcoffset() != second.utcoffset():
        raise UsageError(f"the clocks change at {text!r}: it is no single moment", _TIME_HINT)
    return first


def parse_position(text: str) -> LSN:
    """Read a position; 0/0 is none."""
    try:
        position = LSN.parse(text.strip())
    except Malformed as error:
        raise UsageError(error.message, error.hint) from None
    if not position:
        raise UsageError(f"not a position to recover to: {text!r}")
    return position


def parse_xid(text: str) -> str:
    """Check a transaction id, of 32 bits or with its epoch as ``pg_current_xact_id`` shows it; as digits."""
    digits = text.strip()
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 20 and int(digits) < 1 << 64):
        raise UsageError(f"not a transaction id: {text!r}", "a transaction id is a number")
    if int(digits) % (1 << 32) < 3:
        raise UsageError(f"no transaction has the id {text!r}", "ordinary transactions have ids from 3 on")
    return str(int(digits))


def parse_name(text: str) -> str:
    """Check the name of a restore point: one to 63 bytes, as ``pg_create_restore_point`` allows."""
    if not 0 < len(text.encode("utf-8", "surrogateescape")) < 64 or not text.isprintable():
        raise UsageError(f"not the name of a restore point: {text!r}", "a name has one to 63 printable bytes")
    return text


def parse_timeline(text: str) -> int | str:
    """Read a timeline: a number, ``current`` or ``latest``."""
    if text in (CURRENT, LATEST):
        return text
    if text.isascii() and text.isdecimal() and len(text) <= 10 and 0 < int(text) < 1 << 32:
        return int(text)
    raise UsageError(f"not a timeline: {text!r}", f"give a number, {CURRENT!r} or {LATEST!r}")
