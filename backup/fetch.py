"""One WAL file out of the repository: found wherever it is, checked, delivered atomically.

A segment travels from ``incoming/`` or ``streaming/`` to ``wals/``; the look-up goes in that direction and is
repeated once before a file is called absent, so that one on its way is never missed. ``Absent`` is only
raised after the repository's identity and its WAL directory were seen: an unmounted disk is trouble, not
the end of WAL. On the path of ``get-wal``.
"""

from __future__ import annotations

import os

from catalog import durable, layout
from catalog.decoding import ENDINGS, decoder
from catalog.errors import Absent, Corrupt, Malformed, StorageError
from catalog.local_storage import LocalReader, LocalStorage, failed
from catalog.lsn import SegmentSize
from catalog.repository_identity import read_identity
from catalog.wal import WalShelf
from catalog.walname import PARTIAL, SEGMENT, Segment, kind_of
from catalog.walpage import PageHeader, check_first_page

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from catalog.identity import Identities
    from catalog.repository_identity import RepositoryIdentity
    from catalog.sink import Reader

PIECE = 1 << 20
_FIRST_PAGE = 8192
_DAMAGED = "it was damaged on disk: restore the file from a copy of the repository"


class WalSource:
    """Where one server's WAL is looked for.

    ``repository`` and ``home`` are the server's directories; with ``partial`` the newest bytes of a
    segment that was never completed count too, and ``backup_id`` names a backup that may hold the beginning
    of its last segment. ``identities`` open what is encrypted.
    """

    __slots__ = ("backup_id", "home", "identities", "partial", "repository")

    def __init__(
        self,
        repository: str,
        home: str,
        *,
        partial: bool = False,
        backup_id: str | None = None,
        identities: Identities | None = None,
    ) -> None:
        self.identities = identities
        self.repository = repository
        self.home = home
        self.partial = partial
        self.backup_id = backup_id

    def open(self, name: str) -> Reader:
        """The raw bytes of a WAL file; ``Absent`` when it is truly not there."""
        if kind_of(name) is None:
            raise Malformed(f"not the name of a WAL file: {name!r}", "segments have 24 hexadecimal digits")
        for _ in range(2):
            for look in (self._on_its_way, self._stored, self._incomplete):
                reader = look(name)
                if reader is not None:
                    return reader
        self.identity()
        shelf = os.path.join(self.repository, layout.WALS)
        if not os.path.isdir(shelf):
            raise StorageError(f"there is no directory {shelf!r}", "check that its disk is mounted")
        raise Absent(f"WAL file {name!r} is not in {self.repository!r}")

    def identity(self) -> RepositoryIdentity:
        """Whose repository it is; ``StorageError`` when there is no repository to be seen."""
        try:
            return read_identity(LocalStorage(self.repository))
        except Absent:
            raise StorageError(
                f"{self.repository!r} holds no repository", "check the path, and that its disk is mounted"
            ) from None

    def _on_its_way(self, name: str) -> Reader | None:
        for directory in (layout.INCOMING, layout.STREAMING):
            reader = _open_local(os.path.join(self.home, directory, name))
            if reader is not None:
                return reader
        return None

    def _stored(self, name: str) -> Reader | None:
        try:
            return WalShelf(LocalStorage(self.repository), self.identities).open(name)
        except Absent:
            return None

    def _incomplete(self, name: str) -> Reader | None:
        """Of a segment's beginnings the longest; those without a byte of WAL do not count."""
        if kind_of(name) != SEGMENT:
            return None
        furthest, best = 0, None
        for look in (self._spooled_beginning, self._stored_beginning, self._backed_up_beginning):
            reader = look(name)
            reach = _reach(reader) if reader is not None else 0
            if reach > furthest:
                furthest, best = reach, look
        return best(name) if best is not None else None

    def _spooled_beginning(self, name: str) -> Reader | None:
        if not self.partial:
            return None
        return _open_local(os.path.join(self.home, layout.STREAMING, f"{name}.partial"))

    def _stored_beginning(self, name: str) -> Reader | None:
        return self._stored(f"{name}.partial") if self.partial else None

    def _backed_up_beginning(self, name: str) -> Reader | None:
        if self.backup_id is None:
            return None
        for suffix in ENDINGS:
            path = os.path.join(self.repository, layout.backup_wal_key(self.backup_id, name, suffix))
            reader = _open_local(path)
            if reader is not None:
                return decoder(
                    reader, suffix, self.identities, f"segment {name!r} of backup {self.backup_id}"
                )
        return None


