"""Read a stored backup again, all of it, and compare it with its record, its manifest and its WAL.

Every archive is decoded: its stored bytes must have the size and SHA-256 of the record, its files the sums
of the server's manifest. Every segment that the backup needs is decoded, and its page headers checked.
Nothing stops at the first problem: there is one for each archive and each segment that is not as it should
be. Memory stays flat; changes nothing but ``verified.json``, and that only when asked to (``note``). What an
earlier verification saw, and has not changed since, is not read again unless all of it is wanted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime

from backup.manifest import ManifestReader
from backup.observed import Observed
from backup.tar import TarParser
from backup.unchanged import Stamps, same_files, same_wal, stamps_of
from backup.verify_segments import SegmentCheck, check_segments
from backup.wal_range import require_range
from catalog.coverage import Holdings
from catalog.errors import Absent, Corrupt, Malformed, StorageError, WalstreamError
from catalog.marks import VerifiedMark
from catalog.record import Archive, BackupRecord
from catalog.repository import Repository
from catalog.sink import PIECE, MeasuredReader, Reader
from catalog.walname import kind_of

ALGORITHM = "CRC32C"
_DAMAGED = "this backup cannot be trusted: take another one, and look after the storage"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one file of a backup or one segment of its WAL."""

    what: str
    message: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was checked: stored archives (the manifest too), files in them, decoded bytes, segments of WAL.

    ``files_from`` is when an earlier verification read the stored files, if this one has not; ``read_wal`` whether
    this one has read the WAL.
    """

    backup_id: str
    archives: int
    files: int
    nbytes: int
    segments: int
    seconds: float
    problems: tuple[Problem, ...]
    sums: tuple[tuple[str, str], ...]
    stamps: Stamps
    files_from: datetime | None = None
    read_wal: bool = True


def verify(
    repository: Repository,
    record: BackupRecord,
    holdings: Holdings,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    known: VerifiedMark | None = None,
) -> VerifyReport:
    """Check a backup; ``holdings`` must know the WAL of its span.

    What is still as it was when ``known`` was noted is skipped. ``on_progress`` is told the decoded bytes so far,
    and of how many. Raises ``Absent`` when the backup is removed meanwhile.
    """
    stamps = stamps_of(repository, record, holdings)
    old_files = known if same_files(known, stamps) else None
    return _Verification(repository, record, on_progress, stamps).run(
        holdings, old_files, same_wal(known, stamps)
    )


def note(repository: Repository, report: VerifyReport, now: datetime) -> None:
    """Write ``verified.json``: what a backup's files were, or what is wrong with them.

    Missing WAL is not noted, because the listing shows it, and it may still come; nor is a verification that
    has read nothing.
    """
    if report.files_from is not None and not report.read_wal:
        return
    files = tuple(
        f"{problem.what}: {problem.message}" for problem in report.problems if kind_of(problem.what) is None
    )
    if report.problems and not files:
        return
    mark = VerifiedMark(
        at=report.files_from or now,
        sums={} if files else dict(report.sums),
        problems=files,
        files_stamp=report.stamps.files,
        wal_stamp=report.stamps.wal,
    )
    repository.backups.mark_verified(report.backup_id, mark)


class _Verification:
    """One run over one backup."""

    def __init__(
        self,
        repository: Repository,
        record: BackupRecord,
        on_progress: Callable[[int, int], None],
        stamps: Stamps,
    ) -> None:
        self._repository = repository
        self._record = record
        self._on_progress = on_progress
        self._problems: dict[str, Problem] = {}
        self._sums: list[tuple[str, str]] = []
        self._stamps = stamps
        self._done = 0
        self._total = 0

    def run(self, holdings: Holdings, old_files: VerifiedMark | None, old_wal: bool) -> VerifyReport:
        began = time.monotonic()
        record = self._record
        archives = () if old_files else (*record.archives, record.manifest)
        spanned = 0 if old_wal else record.last_segment.number - record.first_segment.number + 1
        self._total = sum(each.raw_size for each in archives) + spanned * record.wal_segment_size.nbytes
        nfiles = 0 if old_files else self._check_files()
        segments = [] if old_wal else check_segments(self._repository, record, holdings, self._count)
        self._add_segments(segments)
        if self._repository.backups.find(record.id) is None:
            raise Absent(f"backup {record.id} was removed while it was verified")
        return VerifyReport(
            backup_id=record.id,
            archives=len(archives),
            files=nfiles,
            nbytes=self._done,
            segments=len(segments),
            seconds=time.monotonic() - began,
            problems=tuple(self._problems.values()),
            sums=tuple(old_files.sums.items() if old_files else self._sums),
            stamps=replace(self._stamps, wal=None) if any(each.error for each in segments) else self._stamps,
            files_from=old_files.at if old_files else None,
            read_wal=not old_wal,
        )

    def _check_files(self) -> int:
        """Read all archives and the manifest; how many files are in them."""
        observed: dict[int | None, Observed] = {}
        with ExitStack() as cleanup:
            for archive in self._record.archives:
                observed[archive.oid] = Observed(ALGORITHM)
                cleanup.callback(observed[archive.oid].close)
                self._check_archive(archive, observed[archive.oid])
            self._check_manifest(observed)
        if None not in observed:
            self._found("record.json", "it names no main archive")
        return sum(each.nfiles for each in observed.values())

    def _check_archive(self, archive: Archive, observed: Observed) -> None:
        """Read one archive to its end, and let its files be observed as far as they can be read."""
        prefix = "" if archive.oid is None else f"pg_tblspc/{archive.oid}/"
        parser = TarParser(observed.sink(prefix))

        def take(pieces: Iterable[bytes]) -> None:
            for piece in pieces:
                parser.write(piece)
            parser.finish()

        self._read(archive, take)

    def _check_manifest(self, observed: dict[int | None, Observed]) -> None:
        """Prove the manifest first, then hold it against what was in the archives."""
        manifest = self._record.manifest
        if not self._read(manifest, _exhaust):
            return
        reader = self._open(manifest)[1]
        try:
            self._compare(ManifestReader(reader), observed)
        except Malformed as error:
            self._found(manifest.file, error.message, error.hint)
        finally:
            reader.close()

    def _compare(self, manifest: ManifestReader, observed: dict[int | None, Observed]) -> None:
        """One problem for each archive: its first file that is not as listed. The lists run in step."""
        identifier = manifest.system_identifier
        if identifier is not None and identifier != self._record.system_identifier:
            raise Corrupt(
                f"it is of the cluster with system identifier {identifier}, "
                f"not {self._record.system_identifier}",
                _DAMAGED,
            )
        # An archive that is known to be damaged is compared too: that names the first file that suffered.
        open_archives = dict(observed)
        files = {archive.oid: archive.file for archive in self._record.archives}
        for each in observed.values():
            each.rewind()
        for entry in manifest:
            oid = _tablespace_of(entry.path, files)
            if oid in open_archives:
                try:
                    open_archives[oid].expect(entry)
                except Corrupt as error:
                    self._found(files[oid], error.message, error.hint)
                    del open_archives[oid]
        for oid, each in open_archives.items():
            try:
                each.expect_end()
            except Corrupt as error:
                self._found(files[oid], error.message, error.hint)
        require_range(manifest.finish(), self._record.begin, self._record.end)

    def _read(self, archive: Archive, take: Callable[[Iterable[bytes]], None]) -> bool:
        """Let ``take`` have the decoded bytes of a stored file; True when it is what was stored."""
        try:
            measured, reader = self._open(archive)
        except Absent:
            self._found(archive.file, "it is missing", _DAMAGED)
            return False
        except Corrupt as damage:
            self._found(archive.file, damage.message, damage.hint)  # in its age header
            return False
        trouble: WalstreamError | None = None
        before = self._done
        try:
            try:
                take(self._pieces(reader))
            except Malformed as error:
                trouble = error
            _exhaust(iter(lambda: measured.read(PIECE), b""))  # measure what was left too
        except StorageError as error:
            self._found(archive.file, error.message, error.hint)
            return False
        finally:
            reader.close()
        self._sums.append((archive.file, measured.sha256))
        message = _difference(archive, measured, trouble)
        if message is None and self._done - before != archive.raw_size:
            message = f"it holds {self._done - before} bytes instead of {archive.raw_size}"
        if message is not None:
            self._found(archive.file, message, _DAMAGED)
        return message is None

    def _open(self, archive: Archive) -> tuple[MeasuredReader, Reader]:
        return self._repository.backups.body(self._record.id, archive.file)

    def _pieces(self, reader: Reader) -> Iterable[bytes]:
        while piece := reader.read(4 * PIECE):
            yield piece
            self._count(len(piece))

    def _count(self, nbytes: int) -> None:
        self._done += nbytes
        self._on_progress(self._done, self._total)

    def _add_segments(self, segments: list[SegmentCheck]) -> None:
        for each in segments:
            if each.error is not None:
                self._found(each.what, each.error.message, each.error.hint)

    def _found(self, what: str, message: str, hint: str | None = None) -> None:
        """Note a problem; a second one with the same file adds to the first."""
        if what in self._problems:
            before = self._problems[what]
            message, hint = f"{before.message}; {message}", before.hint
        self._problems[what] = Problem(what, message, hint)


def _exhaust(pieces: Iterable[bytes]) -> None:
    for _ in pieces:
        pass


def _difference(archive: Archive, measured: MeasuredReader, trouble: WalstreamError | None) -> str | None:
    """What is wrong with a stored file, the plainest first; None if nothing is."""
    detail = "" if trouble is None else f" ({trouble.message})"
    if measured.nbytes != archive.stored_size:
        return f"it has {measured.nbytes} stored bytes instead of {archive.stored_size}{detail}"
    if measured.sha256 != archive.sha256:
        return f"its SHA-256 is not the one of the record{detail}"
    return None if trouble is None else trouble.message


def _tablespace_of(path: str, files: dict[int | None, str]) -> int | None:
    """The tablespace in whose archive a file of the manifest is; None for the main one."""
    top, _, rest = path.partition("/")
    word = rest.partition("/")[0]
    if top != "pg_tblspc" or not (word.isascii() and word.isdecimal()):
        return None
    return int(word) if int(word) in files else None
