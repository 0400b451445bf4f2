"""What passes in a base backup, compared with the manifest that comes behind it.

Every archive goes through a member sink of one ``Observed``, which writes the size and checksum of each
file to a temporary file without a name. ``check`` then reads the manifest beside it: the server
adds a file to the manifest when it has sent it, over all archives in their order (``basebackup.c``,
13 to 18), so the two lists run in step and memory stays flat. Segments of WAL are sent, but never
listed: they are passed over. No globals and no locks: one thread at a time may use it.
"""

from __future__ import annotations

import contextlib
import tempfile

from backup.checksum import checksum
from backup.manifest import ManifestReader
from backup.manifest_entry import FileEntry, WalRange
from backup.tar import Kind, Member, MemberSink
from catalog.errors import Corrupt
from catalog.local_storage import failed
from catalog.walname import SEGMENT, kind_of

_HINT = "take the backup again; if this comes back, suspect the server's storage or the network"


class Observed:
    """The files of one backup, in the order in which they passed.

    ``algorithm`` is the one that the manifest was asked for. The temporary file lies in ``directory``,
    or where the system keeps such files.
    """

    def __init__(self, algorithm: str, directory: str | None = None) -> None:
        checksum(algorithm)  # refuses an unknown one now
        self.algorithm = algorithm
        self.nfiles = 0
        self.nbytes = 0
        self._directory = directory or tempfile.gettempdir()
        try:
            self._file = tempfile.TemporaryFile(dir=self._directory)
        except OSError as error:
            raise failed("write", self._directory, error) from error

    def sink(self, prefix: str = "") -> MemberSink:
        """The sink for one archive; ``prefix`` is ``pg_tblspc/<oid>/`` for a tablespace's.

        The archives must pass one after the other, in the order in which the server sends them.
        """
        return _Archive(self, prefix)

    def add(self, path: str, size: int, total: str) -> None:
        """Note a file that has passed."""
        if _is_segment(path):
            return
        try:
            self._file.write(_line(path, size, total))
        except OSError as error:
            raise failed("note checksums in", self._directory, error) from error
        self.nfiles += 1
        self.nbytes += size

    def check(self, manifest: ManifestReader) -> tuple[WalRange, ...]:
        """Compare all that passed with a manifest, through its end; returns its WAL ranges.

        The first file that differs, is missing or is not listed is ``Corrupt``. Called once.
        """
        self.rewind()
        for entry in manifest:
            self.expect(entry)
        self.expect_end()
        return manifest.finish()

    def rewind(self) -> None:
        """All has passed: what ``expect`` compares next is the first file."""
        try:
            self._file.seek(0)
        except OSError as error:
            raise failed("note checksums in", self._directory, error) from error

    def expect(self, entry: FileEntry) -> None:
        """``Corrupt`` unless the next file is the one that the manifest lists here."""
        if entry.algorithm != self.algorithm:
            raise Corrupt(
                f"the backup manifest has a {entry.algorithm} checksum for {entry.path!r}, "
                f"but {self.algorithm} was expected"
            )
        line = self._file.readline()
        if line != _line(entry.path, entry.size, entry.checksum):
            raise Corrupt(_difference(entry, line), _HINT)

    def expect_end(self) -> None:
        """``Corrupt`` unless all files have been compared."""
        if line := self._file.readline():
            raise Corrupt(f"file {_parsed(line)[0]!r} was sent, but the backup manifest lacks it", _HINT)

    def close(self) -> None:
        """Let go of the temporary file; what is not yet written to it is not missed."""
        with contextlib.suppress(OSError):
            self._file.close()


class _Archive:
    """The member sink of one archive."""

    def __init__(self, observed: Observed, prefix: str) -> None:
        self._observed = observed
        self._prefix = prefix

    def begin(self, member: Member, /) -> None:
        self._member = member
        self._sum = checksum(self._observed.algorithm)

    def data(self, view: memoryview, /) -> None:
        self._sum.update(view)

    def end(self) -> None:
        if self._member.kind is Kind.FILE:
            path = self._prefix + self._member.name
            self._observed.add(path, self._member.size, self._sum.hexdigest())


def _is_segment(path: str) -> bool:
    return path.startswith("pg_wal/") and kind_of(path[len("pg_wal/") :]) == SEGMENT


def _line(path: str, size: int, total: str) -> bytes:
    return b"%d %s %s\n" % (size, total.encode(), path.encode("unicode_escape"))


def _parsed(line: bytes) -> tuple[str, int, str]:
    size, total, path = line[:-1].split(b" ", 2)
    return path.decode("unicode_escape"), int(size), total.decode()


def _difference(entry: FileEntry, line: bytes) -> str:
    if not line:
        return f"the backup manifest lists file {entry.path!r}, which was not sent"
    path, size, total = _parsed(line)
    if path != entry.path:
        return f"file {path!r} was sent where the backup manifest lists {entry.path!r}"
    if size != entry.size:
        return f"file {path!r} has {size} bytes, but the backup manifest states {entry.size}"
    return f"file {path!r} has checksum {total}, but the backup manifest states {entry.checksum}"
