"""What need not be received any more, in the repository and in the spool; and from where on backups need WAL.

Read only. A document that cannot be read does not count, which is said; so a receiver asks for more than it has to.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from catalog import layout
from catalog.errors import Malformed
from catalog.gaps import as_inventory, open_gaps, read_gaps
from catalog.inventory import Inventory
from catalog.record import BackupRecord
from catalog.repository import Repository, span_holdings
from catalog.timeline import Path
from catalog.walname import Segment
from walstream.archiver import complete_segments


class Held:
    """Of one repository and of the spool in ``home``; ``say`` gets what is wrong with a document."""

    def __init__(self, repository: Repository, home: str, say: Callable[[str], None]) -> None:
        self._say = say
        self._repository = repository
        self._home = home
        self._directory = os.path.join(home, layout.STREAMING)

    def inventory(self) -> Inventory:
        """What need not be received: the spool first, because segments travel from there to the repository."""
        size = self._repository.identity.wal_segment_size
        spooled = Inventory.from_names(complete_segments(self._directory), size)
        return spooled | self._repository.inventory() | as_inventory(read_gaps(self._home, size))

    def backup_begins(self) -> list[Segment]:
        """The first segments of all backups, those that are running included."""
        shelf, size = self._repository.backups, self._repository.identity.wal_segment_size
        records = self._records()
        # Behind one that is kept alone WAL was removed on purpose, and is not asked for again.
        leading = [record for record in records if not shelf.stands_alone(record.id)]
        begins = [record.first_segment for record in leading or records]
        for backup_id in shelf.ids():
            try:
                mark = shelf.started(backup_id)
            except Malformed as damage:
                self._say(f"backup {backup_id} does not count for where to begin: {damage}")
                continue
            if mark is not None and mark.begin is not None:
                begins.append(Segment.at(mark.begin.timeline, mark.begin.lsn, size))
        return begins

    def has_open_gap(self, path: Path | None) -> bool:
        """Whether there is a gap behind which no restorable backup begins yet; ``path`` is the server's."""
        gaps = read_gaps(self._home, self._repository.identity.wal_segment_size)
        if not gaps:
            return False
        first = min(gap.run.last for gap in gaps)
        behind = [record for record in self._records() if record.first_segment.number > first]
        # Only their own WAL is listed: this is asked every few seconds, and a year of WAL is half a million files.
        holdings = span_holdings(self._repository, behind, [gap.run for gap in gaps])
        return bool(open_gaps(gaps, holdings, path))

    def _records(self) -> list[BackupRecord]:
        """The records that can be read."""
        found = []
        for backup_id in self._repository.backups.ids():
            try:
                record = self._repository.backups.find(backup_id)
            except Malformed as damage:
                self._say(f"backup {backup_id} does not count: {damage}")
                continue
            found += [record] if record is not None else []
        return found
