"""Carry out a recovery plan: lay down the backup, write the recovery settings, make it all durable.

Everything that can be refused is refused before the first byte. The order makes a killed restore harmless:
``pg_control`` gets its name only when all else is synced, PostgreSQL does not start without it, and beside it the
marks of the restore, which go then, count for nothing. The restored cluster comes up on a new timeline and cannot
touch its origin. Works without the network and without the configuration.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass

from backup import destination, room
from backup.chain import BACKUP_LABEL, lay_down_chain, resolved
from backup.configure import Configured, Recovery, configure
from backup.copied_wal import push_wal
from backup.extract import Extractor
from backup.label import as_full, format_tablespace_map, parse_tablespace_map
from backup.locations import directories_of, tablespace_locations
from backup.manifest import ManifestReader, rewrite
from backup.manifest_entry import FileEntry
from backup.neutralise import CONF, described
from backup.recovery_conf import no_restore_command, restore_command
from backup.restore_options import RestoreOptions
from backup.stored import CheckedFile
from backup.tar import MemberSink
from backup.tree import sync_tree
from backup.unpack import Places, Unpacker, lay_down
from catalog import layout
from catalog.errors import Corrupt
from catalog.local_storage import failed
from catalog.record import BackupRecord
from catalog.recovery import RecoveryPlan
from catalog.repository import Repository

TABLESPACE_MAP = "tablespace_map"


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """What a restore did; ``changes`` are the settings lines that it commented out or removed."""

    directories: tuple[str, ...]
    nbytes: int
    seconds: float
    changes: tuple[str, ...]
    settings: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]


def restore(
    plan: RecoveryPlan,
    repository: Repository,
    options: RestoreOptions,
    on_progress: Callable[[int], None] = lambda nbytes: None,
) -> RestoreReport:
    """Restore as planned. Raises ``DestinationRefused`` before anything is written, ``Corrupt`` when the
    stored bytes are not what was stored; then what was written carries the mark of an unfinished restore.
    """
    return Restore(plan, repository, options, on_progress).run()


def lists_file(repository: Repository, record: BackupRecord, name: str) -> bool:
    """Whether a backup holds a file, by its manifest."""
    with CheckedFile(repository, record.id, record.manifest) as reader:
        manifest = ManifestReader(reader)
        found = name in (entry.path for entry in manifest)
        manifest.finish()
        return found


class Restore:
    """One restore on this machine; ``backup.remote`` has the one that goes to another."""

    def __init__(
        self,
        plan: RecoveryPlan,
        repository: Repository,
        options: RestoreOptions,
        on_progress: Callable[[int], None],
    ) -> None:
        self._plan = plan
        self._record = plan.backup
        self._repository = repository
        self._options = options
        self._unpacker = Unpacker(repository, on_progress, options.jobs)
        self._on_progress = on_progress
        self._root = os.path.abspath(options.destination)
        self._locations = tablespace_locations(self._record, options.tablespaces, self._root)
        self._changed_files: dict[str, tuple[int, str]] = {}
        self._new_files: list[FileEntry] = []

    def run(self) -> RestoreReport:
        """Carry it out, and say what was done."""
        began = time.monotonic()
        directories, configured = self._carry_out()
        return RestoreReport(
            tuple(directories),
            self._unpacker.done,
            time.monotonic() - began,
            configured.changes,
            configured.settings,
            (*self._warnings(), *configured.warnings),
        )

    def _carry_out(self) -> tuple[Sequence[str], Configured]:
        """Returns the directories that were written, and how the cluster in them is configured."""
        room.check_room(self._plan, self._options)
        self._check_archives()
        directories = directories_of(self._root, self._locations)
        with (
            destination.Claim(directories, self._options.owner) as claim,
            closing(self._unpack_all(self._places())) as main,
        ):
            try:
                self._link_tablespaces()
                self._copy_wal()
                configured = self._configure()
                # PostgreSQL refuses to start on a data directory that others can read.
                os.chmod(self._root, 0o750 if main.group_access else destination.PRIVATE)
                for directory in directories:
                    sync_tree(directory)
                main.release()
                claim.release()
            except OSError as error:
                raise failed("restore to", self._root, error) from error
        return directories, configured

    def _check_archives(self) -> None:
        for record in self._plan.chain:
            stored = self._repository.backups.measured_sizes(record.id)
            for archive in (*record.archives, record.manifest):
                if stored.get(archive.file) != archive.stored_size:
                    raise Corrupt(
                        f"{archive.file!r} of backup {record.id} has {stored.get(archive.file, 0)} bytes "
                        f"instead of {archive.stored_size}",
                        "the repository was altered or damaged: restore another backup; nothing was written",
                    )

    def _places(self) -> Places:
        return Places(self._root, self._locations, self._options.owner)

    def _unpack_all(self, places: Places) -> Extractor:
        """Lay everything down; returns the main archive's extractor, which still holds pg_control."""
        places.make_below()
        transforms = {TABLESPACE_MAP: self._remap}
        if not self._plan.parents:
            return lay_down(self._unpacker, self._record, places, transforms)
        transforms[BACKUP_LABEL] = self._full_label
        return lay_down_chain(self._unpacker, self._plan.chain, places, transforms, time.time())

    def _full_label(self, content: bytes) -> bytes:
        changed = as_full(content)
        self._changed_files[BACKUP_LABEL] = described(changed)
        return changed

    def _remap(self, content: bytes) -> bytes:
        oids = [oid for oid, _ in parse_tablespace_map(content)]
        for oid in oids:
            if oid not in self._locations:
                raise Corrupt(
                    f"{TABLESPACE_MAP} of backup {self._record.id} names a tablespace {oid} "
                    "that the record does not have",
                    "the repository was altered or damaged: restore another backup",
                )
        spaces = [(oid, self._locations[oid]) for oid in oids]
        changed = format_tablespace_map(spaces, self._record.server_version)
        if changed != content:
            self._changed_files[TABLESPACE_MAP] = described(changed)
        return changed

    def _link_tablespaces(self) -> None:
        """The links that the server would make at its start, so that the result can be verified before."""
        for oid, path in self._locations.items():
            link = os.path.join(self._root, "pg_tblspc", str(oid))
            if os.path.normpath(link) != path:
                os.makedirs(os.path.dirname(link), exist_ok=True)
                os.symlink(path, link)
                self._own(link)

    def _copy_wal(self) -> None:
        with closing(Extractor(self._root, owner=self._options.owner)) as extractor:
            self._push_wal(extractor)

    def _push_wal(self, sink: MemberSink) -> None:
        if self._options.wal is None:
            return
        source = self._options.wal_source(self._repository, self._record.id)
        push_wal(self._options.wal, source, sink, self._record.system_identifier, self._count)

    def _count(self, nbytes: int) -> None:
        self._unpacker.done += nbytes
        self._on_progress(self._unpacker.done)

    def _configure(self) -> Configured:
        """Write the recovery settings, and the manifest of what is laid down now."""
        configured = configure(self._root, self._plan, self._recovery(), self._own)
        self._changed_files |= configured.changed_files
        self._new_files = [
            FileEntry(name, size, "", "CRC32C", total) for name, (size, total) in configured.new_files.items()
        ]
        self._write_manifest()
        return configured

    def _write_manifest(self) -> None:
        path = os.path.join(self._root, layout.MANIFEST)
        with CheckedFile(self._repository, self._record.id, self._record.manifest) as reader:
            with open(path, "wb") as file:
                os.chmod(path, 0o600)
                changed, new = self._changed_files, self._new_files
                for piece in rewrite(reader, changed, (destination.MARK,), new, self._resolve):
                    file.write(piece)
        self._own(path)

    def _resolve(self, entries: Iterable[FileEntry]) -> Iterable[FileEntry]:
        return resolved(entries, self._root) if self._plan.parents else entries

    def _recovery(self) -> Recovery:
        options, standby = self._options, self._options.standby_mode
        if options.wal is not None:
            command = no_restore_command(standby)
        else:
            command = restore_command(options.restore_call(self._plan, self._repository))
        return Recovery(command, standby, options.conf_file)

    def _own(self, path: str) -> None:
        if self._options.owner is not None:
            os.chown(path, *self._options.owner, follow_symlinks=False)

    def _warnings(self) -> list[str]:
        warnings = list(self._plan.warnings)
        if not os.path.exists(os.path.join(self._root, CONF)):
            warnings.append(
                f"the backup holds no {CONF} (the origin keeps it outside its data directory): "
                f"put one into {self._options.destination!r} before the start, and pg_hba.conf with it"
            )
        in_place = [repr(each.name) for each in self._record.tablespaces if not os.path.isabs(each.location)]
        if in_place:
            warnings.append(
                f"tablespaces in place ({', '.join(in_place)}): PostgreSQL recovers them only with "
                "allow_in_place_tablespaces = on, as the origin had it"
            )
        return warnings