def copy_wal(
    source: WalSource, name: str, write: Callable[[bytes], object], system_identifier: int | None
) -> None:
    """Push the raw bytes of a WAL file into ``write``, checked.

    The first page of a segment must belong to its name (and to the cluster, when that is given), and the
    length be a whole segment's; ``Corrupt`` otherwise, the latter only after all bytes were pushed.
    """
    reader = source.open(name)
    try:
        piece = _first(reader)
        wanted = None
        if kind_of(name) in (SEGMENT, PARTIAL):
            wanted = _checked_length(name, piece, system_identifier)
        total = 0
        while piece:
            write(piece)
            total += len(piece)
            piece = reader.read(PIECE)
    finally:
        reader.close()
    if wanted is not None and total != wanted:
        raise Corrupt(
            f"WAL file {name!r} has {total} bytes in the repository instead of {wanted}",
            _DAMAGED,
        )


def deliver_wal(
    source: WalSource,
    name: str,
    destination: str,
    system_identifier: int | None = None,
    may_place: Callable[[], bool] = lambda: True,
    *,
    synced: bool = False,
) -> None:
    """Put a WAL file at ``destination``, whole or not at all; unsynced for PostgreSQL, which does that itself.

    ``may_place`` is asked right before the file gets its name.
    """
    temporary = durable.temporary_name(destination)
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            copy_wal(source, name, lambda piece: durable.write_all(fd, piece), system_identifier)
            if synced:
                os.fsync(fd)
        finally:
            os.close(fd)
        if not may_place():
            raise StorageError("the recovery that asked for this file is gone", "nothing was delivered")
        os.rename(temporary, destination)
    except OSError as error:
        raise failed("write", destination, error) from error
    finally:
        durable.remove_if_present(temporary)


def _checked_length(name: str, first: bytes, system_identifier: int | None) -> int:
    try:
        header = PageHeader.parse(first)
        if header.segment_size is None:
            raise Malformed("it does not begin like a segment", _DAMAGED)
        size = SegmentSize(header.segment_size)
        check_first_page(first, Segment.parse(name[:24], size), size, system_identifier)
    except Malformed as error:
        message = f"WAL file {name!r} in the repository is wrong: {error}"
        raise Corrupt(message, error.hint or _DAMAGED) from None
    return size.nbytes


def is_blank(path: str) -> bool:
    """Whether a segment's file begins with a page of zeros: made, but never written to."""
    reader = _open_local(path)
    if reader is None:
        return True
    try:
        return not any(_first(reader)[:_FIRST_PAGE])
    finally:
        reader.close()


def _reach(reader: Reader) -> int:
    """How many bytes there are up to the last that is not zero; 0 if the first page is zeros. Closes."""
    try:
        piece = _first(reader)
        if not any(piece[:_FIRST_PAGE]):
            return 0
        total = reach = 0
        while piece:
            used = len(piece.rstrip(b"\0"))
            reach = total + used if used else reach
            total += len(piece)
            piece = reader.read(PIECE)
        return reach
    finally:
        reader.close()


def _first(reader: Reader) -> bytes:
    first = reader.read(PIECE)
    while len(first) < _FIRST_PAGE and (piece := reader.read(_FIRST_PAGE)):
        first += piece
    return first


def _open_local(path: str) -> Reader | None:
    try:
        return LocalReader(os.open(path, os.O_RDONLY), path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise failed("read", path, error) from error
