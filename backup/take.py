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
from backup.label import BackupLabel, parse_label
from backup.manifest import ManifestReader
from backup.observed import Observed
from backup.tar import Member, MemberSink, TarParser
from catalog import layout
from catalog.codec import Codec, decoder
from catalog.errors import BackupFailed, ProtocolError, ServerRefused
from catalog.frames import Workers, encoder
from catalog.lsn import LSN
from catalog.record import Archive, BackupRecord, Compression, Encryption, Point, Tablespace
from catalog.repository import Repository
from catalog.sink import BytesLike, Measured, Sink
from walstream import commands
from walstream.connection import COPY_OUT, ROWS, Connection, Result

CHECKSUM_FAILURE = "XX001"
NO_ENCRYPTION = Encryption("none")
_SMALL = 1 << 20


@dataclass(frozen=True, slots=True)
class TakeOptions:
    """What to ask for and how to store it; ``max_rate`` in kB/s.

    ``clock_offset`` is what to add to the local clock for the server's, in seconds;
    ``tablespace_names`` are by oid.
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


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a backup is, in bytes of the cluster; ``total`` is the server's estimate."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class _Space:
    oid: int | None
    location: str
    kilobytes: int


def take(
    options: TakeOptions,
    repository: Repository,
    workers: Workers,
    on_begin: Callable[[Point], None],
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> BackupRecord:
    """Take a full backup and return its record, not yet committed; its files are durable.

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

    def run(self, on_begin: Callable[[Point], None], on_progress: Callable[[Progress], None]) -> BackupRecord:
        settings = self._check_and_ask()
        began = time.monotonic()
        self._connection.send(
            commands.base_backup(
                commands.BaseBackupOptions(
                    f"walstream {self._options.backup_id}",
                    self._options.fast_checkpoint,
                    self._options.max_rate,
                ),
                self._connection.server_version,
            )
        )
        begin = self._point(self._rows()[0])
        spaces = [_space(row) for row in self._rows()]
        self._refuse_in_place(spaces)
        on_begin(begin)
        with ExitStack() as cleanup:
            copy = _Copy(self._options, self._repository, self._workers, spaces, on_progress)
            cleanup.callback(copy.abort)
            self._copy_all(copy, spaces)
            end = self._point(self._rows()[0])
            errors = self._end()
            archives, manifest = copy.finish()
        if begin.timeline != end.timeline:
            raise BackupFailed("the server changed its timeline during the backup", "take the backup again")
        return BackupRecord(
            walstream=walstream.__version__,
            id=self._options.backup_id,
            name=self._options.name,
            server=self._options.server,
            type="full",
            parent=None,
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
            cluster_size=sum(archive.raw_size for archive in archives),
            compression=Compression(self._options.codec.name, self._options.codec.level),
            encryption=NO_ENCRYPTION,
            checksum_errors=errors,
            tablespaces=tuple(self._tablespace(space) for space in spaces if space.oid is not None),
            archives=archives,
            manifest=manifest,
        )

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

    def _refuse_in_place(self, spaces: list[_Space]) -> None:
        if self._connection.server_version >= 160000:
            return
        for space in spaces:
            if space.oid is not None and not space.location.startswith("/"):
                raise BackupFailed(
                    f"tablespace {space.oid} lies inside the data directory, and PostgreSQL "
                    f"{self._connection.server_version // 10000} leaves such ones out of a backup",
                    "move its tables to an ordinary tablespace",
                )

    def _copy_all(self, copy: _Copy, spaces: list[_Space]) -> None:
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
            return max(1, sum("checksum verification fail" in note for note in self._connection.notices))
        return 0

    def _tablespace(self, space: _Space) -> Tablespace:
        oid = space.oid or 0
        names = self._options.tablespace_names or {}
        return Tablespace(oid, names.get(oid, str(oid)), space.location)


