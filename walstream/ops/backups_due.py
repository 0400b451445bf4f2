"""The scheduled backups of a supervisor: a process each, started when due, and not all at the same moment."""

from __future__ import annotations

import logging
import signal
from collections.abc import Collection, Mapping

from catalog.errors import WalstreamError
from walstream.ops.children import Child, backup_words
from walstream.ops.server_log import server_log
from walstream.ops.supervision import how_it_ended
from walstream.ops.timetable import Failure, Timetable
from walstream.settings.server import ServerSettings

# Between two starts, in seconds: a backup begins with a checkpoint, and servers may share disks.
STAGGER = 60.0


class BackupsDue:
    """``look_after`` every few seconds; ``children`` are the backups that run."""

    def __init__(self, log_level: str | None = None) -> None:
        self._log_level = log_level
        self._tables: dict[str, Timetable] = {}
        self._running: dict[str, Child] = {}
        self._trouble: dict[str, str] = {}
        self._next_start = 0.0
        self._ending = False

    @property
    def children(self) -> list[Child]:
        """The processes of the backups that run."""
        return list(self._running.values())

    def renew(self, servers: Mapping[str, ServerSettings], broken: Collection[str] = ()) -> None:
        """Let these settings hold, and the former ones of those that are ``broken``; backups that run go on."""
        tables = {name: table for name, table in self._tables.items() if name in broken}
        for name, settings in servers.items():
            if settings.active and settings.backup_schedule is not None:
                former = self._tables.get(name)
                same = former is not None and former.schedule == settings.backup_schedule
                tables[name] = (
                    former if same and former else Timetable(settings.home, settings.backup_schedule)
                )
        self._tables = tables

    def look_after(self, config: str, now: float, clock: float) -> None:
        """Note which backups have ended, and start one that is due; ``now`` is Unix time, ``clock`` steady."""
        for name, child in list(self._running.items()):
            child.hear()
            if (code := child.poll()) is not None:
                self._note_end(name, child, code, now)
        if clock < self._next_start:
            return
        for name, table in self._tables.items():
            if name not in self._running and self._is_due(name, table, now):
                self._start(name, table, config, now)
                self._next_start = clock + STAGGER
                return

    def end(self) -> None:
        """Ask the backups that run to undo themselves."""
        self._tables = {}
        self._ending = True
        for child in self._running.values():
            child.signal(signal.SIGTERM)

    def _is_due(self, name: str, table: Timetable, now: float) -> bool:
        try:
            due = table.is_due(now)
        except WalstreamError as error:
            self._say(name, str(error))
            return False
        self._trouble.pop(name, None)
        return due

    def _start(self, name: str, table: Timetable, config: str, now: float) -> None:
        try:
            table.note_start(now)
            self._running[name] = Child(backup_words(config, self._log_level, name))
        except (WalstreamError, OSError) as error:
            self._say(name, f"the scheduled backup cannot be started: {error}")
        else:
            server_log(name).info("the scheduled backup begins")

    def _note_end(self, name: str, child: Child, code: int, now: float) -> None:
        del self._running[name]
        error, warnings, is_taken = child.error(), child.warnings(), name in child.facts()
        child.close()
        for warning in warnings:  # of one that is SUSPECT, or waits for WAL, they are why it ends with 1
            server_log(name).log(
                logging.ERROR if code else logging.WARNING, "the scheduled backup: %s", warning
            )
        if code == 0 or is_taken:
            self._keep(name, None)
            return  # it has said so itself
        how = f"{how_it_ended(code)}{f': {error}' if error else ''}"
        if self._ending:
            server_log(name).warning("the scheduled backup was ended: %s", how)
        else:
            server_log(name).error("the scheduled backup has failed: %s", how)
            self._keep(name, Failure(now, how))

    def _keep(self, name: str, failure: Failure | None) -> None:
        """Have ``check`` know how it ended: one that fails before it begins leaves nothing in the repository."""
        try:
            if (table := self._tables.get(name)) is not None:
                table.note_end(failure)
        except WalstreamError as error:
            self._say(name, str(error))

    def _say(self, name: str, trouble: str) -> None:
        if self._trouble.get(name) != trouble:
            server_log(name).error("%s", trouble)
        self._trouble[name] = trouble
