"""What a verification saw, as two short texts, so that the next one can skip what has not changed since.

A text is a hash over the stamps (``Storage.stamp``) of all that was read: one over the record and the stored
files of the backup, one over its WAL. It costs one look per file and reads nothing; what it cannot see is
a disk that gives back other bytes than were written, without a write.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from backup.verify_segments import stored_keys
from catalog import layout
from catalog.coverage import Holdings
from catalog.errors import Absent
from catalog.marks import VerifiedMark
from catalog.record import BackupRecord
from catalog.repository import Repository


@dataclass(frozen=True, slots=True)
class Stamps:
    """Of the stored files and of the WAL; None where something is missing."""

    files: str | None
    wal: str | None


def stamps_of(repository: Repository, record: BackupRecord, holdings: Holdings) -> Stamps:
    """The stamps as they are now; to be asked for before anything is read."""
    files = (layout.RECORD, *(each.file for each in (*record.archives, record.manifest)))
    keys = stored_keys(repository, record, holdings)
    return Stamps(
        _stamp(repository, [layout.backup_key(record.id, file) for file in files]),
        None if keys is None else _stamp(repository, keys),
    )


def same_files(known: VerifiedMark | None, stamps: Stamps) -> bool:
    """Whether the stored files are those that were verified, and found good."""
    if known is None or known.problems:
        return False
    return stamps.files is not None and known.files_stamp == stamps.files


def same_wal(known: VerifiedMark | None, stamps: Stamps) -> bool:
    """Whether the WAL is what was verified, and found good."""
    return known is not None and stamps.wal is not None and known.wal_stamp == stamps.wal


def _stamp(repository: Repository, keys: Iterable[str]) -> str | None:
    total = hashlib.sha256()
    try:
        for key in keys:
            total.update(f"{key} {repository.storage.stamp(key)}\n".encode("utf-8", "surrogateescape"))
    except Absent:
        return None
    return total.hexdigest()