class _Copy:
    """The files of one backup while they arrive: events in, durable archives out."""

    def __init__(
        self,
        options: TakeOptions,
        repository: Repository,
        workers: Workers,
        spaces: list[_Space],
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._options = options
        self._shelf = repository.backups
        self._workers = workers
        self._locations = {space.oid: space.location for space in spaces}
        self._total = sum(space.kilobytes for space in spaces) * 1024
        self._on_progress = on_progress
        self._observed = Observed("CRC32C", repository.root)
        self._label = _Captured("backup_label")
        self._current: _StoredFile | None = None
        self._archives: list[Archive] = []
        self._in_manifest = False
        self._done = 0

    def take(self, event: stream.Event) -> None:
        if isinstance(event, stream.Data):
            if self._current is None:
                raise ProtocolError("the server sent data before it named an archive")
            self._current.write(event.payload)
            self._done += len(event.payload)
            self._on_progress(Progress(self._done, max(self._total, self._done)))
        elif isinstance(event, stream.ArchiveStarted):
            self._finish_current()
            self._current = self._open_archive(event)
        elif isinstance(event, stream.ManifestStarted):
            self._finish_current()
            self._in_manifest = True
            self._current = self._open(layout.MANIFEST, None, ())

    def finish(self) -> tuple[tuple[Archive, ...], Archive]:
        """End the manifest, check it against what was observed; all archives, and the manifest."""
        if not self._in_manifest or self._current is None:
            raise ProtocolError("the server sent no manifest")
        manifest, self._current = self._current.finish(), None
        if {archive.oid for archive in self._archives} != set(self._locations):
            raise ProtocolError("the server sent other archives than it announced")
        stored = self._shelf.stored(self._options.backup_id, manifest.file)
        reader = decoder(stored, self._options.codec.suffix)
        try:
            self._observed.check(ManifestReader(reader))
        finally:
            reader.close()
        self._observed.close()
        return tuple(self._archives), manifest

    def label(self) -> BackupLabel:
        """The backup's label, as it was seen in the main archive."""
        return parse_label(self._label.content())

    def abort(self) -> None:
        """Let go of a file that is half written; harmless when there is none."""
        self._observed.close()
        if self._current is not None:
            self._current.abort()

    def _open_archive(self, event: stream.ArchiveStarted) -> _StoredFile:
        oid = event.tablespace
        if oid not in self._locations:
            raise ProtocolError(f"the server sent an archive that it did not announce: {event.name!r}")
        if oid is None:
            observers: tuple[MemberSink, ...] = (self._observed.sink(""), self._label)
        else:
            observers = (self._observed.sink(f"pg_tblspc/{oid}/"),)
        return self._open(layout.archive_name(oid), oid, observers)

    def _open(self, file: str, oid: int | None, observers: tuple[MemberSink, ...]) -> _StoredFile:
        file += self._options.codec.suffix
        measured = Measured(self._shelf.writer(self._options.backup_id, file))
        sink = encoder(self._options.codec, measured, self._workers)
        parser = TarParser(_Several(observers)) if observers else None
        return _StoredFile(file, oid, sink, measured, parser)

    def _finish_current(self) -> None:
        if self._in_manifest:
            raise ProtocolError("the server sent an archive behind the manifest")
        if self._current is not None:
            current, self._current = self._current, None
            self._archives.append(current.finish())


class _StoredFile:
    """One archive, or the manifest, on its way into the repository."""

    def __init__(
        self, file: str, oid: int | None, sink: Sink, measured: Measured, parser: TarParser | None
    ) -> None:
        self._file = file
        self._oid = oid
        self._sink = sink
        self._measured = measured
        self._parser = parser
        self._raw = 0

    def write(self, data: BytesLike) -> None:
        self._raw += memoryview(data).nbytes
        if self._parser is not None:
            self._parser.write(data)
        self._sink.write(data)

    def finish(self) -> Archive:
        try:
            if self._parser is not None:
                self._parser.finish()
            self._sink.finish()
        except BaseException:
            self._sink.abort()
            raise
        return Archive(self._file, self._oid, self._raw, self._measured.nbytes, self._measured.sha256)

    def abort(self) -> None:
        self._sink.abort()


class _Several:
    """Several member sinks that see the same members."""

    def __init__(self, sinks: tuple[MemberSink, ...]) -> None:
        self._sinks = sinks

    def begin(self, member: Member) -> None:
        for sink in self._sinks:
            sink.begin(member)

    def data(self, view: memoryview) -> None:
        for sink in self._sinks:
            sink.data(view)

    def end(self) -> None:
        for sink in self._sinks:
            sink.end()


class _Captured:
    """Keeps the content of one small member."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._wanted = False
        self._content = bytearray()

    def begin(self, member: Member) -> None:
        self._wanted = member.name == self._name
        if self._wanted and member.size > _SMALL:
            raise BackupFailed(f"{self._name} has {member.size} bytes", "the server's answer makes no sense")

    def data(self, view: memoryview) -> None:
        if self._wanted:
            self._content += view

    def end(self) -> None:
        self._wanted = False

    def content(self) -> bytes:
        if not self._content:
            raise BackupFailed(f"the server sent no {self._name}")
        return bytes(self._content)


def _space(row: commands.Row) -> _Space:
    oid = None if row[0] is None else commands.number(row[0], "oid")
    location = "" if row[1] is None else commands.text(row[1], "location")
    return _Space(oid, location, 0 if row[2] is None else commands.number(row[2], "size"))
