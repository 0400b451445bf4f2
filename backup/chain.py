"""A chain of backups laid down in place: the full one, then each incremental over it, oldest first.

No staging: what a backup lacks is removed before the next one comes, so that after each the directory holds that
backup's moment. Of tablespaces only those of the last backup are made. ``pg_control`` is taken from the last
one alone. The same as ``pg_combinebackup`` makes of the chain, with one difference: of a block that was cut off in
one backup, and is there again in a later one without WAL, nobody holds the content; here it is zeros, there
what an older backup had.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace

from backup import destination, names
from backup.checksum import checksum
from backup.destination import PG_CONTROL
from backup.extract import Extractor
from backup.incremental import patched_name
from backup.label import parse_label
from backup.locations import is_below
from backup.manifest_entry import FileEntry
from backup.overlay import Overlay, prune
from backup.unpack import Places, Transforms, Unpacker, archives_of
from catalog.errors import Corrupt, StorageError
from catalog.record import Archive, BackupRecord

BACKUP_LABEL = "backup_label"
_PIECE = 1 << 20


def lay_down_chain(
    unpacker: Unpacker,
    chain: Sequence[BackupRecord],
    places: Places,
    transforms: Transforms,
    now: float,
) -> Extractor:
    """Lay all backups down; returns the extractor of the last main archive, which still holds pg_control.

    ``transforms`` is for the last backup, whose files will have been modified ``now``, in whole seconds; the
    others a second earlier for each that comes behind them.
    """
    main: Extractor | None = None
    for number, record in enumerate(chain):
        parent = chain[number - 1] if number else None
        last = number == len(chain) - 1
        layer = _Layer(unpacker, record, places, mtime=int(now) + number - len(chain) + 1)
        main = layer.lay_down(parent, transforms if last else None)
        if not last:
            main.close()
    assert main is not None
    return main


class _Layer:
    """One backup of a chain."""

    def __init__(self, unpacker: Unpacker, record: BackupRecord, places: Places, mtime: float) -> None:
        self._unpacker = unpacker
        self._record = record
        self._places = places
        self._mtime = mtime

    def lay_down(self, parent: BackupRecord | None, transforms: Transforms | None) -> Extractor:
        """Lay it over its parent; with ``transforms`` it is the last one."""
        *spaces, main = archives_of(self._record)
        made: dict[int, set[str]] = {oid: set() for oid in self._places.locations}
        for archive in spaces:
            if archive.oid is not None and archive.oid in made:
                with closing(self._overlay(archive)) as overlay:
                    self._unpacker.unpack(self._record, archive, overlay)
                made[archive.oid] = overlay.directories
        transform = dict(transforms or {})
        transform[BACKUP_LABEL] = _checked_label(self._record, parent, transform.get(BACKUP_LABEL, bytes))
        overlay = self._overlay(main, transform, is_last=transforms is not None)
        try:
            self._unpacker.unpack(self._record, main, overlay)
            self._prune(overlay.directories, made)
        except BaseException:
            overlay.close()
            raise
        return overlay.extractor

    def _overlay(
        self, archive: Archive, transforms: Transforms | None = None, is_last: bool = False
    ) -> Overlay:
        held = (PG_CONTROL,) if archive.oid is None else ()
        return Overlay(
            self._places.of(archive),
            block_size=self._record.block_size,
            mtime=self._mtime,
            owner=self._places.owner,
            transform=transforms,
            hold=held if is_last else (),
            skip=(destination.MARK, *(() if is_last else held)),
        )

    def _prune(self, main: set[str], spaces: dict[int, set[str]]) -> None:
        root = self._places.root
        inside = [
            os.path.relpath(path, root) for path in self._places.locations.values() if is_below(path, root)
        ]
        prune(root, self._mtime, main, (destination.MARK, *inside))
        for oid, made in spaces.items():
            prune(self._places.locations[oid], self._mtime, made, (destination.MARK,))


def _checked_label(
    record: BackupRecord, parent: BackupRecord | None, then: Callable[[bytes], bytes]
) -> Callable[[bytes], bytes]:
    """Check in its label that a backup was taken upon ``parent`` before it is transformed."""

    def transform(content: bytes) -> bytes:
        label = parse_label(content)
        found = (label.incremental_from, label.incremental_timeline)
        if found != ((None, None) if parent is None else (parent.begin.lsn, parent.begin.timeline)):
            raise Corrupt(
                f"backup {record.id} was not taken upon {'nothing' if parent is None else parent.id}: its "
                f"{BACKUP_LABEL} says {label.incremental_from} on timeline {label.incremental_timeline}"
            )
        return then(content)

    return transform


def needed_by_archive(chain: Sequence[BackupRecord]) -> dict[int | None, int]:
    """For each archive of the last backup the most bytes that it and its like before it may take, by oid."""
    return {
        archive.oid: sum(
            each.raw_size for record in chain for each in record.archives if each.oid == archive.oid
        )
        for archive in chain[-1].archives
    }


def needed_at_once(chain: Sequence[BackupRecord]) -> int:
    """The most bytes that all archives together take at a time: a backup comes before its parent's files go."""
    peak = held = 0
    for record in chain:
        peak = max(peak, held + record.raw_size)
        held = record.cluster_size
    return peak


def resolved(entries: Iterable[FileEntry], root: str) -> Iterator[FileEntry]:
    """The entries of the last manifest as they are for the files laid down below ``root``.

    Where it lists changes of a file, the whole file is read and summed up; the others are what they were.
    """
    for entry in entries:
        name = patched_name(entry.path)
        yield entry if name is None else _measured(replace(entry, path=name), root)


def _measured(entry: FileEntry, root: str) -> FileEntry:
    path = os.path.join(names.encode(root), names.encode(entry.path))
    total, size = checksum(entry.algorithm), 0
    buffer = memoryview(bytearray(_PIECE))
    try:
        with open(path, "rb", buffering=0) as file:
            while count := file.readinto(buffer):
                total.update(buffer[:count])
                size += count
    except OSError as error:
        raise StorageError(f"could not read {os.fsdecode(path)!r}: {error.strerror}") from error
    return replace(entry, size=size, checksum=total.hexdigest())
