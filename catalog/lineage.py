"""A backup's lineage: itself and the backups that it depends on, down to a full one. Pure.

An incremental backup holds what changed since its parent began, and is restored over it. Of the parents only
the stored files count: the WAL that a restore needs is that of the last backup alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from catalog.record import BackupRecord


@dataclass(frozen=True, slots=True)
class Lineage:
    """The backups of a chain, the oldest first; ``missing`` is the parent that the oldest one lacks."""

    records: tuple[BackupRecord, ...]
    missing: str | None = None

    @property
    def parents(self) -> tuple[BackupRecord, ...]:
        """All but the last."""
        return self.records[:-1]


def lineage(record: BackupRecord, records: Iterable[BackupRecord]) -> Lineage:
    """Follow the parents of ``record`` among ``records``."""
    chain = [record]
    by_id = {each.id: each for each in records} if record.parent is not None else {}
    while (parent := chain[0].parent) is not None:
        found = by_id.pop(parent, None)
        # An id is a time: a parent that is not older is none, and no chain is a circle.
        if found is None or found.id >= chain[0].id:
            return Lineage(tuple(chain), parent)
        chain.insert(0, found)
    return Lineage(tuple(chain))


def defect(record: BackupRecord, records: Iterable[BackupRecord], damaged: Mapping[str, str]) -> str | None:
    """Why a backup cannot be laid down, as far as it and its parents are known; None if it can.

    ``damaged`` says by id what is wrong with the stored files of a backup.
    """
    found = lineage(record, records)
    if record.id in damaged:
        return damaged[record.id]
    if found.missing is not None:
        return f"its parent {found.missing} is not there"
    for parent, child in pairwise(found.records):
        if parent.id in damaged:
            return f"its parent {parent.id} is damaged: {damaged[parent.id]}"
        if parent.system_identifier != child.system_identifier or parent.begin.lsn >= child.begin.lsn:
            return f"{parent.id} cannot be the parent of {child.id}: it is of another cluster, or not older"
    return None


def children(record: BackupRecord, records: Iterable[BackupRecord]) -> tuple[str, ...]:
    """The ids of the backups whose parent it is."""
    return tuple(each.id for each in records if each.parent == record.id)
