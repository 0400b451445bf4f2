"""The data of one base backup on its way into the repository: events of the copy stream in, stored files out.

Each archive goes, as the server sends it, through codec and checksum into a file of its own, while a tar parser
lets its members' sums be observed, all of that on a thread behind the one that listens to the server; at the
end the server's manifest is held against what was observed. Knows no network: what arrives is what
``backup.stream`` makes of the server's messages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from backup import stream
from backup.growth import Growth
from backup.label import BackupLabel, parse_label
from backup.manifest import ManifestReader
from backup.manifest_entry import WalRange
from backup.observed import Observed
from backup.tar import Member, MemberSink, TarParser
from catalog import layout
from catalog.codec import Codec
from catalog.decoding import decoder, split_suffix
from catalog.errors import BackupFailed, ProtocolError
from catalog.frames import Workers, encoder
from catalog.record import Archive
from catalog.relay import Relay
from catalog.repository import Repository
from catalog.sink import BytesLike, Measured, Sink

_SMALL = 1 << 20
_TELL_EVERY = 1 << 20


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a backup is, in bytes of the cluster; ``total`` is the server's estimate."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Space:
    """An archive that the server announces: a tablespace, or the main one with oid None."""

    oid: int | None
    location: str
    kilobytes: int


class IncomingCopy:
    """The files of one backup while they arrive: events in, durable archives out.

    ``take`` each event, then ``finish``; ``abort`` at any time, also behind ``finish``.
    """

    def __init__(
        self,
        backup_id: str,
        codec: Codec,
        repository: Repository,
        workers: Workers,
        spaces: Sequence[Space],
        on_progress: Callable[[Progress], None],
        incremental: bool = False,
        block_size: int = 8192,
    ) -> None:
        self._id = backup_id
        self._codec = codec
        self._shelf = repository.backups
        self._workers = workers
        self._locations = {space.oid: space.location for space in spaces}
        self._total = sum(space.kilobytes for space in spaces) * 1024
        self._on_progress = on_progress
        self._observed = Observed("CRC32C", repository.root)
        self._label = _Captured("backup_label")
        self._incremental = incremental
        self._block_size = block_size
        self._growths: list[Growth] = []
        self._current: _StoredFile | None = None
        self._archives: list[Archive] = []
        self._ranges: tuple[WalRange, ...] = ()
        self._in_manifest = False
        self._done = 0
        self._told = 0

    def take(self, event: stream.Event) -> None:
        if isinstance(event, stream.Data):
            if self._current is None:
                raise ProtocolError("the server sent data before it named an archive")
            self._current.write(event.payload)
            self._done += len(event.payload)
            if self._done - self._told >= _TELL_EVERY:
                self._tell()
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
        self._tell()
        manifest, self._current = self._current.finish(), None
        if {archive.oid for archive in self._archives} != set(self._locations):
            raise ProtocolError("the server sent other archives than it announced")
        stored = self._shelf.stored(self._id, manifest.file)
        reader = decoder(stored, split_suffix(manifest.file)[1])
        try:
            self._ranges = self._observed.check(ManifestReader(reader))
        finally:
            reader.close()
        self._observed.close()
        return tuple(self._archives), manifest

    def label(self) -> BackupLabel:
        """The backup's label, as it was seen in the main archive."""
        return parse_label(self._label.content())

    def wal_ranges(self) -> tuple[WalRange, ...]:
        """The WAL that the backup needs, as its manifest says it; known once ``finish`` returned."""
        return self._ranges

    @property
    def grows_by(self) -> int:
        """By how many bytes the cluster is larger than the archives: INCREMENTAL files stand for whole ones."""
        return sum(each.nbytes for each in self._growths)

    def abort(self) -> None:
        """Let go of a file that is half written; harmless when there is none."""
        self._observed.close()
        if self._current is not None:
            self._current.abort()

    def _tell(self) -> None:
        self._told = self._done
        self._on_progress(Progress(self._done, max(self._total, self._done)))

    def _open_archive(self, event: stream.ArchiveStarted) -> _StoredFile:
        oid = event.tablespace
        if oid not in self._locations:
            raise ProtocolError(f"the server sent an archive that it did not announce: {event.name!r}")
        if oid is None:
            observers: tuple[MemberSink, ...] = (self._observed.sink(""), self._label)
        else:
            observers = (self._observed.sink(f"pg_tblspc/{oid}/"),)
        if self._incremental:
            self._growths.append(Growth(self._block_size))
            observers = (*observers, self._growths[-1])
        return self._open(layout.archive_name(oid), oid, observers)

    def _open(self, file: str, oid: int | None, observers: tuple[MemberSink, ...]) -> _StoredFile:
        # The manifest stays clear: an incremental backup needs it, on a host without keys.
        codec = self._codec.clear if self._in_manifest else self._codec
        file += codec.suffix
        writer = self._shelf.writer(self._id, file)
        measured = Measured(writer)
        sink = encoder(codec, measured, self._workers, front=writer)
        if observers:
            sink = _Watched(TarParser(_Several(observers)), sink)
        return _StoredFile(file, oid, Relay(sink), measured)

    def _finish_current(self) -> None:
        if self._in_manifest:
            raise ProtocolError("the server sent an archive behind the manifest")
        if self._current is not None:
            current, self._current = self._current, None
            self._archives.append(current.finish())


class _StoredFile:
    """One archive, or the manifest, on its way into the repository."""

    def __init__(self, file: str, oid: int | None, sink: Sink, measured: Measured) -> None:
        self._file = file
        self._oid = oid
        self._sink = sink
        self._measured = measured
        self._raw = 0

    def write(self, data: memoryview) -> None:
        self._raw += len(data)
        self._sink.write(data)

    def finish(self) -> Archive:
        try:
            self._sink.finish()
        except BaseException:
            self._sink.abort()
            raise
        return Archive(self._file, self._oid, self._raw, self._measured.nbytes, self._measured.sha256)

    def abort(self) -> None:
        self._sink.abort()


class _Watched:
    """A sink whose bytes a parser sees first."""

    def __init__(self, parser: TarParser, sink: Sink) -> None:
        self._parser = parser
        self._sink = sink

    def write(self, data: BytesLike) -> None:
        self._parser.write(data)
        self._sink.write(data)

    def finish(self) -> None:
        self._parser.finish()
        self._sink.finish()

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
