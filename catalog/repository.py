"""A repository: the identity of the cluster it protects, and its two shelves.

A directory is ours only when its ``identity.json`` says so; anything else that is not empty is refused
before a byte is written, because other tools use the same directory names.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from catalog import durable, layout
from catalog.backups import BackupShelf
from catalog.coverage import Holdings
from catalog.decoding import split_suffix
from catalog.errors import (
    Absent,
    Conflict,
    Corrupt,
    ForeignRepository,
    Malformed,
    RepositoryError,
    StorageError,
)
from catalog.identity import Identities
from catalog.inventory import Inventory, Run
from catalog.local_storage import LocalStorage, failed
from catalog.lock import Lock
from catalog.lsn import SegmentSize
from catalog.record import BackupRecord
from catalog.repository_identity import RepositoryIdentity, read_identity
from catalog.timeline import History
from catalog.wal import WalShelf
from catalog.walname import HISTORY, SEGMENT, Segment, kind_of, timeline_in

# What may lie in a directory that is to become a repository: the root of a file system has it.
_HARMLESS = frozenset({"lost+found"})


@dataclass(frozen=True, slots=True)
class Repository:
    """One cluster's WAL and backups below ``root``, opened."""

    root: str
    storage: LocalStorage
    identity: RepositoryIdentity
    wal: WalShelf
    backups: BackupShelf
    identities: Identities = field(default_factory=Identities)

    def with_identities(self, identities: Identities) -> Repository:
        """The same one, what is encrypted in it readable with these."""
        wal, backups = WalShelf(self.storage, identities), BackupShelf(self.storage, identities)
        return replace(self, wal=wal, backups=backups, identities=identities)

    def lock(self, name: str, what: str, *, unsigned_when_full: bool = False) -> Lock:
        """The lock ``name`` of this repository (``archive``, ``backup``), not yet taken."""
        return Lock(self.lock_path(name), what, unsigned_when_full=unsigned_when_full)

    def lock_path(self, name: str) -> str:
        """Where that lock's file is."""
        return os.path.join(self.root, layout.LOCKS, name)

    def require_present(self) -> None:
        """``StorageError`` unless the repository is still there: under an unmounted disk nothing may be written."""
        try:
            found = read_identity(self.storage)
        except Absent:
            raise StorageError(
                f"there is no repository in {self.root!r} any more",
                "is its disk mounted? a receiver goes on when it is, repeat anything else",
            ) from None
        if found.salt != self.identity.salt:
            raise StorageError(
                f"another repository stands in {self.root!r}",
                "it was made while the disk of the first was not mounted: mount that again, or stop and start to "
                "go on with the new one",
            )

    def inventory(self) -> Inventory:
        """What the WAL shelf lists right now."""
        return Inventory.from_names(self.wal.names(), self.identity.wal_segment_size)

    def histories(self, problems: list[str] | None = None) -> dict[int, History]:
        """All stored timeline histories, and timeline 1's, which needs no file.

        One that cannot be read is an error, or one more of the ``problems`` and left out.
        """
        found = {1: History(1, ())}
        for name in list(self.storage.names(layout.WALS)):
            if kind_of(name) == HISTORY:
                timeline = timeline_in(name)
                try:
                    found[timeline] = History.parse(timeline, self.wal.history(name))
                except Malformed as error:
                    if problems is None:
                        raise
                    problems.append(f"{self.storage.path(layout.wal_key(name))!r} does not count: {error}")
        return found


def open_repository(root: str) -> Repository:
    """Open what is there; ``Absent`` for an empty or missing directory, else ``ForeignRepository``."""
    try:
        return _opened(root, read_identity(LocalStorage(root)))
    except Absent:
        refuse_foreign(root)
        raise


def refuse_vanished(root: str, home: str) -> None:
    """``StorageError`` when ``home``, a directory elsewhere, says that there was a repository that is not there."""
    if os.path.abspath(home) == os.path.abspath(root):
        return
    try:
        read_identity(LocalStorage(home))
    except Absent:
        return
    try:
        read_identity(LocalStorage(root))
    except Absent:
        raise StorageError(
            f"there is no repository in {root!r} any more, but {home!r} was used with one",
            "is its disk mounted? To begin anew, with a new backup, remove "
            f"{os.path.join(home, layout.IDENTITY)!r} first",
        ) from None


def create_repository(root: str, identity: RepositoryIdentity) -> Repository:
    """Make a repository in an absent or empty directory; one that is there must have this identity.

    Raises ``WrongServer`` when it is another cluster's and ``ForeignRepository`` when it is not ours.
    """
    storage = LocalStorage(root)
    try:
        found = read_identity(storage)
    except Absent:
        refuse_foreign(root)
        _write_identity(storage, identity)
        for directory in (layout.BASE, layout.WALS, layout.LOCKS):
            try:
                durable.make_directories(os.path.join(root, directory))
            except OSError as error:
                raise failed("make", os.path.join(root, directory), error) from error
        found = read_identity(storage)
    found.require(identity.system_identifier)
    return _opened(root, found)


