"""Run one base backup into the repository: connection → stream → archives → record.

The archives are stored as the server sends them, through checksum and codec, while their members' sums
are observed; at the end the server's manifest is held against what was observed, so a backup that lands
has been verified once. What is returned is the record: the caller makes sure that its WAL is there
and commits it. The only module of this package that needs the network.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

import walstream
from backup import stream
from backup.bad_pages import BadPages
from backup.incoming import IncomingCopy, Progress, Space
from backup.label import BackupLabel
from backup.stored import CheckedFile
from backup.wal_range import require_label, require_range
from catalog import layout
from catalog.codec import Codec
from catalog.errors import BackupFailed, ProtocolError, ServerRefused
from catalog.frames import Workers
from catalog.lsn import LSN
from catalog.record import FULL, INCREMENTAL, BackupRecord, Compression, Encryption, Point, Tablespace
from catalog.repository import Repository
from catalog.sink import PIECE
from walstream import commands
from walstream.connection import COPY_OUT, ROWS, Connection, Result

CHECKSUM_FAILURE = "XX001"
NOT_IN_STATE = "55000"


@dataclass(frozen=True, slots=True)
class TakeOptions:
    """What to ask for and how to store it; ``max_rate`` in kB/s.

    ``clock_offset`` is what to add to the local clock for the server's, in seconds;
    ``tablespace_names`` are by oid. ``parent`` makes it an incremental backup upon that one.
    """

    conninfo: str
    backup_id: str
    server: str
    codec: Codec
    name: str | None = None
    application_name: str = "walstream_backup"
    fast_checkpoint: bool = False
    max_rate: int | None = None
    clock_offset: float = 0.0
    tablespace_names: Mapping[int, str] | None = None
    parent: BackupRecord | None = None


def take(
    options: TakeOptions,
    repository: Repository,
    workers: Workers,
    on_begin: Callable[[Point], None],
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> BackupRecord:
    """Take a backup and return its record, not yet committed; its files are durable.

    ``on_begin`` is told where the backup begins before any data moves, and may raise to stop it.
    Raises ``BackupFailed``, ``ServerError``, ``StorageError``; what was written is the caller's to sweep.
    """
    with Connection.open(options.conninfo, application_name=options.application_name) as connection:
        return _Taking(options, repository, workers, connection).run(on_begin, on_progress)


class _Taking:
    def __init__(
        self, options: TakeOptions, repository: Repository, workers: Workers, connection: Connection
    ) -> None:
        self._options = options
        self._repository = repository
        self._workers = workers
        self._connection = connection
        self._bad_pages = BadPages()
        connection.on_warning = self._bad_pages.note

    def run(self, on_begin: Callable[[Point], None], on_progress: Callable[[Progress], None]) -> BackupRecord:
        options = self._options
        settings = self._check_and_ask()
        if options.parent is not None:
            self._upload(options.parent)
        began = time.monotonic()
        begin = self._point(self._start()[0])
        spaces = [_space(row) for row in self._rows()]
        on_begin(begin)
        with ExitStack() as cleanup:
            copy = IncomingCopy(
                options.backup_id,
                options.codec,
                self._repository,
                self._workers,
                spaces,
                on_progress,
                options.parent is not None,
                int(settings["block_size"]),
            )
            cleanup.callback(copy.abort)
            self._copy_all(copy, spaces)
            end = self._point(self._rows()[0])
            errors = self._end()
            archives, manifest = copy.finish()
        if begin.timeline != end.timeline:
            raise BackupFailed("the server changed its timeline during the backup", "take the backup again")
        require_label(copy.label(), begin)
        require_range(copy.wal_ranges(), begin, end)
        self._require_parent(copy.label())
        return BackupRecord(
            walstream=walstream.__version__,
            id=self._options.backup_id,
            name=self._options.name,
            server=self._options.server,
            type=FULL if options.parent is None else INCREMENTAL,
            parent=None if options.parent is None else options.parent.id,
            system_identifier=self._repository.identity.system_identifier,
            server_version=self._connection.server_version,
            block_size=int(settings["block_size"]),
            wal_segment_size=self._repository.identity.wal_segment_size,
            data_checksums=settings["data_checksums"] == "on",
            summarize_wal=settings["summarize_wal"] == "on" if "summarize_wal" in settings else None,
            data_directory=settings.get("data_directory", ""),
            from_standby=copy.label().backup_from == "standby",
            label=copy.label().label,
            begin=begin,
            end=end,
            copy_seconds=round(time.monotonic() - began, 3),
            cluster_size=sum(archive.raw_size for archive in archives) + copy.grows_by,
            compression=Compression(self._options.codec.name, self._options.codec.level),
            encryption=_encryption(self._options.codec),
            checksum_errors=errors,
            bad_files=self._bad_pages.files if errors else (),
            tablespaces=tuple(self._tablespace(space) for space in spaces if space.oid is not None),
            archives=archives,
            manifest=manifest,
        )

    def _upload(self, parent: BackupRecord) -> None:
        """Give the server the parent's manifest, from which it learns what has changed since."""
        with CheckedFile(self._repository, parent.id, parent.manifest) as reader:
            self._connection.upload(commands.UPLOAD_MANIFEST, iter(lambda: reader.read(PIECE), b""))

    def _start(self) -> tuple[commands.Row, ...]:
        """Ask for the backup; the rows that say where it begins."""
        options = commands.BaseBackupOptions(
            f"walstream {self._options.backup_id}",
            self._options.fast_checkpoint,
            self._options.max_rate,
            incremental=self._options.parent is not None,
        )
        self._connection.send(commands.base_backup(options, self._connection.server_version))
        try:
            return self._rows()
        except ServerRefused as refusal:
            if self._options.parent is None or refusal.sqlstate != NOT_IN_STATE:
                raise
            hint = _hint_for_incremental(refusal.message) or refusal.hint or "take a full backup"
            raise ServerRefused(refusal.message, hint, refusal.sqlstate) from None

    def _require_parent(self, label: BackupLabel) -> None:
        """The server took it upon the backup that it was to be taken upon."""
        parent = self._options.parent
        expected = (None, None) if parent is None else (parent.begin.lsn, parent.begin.timeline)
        if (label.incremental_from, label.incremental_timeline) != expected:
            raise ProtocolError(f"the server took the backup upon another one: from {label.incremental_from}")

    def _check_and_ask(self) -> dict[str, str]:
        system = commands.system_facts(self._connection.row(commands.IDENTIFY_SYSTEM))
        self._repository.identity.require(system.system_identifier)
        names = ["block_size", "data_checksums"]
        if self._connection.server_version >= 170000:
            names.append("summarize_wal")
        found = {name: self._show(name) for name in names}
        try:
            found["data_directory"] = self._show("data_directory")
        except ServerRefused:
            pass  # only roles that may read all settings see it; it is for people to read
        return found

    def _show(self, name: str) -> str:
        return commands.text(self._connection.row(commands.show(name))[0], name)

    def _rows(self) -> tuple[commands.Row, ...]:
        result = self._connection.result()
        if result is None or result.kind != ROWS or not result.rows:
            raise ProtocolError("the server left out a part of its answer to BASE_BACKUP")
        return result.rows

    def _point(self, row: commands.Row) -> Point:
        server_time = datetime.fromtimestamp(time.time() + self._options.clock_offset, UTC)
        position = LSN.parse(commands.text(row[0], "position"))
        return Point(position, commands.number(row[1], "timeline"), server_time)

    def _copy_all(self, copy: IncomingCopy, spaces: list[Space]) -> None:
        if self._connection.server_version >= commands.FIRST_WITH_OPTION_LISTS:
            for message in self._copy_out():
                copy.take(stream.parse(message))
            return
        for space in spaces:
            name = layout.archive_name(space.oid)
            copy.take(stream.ArchiveStarted(name, space.location))
            for message in self._copy_out():
                copy.take(stream.Data(message))
            copy.take(stream.Data(memoryview(stream.TAR_END)))
        copy.take(stream.ManifestStarted())
        for message in self._copy_out():
            copy.take(stream.Data(message))

    def _copy_out(self) -> Iterator[memoryview]:
        result = self._connection.result()
        if result is None or result.kind != COPY_OUT:
            raise ProtocolError("the server left out an archive")
        return self._connection.messages()

    def _end(self) -> int:
        """Read what follows the end row; the number of bad pages the server reported."""
        result: Result | None
        try:
            while (result := self._connection.result()) is not None:
                if result.kind == ROWS:
                    raise ProtocolError("the server sent more rows than a base backup has")
        except ServerRefused as refusal:
            if refusal.sqlstate != CHECKSUM_FAILURE:
                raise
            return max(1, self._bad_pages.total)
        return 0

    def _tablespace(self, space: Space) -> Tablespace:
        oid = space.oid or 0
        names = self._options.tablespace_names or {}
        return Tablespace(oid, names.get(oid, str(oid)), space.location)


def _encryption(codec: Codec) -> Encryption:
    return Encryption("age" if codec.recipients else "none", codec.recipients)


def _hint_for_incremental(message: str) -> str | None:
    if "summar" in message:
        return (
            "take a full backup, on which the next incremental ones can be based; the server keeps WAL summaries "
            "for wal_summary_keep_time, and makes them only while summarize_wal is on"
        )
    if "requires WAL" in message:
        return "on a standby: wait for its next restartpoint, or run CHECKPOINT on the primary and then there"
    return None


def _space(row: commands.Row) -> Space:
    oid = None if row[0] is None else commands.number(row[0], "oid")
    location = "" if row[1] is None else commands.text(row[1], "location")
    return Space(oid, location, 0 if row[2] is None else commands.number(row[2], "size"))
