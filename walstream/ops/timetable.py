"""Scheduled backups of one server: which is due, which was started last, how it failed: ``state/schedule.json``.

One that fell into a time when nobody looked is made up for at once, but only one: what was missed is missed.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from catalog import durable, layout
from catalog.errors import StorageError
from catalog.local_storage import failed
from walstream.settings.schedule import Schedule

_FILE = "schedule.json"


@dataclass(frozen=True, slots=True)
class Failure:
    """When (Unix time) the newest scheduled backup failed, and why."""

    at: float
    error: str


def last_failure(home: str) -> Failure | None:
    """How the scheduled backup of this server that ended last failed; None when it did not, as far as is known."""
    return _failure_in(_document(os.path.join(home, layout.STATE, _FILE)))


class Timetable:
    """The schedule of the server whose state lies in ``home``; times are Unix time.

    A schedule that is new, or another than before, begins to count when it is first seen.
    """

    def __init__(self, home: str, schedule: Schedule) -> None:
        self.schedule = schedule
        self._path = os.path.join(home, layout.STATE, _FILE)
        self._since: float | None = None
        self._is_saved = False
        self._failure: Failure | None = None

    def is_due(self, now: float) -> bool:
        """Whether a backup is to be started."""
        return self.next_due(now) <= now

    def next_due(self, now: float) -> float:
        """When the next one is due; it may be past."""
        if self._since is None:
            self._since = self._read()
            self._is_saved = self._since is not None
        if self._since is None or self._since > now:  # never seen, or the clock was set back
            self.note_start(now)
        elif not self._is_saved:
            with suppress(StorageError):  # it was said when it failed first
                self._save()
        assert self._since is not None
        return self.schedule.next_after(self._since)

    def note_start(self, now: float) -> None:
        """A backup starts, so what was due is done."""
        self._since = now
        self._is_saved = False
        self._save()

    def note_end(self, failure: Failure | None) -> None:
        """It has ended; only how the last one failed is kept, for ``check``."""
        if self._since is None:
            self._since = self._read()
        self._failure = failure
        self._is_saved = False
        self._save()

    def _save(self) -> None:
        """Keep it; the directory is made by the first connection: before, nothing may lie in its place."""
        if not os.path.isdir(os.path.dirname(self._path)):
            return
        document: dict[str, object] = {"schedule": self.schedule.text, "since": self._since}
        if self._failure is not None:
            document["failure"] = asdict(self._failure)
        try:
            durable.write_file(self._path, json.dumps(document).encode() + b"\n")
        except OSError as error:
            raise failed("write", self._path, error) from error
        self._is_saved = True

    def _read(self) -> float | None:
        document = _document(self._path)
        self._failure = _failure_in(document)
        try:
            return float(document["since"]) if document["schedule"] == self.schedule.text else None
        except (ValueError, KeyError, TypeError):
            return None  # a damaged one only says less


def _document(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (FileNotFoundError, ValueError):
        return {}
    except OSError as error:
        raise failed("read", path, error) from error
    return found if isinstance(found, dict) else {}


def _failure_in(document: dict[str, Any]) -> Failure | None:
    try:
        return Failure(float(document["failure"]["at"]), str(document["failure"]["error"]))
    except (ValueError, KeyError, TypeError):
        return None
