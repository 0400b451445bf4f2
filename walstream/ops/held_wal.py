"""All WAL that is held of a server, repository and spool together, with the gaps that are known. Offline."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from catalog import layout
from catalog.coverage import Holdings, carries, holds_wal_of, missing, newest
from catalog.gaps import Gap, as_inventory, open_gaps, read_gaps
from catalog.inventory import Inventory, Run
from catalog.repository import Repository, readable_holdings
from catalog.state import read_receiver_state
from catalog.timeline import Path
from catalog.walname import kind_of


@dataclass(frozen=True)
class HeldWal:
    """``stored`` is what the repository alone has, ``all`` with the spool; ``gaps`` are recorded and not filled.

    ``problems`` say which documents could not be read, and so do not count; ``alone`` are the ids of backups that
    are kept with their own WAL; ``received`` is the timeline that was received last, if that is known.
    """

    stored: Holdings
    all: Holdings
    gaps: tuple[Gap, ...]
    problems: tuple[str, ...] = ()
    alone: frozenset[str] = frozenset()
    received: int | None = None

    def open_gaps(self, path: Path | None = None) -> tuple[Gap, ...]:
        """The gaps behind which no restorable backup begins yet, on the server's path if that is known."""
        return tuple(open_gaps(self.gaps, self.stored, path))

    @cached_property
    def missing(self) -> tuple[Run, ...]:
        """The holes behind the oldest backup, along every path that a backup can be recovered on.

        Recorded gaps are not among them.
        """
        holdings, known = self.all, self.all.inventory | as_inventory(self.gaps)
        followed: set[str] = set()
        holes: set[Run] = set()
        for timeline, path in holdings.paths().items():
            records = [record for record in holdings.records if carries(path, record)]
            if not holds_wal_of(timeline, holdings.inventory):
                records = [record for record in records if record.end.timeline == timeline]
            records = [record for record in records if record.id not in followed]
            records = [record for record in records if record.id not in self.alone] or records
            if not records:
                continue
            followed |= {record.id for record in records}
            first = min(record.first_segment.number for record in records)
            end = newest(path, holdings.inventory, holdings.size)
            last = max(*(record.last_segment.number for record in records), end.number if end else 0)
            own = Inventory.of(each for record in records for each in holdings.own.get(record.id, ()))
            holes.update(missing(path, known | own, first, last, holdings.size))
        return tuple(sorted(holes))

    def newest_path(self, timeline: int | None = None) -> Path:
        """The path to a timeline, the server's if that is known, or else to the one that was received last.

        Where that is not known either, to the newest by number of which there is WAL or a backup. It can be one
        that was left, as after a return to the old primary.
        """
        paths = self.all.paths()
        for known in (timeline, self.received):
            if known in paths:
                return paths[known]
        with_backup = {record.end.timeline for record in self.all.records}
        held = (
            path
            for number, path in paths.items()
            if number in with_backup or holds_wal_of(number, self.all.inventory)
        )
        return next(held, paths[1])


def held_wal(repository: Repository, home: str) -> HeldWal:
    """Look at what there is; ``home`` has the spool and the recorded gaps."""
    size = repository.identity.wal_segment_size
    # The spool first, because segments travel from there to the repository.
    spooled = Inventory.from_names(_spooled(os.path.join(home, layout.STREAMING)), size)
    stored, problems = readable_holdings(repository)
    everything = replace(stored, inventory=spooled | stored.inventory)
    gaps = tuple(gap for gap in read_gaps(home, size) if not _is_filled(gap, everything.inventory))
    alone = frozenset(each.id for each in stored.records if repository.backups.stands_alone(each.id))
    state = read_receiver_state(home)
    received = state.timeline if state is not None else None
    return HeldWal(stored, everything, gaps, tuple(problems), alone, received)


def _is_filled(gap: Gap, inventory: Inventory) -> bool:
    return not inventory.missing(gap.run.timeline, gap.run.first, gap.run.last)


def _spooled(directory: str) -> Iterable[str]:
    try:
        return [name for name in os.listdir(directory) if kind_of(name) is not None]
    except FileNotFoundError:
        return []
