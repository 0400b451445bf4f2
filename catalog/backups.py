"""The shelf of base backups: list and read records and marks, write archives, commit, remove.

A backup exists when its ``record.json`` does: it is written last, and removed first. What lies beside it
(``started.json``, ``failed.json``, ``verified.json``) says how far a backup came that has no record, or
what was found out later about one that has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TypeVar

from catalog import layout
from catalog.age.header import read_header
from catalog.codec import Codec
from catalog.decoding import ENCRYPTED, ENDINGS, decoder, split_suffix
from catalog.errors import Absent, Conflict, Malformed, RepositoryError, StorageError
from catalog.identity import Identities, decrypted
from catalog.marks import KEEP_STANDALONE, FailedMark, KeepMark, RemovedMark, StartedMark, VerifiedMark
from catalog.record import BackupRecord, check_backup_id
from catalog.sink import MeasuredReader, Reader, Sink
from catalog.storage import Storage

_T = TypeVar("_T")


class BackupShelf:
    """The backups below ``base/`` of a repository; ``identities`` open what is encrypted."""

    def __init__(self, storage: Storage, identities: Identities | None = None) -> None:
        self._storage = storage
        self._identities = identities or Identities()

    def ids(self) -> list[str]:
        """The ids of all backups that left anything, oldest first: done, running and failed ones."""
        return sorted(name for name in self._storage.names(layout.BASE) if is_backup_id(name))

    def records(self) -> list[BackupRecord]:
        """The records of all backups that exist, oldest first."""
        return [record for record in map(self.find, self.ids()) if record is not None]

    def find(self, backup_id: str) -> BackupRecord | None:
        """The record of a backup, or None when there is none of that id."""
        return self._document(backup_id, layout.RECORD, BackupRecord.from_json)

    def called(self, name: str) -> str | None:
        """The id of the newest backup of a name, of those whose records can be read."""
        for backup_id in reversed(self.ids()):
            with suppress(Malformed, RepositoryError):
                record = self.find(backup_id)
                if record is not None and record.name == name:
                    return backup_id
        return None

    def started(self, backup_id: str) -> StartedMark | None:
        """The mark of a backup that has begun and neither finished nor been swept."""
        return self._document(backup_id, layout.STARTED, StartedMark.from_json)

    def failed(self, backup_id: str) -> FailedMark | None:
        """The mark that a failed backup left."""
        return self._document(backup_id, layout.FAILED, FailedMark.from_json)

    def verified(self, backup_id: str) -> VerifiedMark | None:
        """What the last successful verification saw."""
        return self._document(backup_id, layout.VERIFIED, VerifiedMark.from_json)

    def removed(self, backup_id: str) -> RemovedMark | None:
        """The mark of a removal that has not come to its end."""
        return self._document(backup_id, layout.REMOVED, RemovedMark.from_json)

    def kept(self, backup_id: str) -> KeepMark | None:
        """The mark of who wants the backup kept."""
        return self._document(backup_id, layout.KEEP, KeepMark.from_json)

    def stands_alone(self, backup_id: str) -> bool:
        """Whether it is kept with the WAL that it needs itself, so that what follows may be missing."""
        try:
            mark = self.kept(backup_id)
        except (Malformed, RepositoryError):
            return False
        return mark is not None and mark.target == KEEP_STANDALONE

    def keep(self, backup_id: str, mark: KeepMark | None) -> None:
        """Have the backup kept, or with None no longer."""
        key = layout.backup_key(backup_id, layout.KEEP)
        if mark is None:
            self._storage.delete(key)
        else:
            self._storage.put(key, mark.to_json())

    def mark_started(self, backup_id: str, mark: StartedMark) -> None:
        """Begin a backup, or say more about one that has begun."""
        self._storage.put(layout.backup_key(backup_id, layout.STARTED), mark.to_json())

    def mark_verified(self, backup_id: str, mark: VerifiedMark) -> None:
        """Note a verification; of a backup that was removed meanwhile nothing is left by it."""
        self._storage.put(layout.backup_key(backup_id, layout.VERIFIED), mark.to_json())
        if self.find(backup_id) is None:
            self._storage.delete_some(layout.backup_directory(backup_id), [layout.VERIFIED])

    def writer(self, backup_id: str, file: str) -> Sink:
        """A sink for one file of a backup, as it is to be stored."""
        return self._storage.write(layout.backup_key(backup_id, file))

    def stored(self, backup_id: str, file: str) -> Reader:
        """The stored bytes of one file of a backup; ``Absent`` when it is missing."""
        return self._storage.read(layout.backup_key(backup_id, file))

    def body(
        self, backup_id: str, file: str, decode: Callable[[Reader, str], Reader] = decoder
    ) -> tuple[MeasuredReader, Reader]:
        """The bytes of a file that its record measures, and the raw ones in them; closing these closes both.

        An age header is not measured: it may have been replaced. ``IdentityError`` at once when none opens it.
        ``decode`` undoes the compression.
        """
        stored = self.stored(backup_id, file)
        suffix = split_suffix(file)[1]
        try:
            if not suffix.endswith(ENCRYPTED):
                measured = MeasuredReader(stored)
                return measured, decode(measured, suffix)
            header, rest = read_header(stored)
            measured = MeasuredReader(rest)
            key = self._identities.file_key(header, f"{file!r} of backup {backup_id}")
            return measured, decode(decrypted(key, measured), suffix.removesuffix(ENCRYPTED))
        except BaseException:
            stored.close()
            raise

    def wal_writer(self, backup_id: str, name: str, codec: Codec) -> Sink:
        """A sink for the beginning of a backup's last segment, as it is to be stored."""
        return self._storage.write(layout.backup_wal_key(backup_id, name, codec.suffix))

    def wal(self, backup_id: str, name: str) -> Reader:
        """The raw bytes of a segment stored with a backup; ``Absent`` when there is none."""
        for suffix in ENDINGS:
            try:
                stored = self._storage.read(layout.backup_wal_key(backup_id, name, suffix))
            except Absent:
                continue
            return decoder(stored, suffix, self._identities, f"segment {name!r} of backup {backup_id}")
        raise Absent(f"backup {backup_id} holds no beginning of segment {name}")

    def wal_names(self, backup_id: str) -> Iterator[str]:
        """The stored files below a backup's ``wal/``, suffixes included."""
        return self._storage.names(layout.backup_key(backup_id, layout.BACKUP_WAL))

    def wal_sizes(self, backup_id: str) -> dict[str, int]:
        """The stored size in bytes of each file below a backup's ``wal/``."""
        return dict(self._storage.sizes(layout.backup_key(backup_id, layout.BACKUP_WAL)))

    def sizes(self, backup_id: str) -> dict[str, int]:
        """The stored size in bytes of each file of a backup."""
        return dict(self._storage.sizes(layout.backup_directory(backup_id)))

    def measured_sizes(self, backup_id: str) -> dict[str, int]:
        """The size in bytes of each file of a backup as its record has it: of an encrypted one without its header.

        ``Corrupt`` when a header cannot be read.
        """
        sizes = self.sizes(backup_id)
        for file in sizes:
            if file.endswith(ENCRYPTED):
                stored = self.stored(backup_id, file)
                try:
                    sizes[file] -= read_header(stored)[0].size
                finally:
                    stored.close()
        return sizes

    def commit(self, record: BackupRecord) -> None:
        """Make the backup exist; everything it names is durable already. ``Conflict`` if it does."""
        key = layout.backup_key(record.id, layout.RECORD)
        if self.find(record.id) is not None:
            raise Conflict(f"backup {record.id} has a record already", "nothing was overwritten")
        self._storage.put(key, record.to_json())
        self._storage.delete(layout.backup_key(record.id, layout.STARTED))

    def fail(self, backup_id: str, mark: FailedMark) -> None:
        """Remove what a backup without record has written, and leave the mark of its failure.

        The data goes first, because the mark may need its room; until then the backup counts as begun.
        """
        self._storage.delete_tree(layout.backup_directory(backup_id), keep=layout.STARTED)
        self._storage.put(layout.backup_key(backup_id, layout.FAILED), mark.to_json())
        self._storage.delete(layout.backup_key(backup_id, layout.STARTED))

    def remove(self, backup_id: str, mark: RemovedMark, on_gone: Callable[[], None] = lambda: None) -> None:
        """Remove a backup, its record first; one that is interrupted leaves the mark to the last.

        A full disk has no room for the mark, and needs the removal most: then it goes without. ``on_gone`` is
        called between the record and all else.
        """
        with suppress(StorageError):
            self._storage.put(layout.backup_key(backup_id, layout.REMOVED), mark.to_json())
        self._storage.delete(layout.backup_key(backup_id, layout.RECORD))
        on_gone()
        self._storage.delete_tree(layout.backup_directory(backup_id), keep=layout.REMOVED)
        self._storage.delete_tree(layout.backup_directory(backup_id))

    def finish_removal(self, backup_id: str) -> None:
        """End what ``remove`` began and was interrupted in; of a backup that still exists only the mark goes."""
        if self.find(backup_id) is None:
            self._storage.delete_tree(layout.backup_directory(backup_id), keep=layout.REMOVED)
            self._storage.delete_tree(layout.backup_directory(backup_id))
        else:
            self._storage.delete(layout.backup_key(backup_id, layout.REMOVED))

    def _document(self, backup_id: str, file: str, read: Callable[[bytes], _T]) -> _T | None:
        try:
            return read(self._storage.get(layout.backup_key(backup_id, file)))
        except Absent:
            return None


def is_backup_id(name: str) -> bool:
    """Whether a name is one that a backup is given by itself."""
    try:
        check_backup_id(name)
    except Malformed:
        return False
    return True
