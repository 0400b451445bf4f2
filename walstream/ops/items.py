"""One answer of ``check``: a label, whether all is well, a hint, and the remedy if there is one. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

TYPE_CHECKING = False
if TYPE_CHECKING:
    # What a server lacks is asked with psycopg; a maintenance round has items, and no server.
    from walstream.ops.requirements import Lack

WARNING = "WARNING: "
CONFIGURATION = "configuration"
# What may have failed without keeping a backup from being taken, or WAL from coming.
MINOR = frozenset(
    {
        "failed backups", "suspect backups", "minimum redundancy requirements", "archiver errors",
        "incoming WALs directory", "streaming WALs directory", "backup maximum age", "backup minimum size",
        "wal maximum age", "PostgreSQL server is standby", "Primary server is not a standby", "models",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Item:
    """``hint`` says what was seen; ``remedy`` what to do, of a failure always, of a warning if possible."""

    label: str
    ok: bool
    hint: str = ""
    remedy: str = ""

    @property
    def key(self) -> str:
        """The label as a key of JSON."""
        return self.label.lower().replace(" ", "_").replace("-", "_").replace(".", "")

    @property
    def status(self) -> str:
        """``OK`` or ``FAILED``, as Barman has it."""
        return "OK" if self.ok else "FAILED"

    @property
    def minor(self) -> bool:
        """Whether backups can be taken, and WAL comes, although it has failed."""
        return self.label in MINOR

    @property
    def is_unknown(self) -> bool:
        """Whether it says that nothing could be found out: the section of the server is wrong."""
        return self.label == CONFIGURATION

    @property
    def is_warning(self) -> bool:
        """Whether it is well today and may not be tomorrow."""
        return self.ok and self.hint.startswith(WARNING)


def fine(label: str, hint: str = "") -> Item:
    """All is well."""
    return Item(label, True, hint)


def warned(label: str, hint: str, remedy: str = "") -> Item:
    """Well, with a warning."""
    return Item(label, True, WARNING + hint, remedy)


def failure(label: str, hint: str, remedy: str) -> Item:
    """Not well."""
    return Item(label, False, hint, remedy)


def judged(label: str, lack: Lack | None, hint: str = "") -> Item:
    """Well unless something is lacking."""
    return fine(label, hint) if lack is None else failure(label, lack.message, lack.remedy)


def at_local_time(moment: float) -> str:
    """Unix time for a hint, in local time with its offset: ``2026-01-31 12:00:00+01:00``."""
    return datetime.fromtimestamp(moment).astimezone().isoformat(" ", "seconds")


def to_start(server: str) -> str:
    """The remedy where a receiver is missing, and it is not known why."""
    return f"start it: walstream run (by hand, or after --stop: walstream receive-wal {server})"


def to_go_on(server: str) -> str:
    """The remedy where a receiver was stopped on purpose: ``run`` and ``cron`` leave it alone."""
    return f"start it again: walstream receive-wal {server}"