def _write_identity(storage: LocalStorage, identity: RepositoryIdentity) -> None:
    sink = storage.write(layout.IDENTITY)
    try:
        sink.write(identity.to_json())
        sink.finish()
    except Conflict:
        sink.abort()  # somebody else was faster: theirs counts
    except BaseException:
        sink.abort()
        raise


def refuse_foreign(root: str) -> None:
    """``ForeignRepository`` unless the directory is absent or empty, or was given an identity just now."""
    try:
        names = [name for name in os.listdir(root) if not durable.is_temporary(name)]
    except FileNotFoundError:
        return
    except OSError as error:
        raise failed("list", root, error) from error
    strange = sorted(set(names) - _HARMLESS)
    if strange and layout.IDENTITY not in names:
        raise ForeignRepository(
            f"{root!r} is not empty and not a walstream repository (it holds {strange[0]!r})",
            "choose another walstream_home or server name; nothing was written. If it is one, and its "
            "identity.json is lost, bring that back from a copy: it never changes",
        )


def _opened(root: str, identity: RepositoryIdentity) -> Repository:
    storage = LocalStorage(root)
    return Repository(storage.root, storage, identity, WalShelf(storage), BackupShelf(storage))


def stored_holdings(repository: Repository) -> Holdings:
    """What decisions rest on that look at the repository alone."""
    records = repository.backups.records()
    return _holdings(repository, records, repository.inventory())


def readable_holdings(repository: Repository) -> tuple[Holdings, list[str]]:
    """The same from what can be read, and what is wrong with the rest: for whoever only reads."""
    problems: list[str] = []
    records = []
    for backup_id in repository.backups.ids():
        try:
            record = repository.backups.find(backup_id)
        except (Malformed, RepositoryError) as error:
            path = repository.storage.path(layout.backup_key(backup_id, layout.RECORD))
            problems.append(f"{path!r} does not count: {error}")
        else:
            records += [record] if record is not None else []
    return _holdings(repository, records, repository.inventory(), problems), problems


def span_holdings(
    repository: Repository, records: Sequence[BackupRecord], runs: Iterable[Run] = ()
) -> Holdings:
    """Enough to tell whether each of these can be restored: only directories of their own WAL are listed.

    And those of ``runs``. The backups that they depend on are among the records, too. A year of WAL is half a
    million files; of those that a hundred backups need, there are few.
    """
    size = repository.identity.wal_segment_size
    spans = [(record.first_segment.number, record.last_segment.number) for record in records]
    spans += [(run.first, run.last) for run in runs]
    logs = {f"{log:08X}" for span in spans for log in _logs(*span, size)}
    near = [directory for directory in repository.wal.directories() if directory[8:] in logs]
    inventory = Inventory.from_names(repository.wal.names(near), size)
    return _holdings(repository, _with_parents(repository, records), inventory)


def _with_parents(repository: Repository, records: Sequence[BackupRecord]) -> list[BackupRecord]:
    """These records and those of their parents, as far as they can be read; oldest first."""
    found = {record.id: record for record in records}
    for record in records:
        each: BackupRecord | None = record
        while each is not None and each.parent is not None and each.parent not in found:
            try:
                each = repository.backups.find(each.parent)
            except (Malformed, RepositoryError):
                each = None
            found |= {} if each is None else {each.id: each}
    return [found[backup_id] for backup_id in sorted(found)]


def _logs(first: int, last: int, size: SegmentSize) -> range:
    """The middle parts, as numbers, of the names of these segments."""
    return range(first // size.per_log, last // size.per_log + 1)


def _holdings(
    repository: Repository,
    records: Sequence[BackupRecord],
    inventory: Inventory,
    problems: list[str] | None = None,
) -> Holdings:
    size = repository.identity.wal_segment_size
    own = {
        record.id: frozenset(
            Segment.parse(name[:24], size)
            for name in repository.backups.wal_names(record.id)
            if kind_of(split_suffix(name)[0]) == SEGMENT
        )
        for record in records
    }
    damaged = {record.id: wrong for record in records if (wrong := _damage(repository, record)) is not None}
    return Holdings(tuple(records), inventory, repository.histories(problems), size, own, damaged)


def _damage(repository: Repository, record: BackupRecord) -> str | None:
    """What is wrong with a backup's files, as far as names, sizes and the last verification tell."""
    try:
        verified = repository.backups.verified(record.id)
    except Malformed:
        verified = None  # what was found out before is lost; the files are still there
    if verified is not None and verified.problems:
        return f"verify-backup found on {verified.at:%Y-%m-%d}: {verified.problems[0]}"
    try:
        sizes = repository.backups.measured_sizes(record.id)
    except (Corrupt, Absent) as error:
        return str(error)
    for archive in (*record.archives, record.manifest):
        if archive.file not in sizes:
            return f"{archive.file!r} is missing"
        if sizes[archive.file] != archive.stored_size:
            return f"{archive.file!r} has {sizes[archive.file]} bytes instead of {archive.stored_size}"
    return None
