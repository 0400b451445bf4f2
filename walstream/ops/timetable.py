"""Scheduled backups of one server: which is due, and which was started last: ``state/schedule.json``.

One that fell into a time when nobody looked is made up for at once, but only one: what was missed is missed.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress

from catalog import durable, layout
from catalog.errors import StorageError
from catalog.local_storage import failed
from walstream.settings.schedule import Schedule

_FILE = "schedule.json"


class Timetable:
    """The schedule of the server whose state lies in ``home``; times are Unix time.

    A schedule that is new, or another than before, begins to count when it is first seen.
    """

    def __init__(self, home: str, schedule: Schedule) -> None:
        self.schedule = schedule
        self._path = os.path.join(home, layout.STATE, _FILE)
        self._since: float | None = None
        self._is_saved = False

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

    def _save(self) -> None:
        """Keep it; the directory is made by the first connection: before, nothing may lie in its place."""
        if not os.path.isdir(os.path.dirname(self._path)):
            return
        document = {"schedule": self.schedule.text, "since": self._since}
        try:
            durable.write_file(self._path, json.dumps(document).encode() + b"\n")
        except OSError as error:
            raise failed("write", self._path, error) from error
        self._is_saved = True

    def _read(self) -> float | None:
        try:
            with open(self._path, encoding="utf-8") as file:
                document = json.load(file)
            return float(document["since"]) if document["schedule"] == self.schedule.text else None
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None  # a damaged one only says less
        except OSError as error:
            raise failed("read", self._path, error) from error
