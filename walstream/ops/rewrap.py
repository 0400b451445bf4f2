"""New recipients for what is encrypted already: a new header for each file, its body copied as it is. Offline.

Each file is replaced in one step, so that a rewrap that is killed leaves every file readable for the old
recipients or for the new ones, and can be repeated with the identities of both. The fingerprint of a segment
moves on into the new header; the measures in ``record.json`` are of the body, and stay true.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from catalog import durable, fingerprint, layout
from catalog.age.header import Header, read_header
from catalog.age.keys import Recipient, wrap
from catalog.decoding import ENCRYPTED, split_suffix
from catalog.errors import Absent, Corrupt, IdentityError, WalstreamError
from catalog.local_storage import failed
from catalog.repository import Repository
from catalog.sink import PIECE, Reader
from catalog.walname import PARTIAL, kind_of
from walstream.ops.stored import archive_lock, backup_lock

# So many that no identity opens, and none that one does: it is not theirs.
ENOUGH = 20


@dataclass(frozen=True, slots=True)
class Rewrapped:
    """How many files got a new header, their bytes, and by name why the others did not.

    ``untried`` were not looked at, because none of the first ``ENOUGH`` could be opened.
    """

    files: int
    nbytes: int
    refused: tuple[tuple[str, WalstreamError], ...]
    untried: int = 0


def rewrap(
    repository: Repository,
    name: str,
    recipients: Sequence[str],
    on_file: Callable[[str], None] = lambda key: None,
) -> Rewrapped:
    """Have all encrypted files of the server called ``name`` readable for these recipients, and for nobody else.

    ``repository`` has identities that open them. ``Busy`` while a backup is taken or removed; or, when an old
    timeline's partial segment is among the files, while a receiver runs. ``StorageError`` stops it.
    """
    work = _Rewrap(repository, [Recipient.parse(text) for text in recipients], on_file)
    with backup_lock(repository, name):
        keys = _spread(sorted(_encrypted(repository)))
        partial = [key for key in keys if kind_of(split_suffix(os.path.basename(key))[0]) == PARTIAL]
        for key in keys:
            if key not in partial:
                work.take(key)
        if partial:
            # Only these may be replaced by who files WAL, by a longer copy.
            with archive_lock(repository, name):
                for key in partial:
                    work.take(key)
    return Rewrapped(work.files, work.nbytes, tuple(work.refused), work.untried)


def _spread(keys: Sequence[str]) -> list[str]:
    """The same keys, some of each part of the list first: old files may be of other people than new ones."""
    first = keys[:: -(-len(keys) // ENOUGH) or 1]
    return [*first, *sorted(set(keys) - set(first))]


def _encrypted(repository: Repository) -> Iterator[str]:
    """The keys of all encrypted files."""
    storage = repository.storage
    places = [f"{layout.WALS}/{directory}" for directory in repository.wal.directories()]
    for backup_id in repository.backups.ids():
        places += [layout.backup_directory(backup_id), layout.backup_key(backup_id, layout.BACKUP_WAL)]
    for place in places:
        for file in storage.names(place):
            if file.endswith(ENCRYPTED) and not durable.is_temporary(file):
                yield f"{place}/{file}"


class _Rewrap:
    def __init__(
        self, repository: Repository, recipients: Sequence[Recipient], on_file: Callable[[str], None]
    ) -> None:
        self.files = self.nbytes = self.untried = 0
        self.refused: list[tuple[str, WalstreamError]] = []
        self._repository = repository
        self._recipients = recipients
        self._on_file = on_file

    def take(self, key: str) -> None:
        """Give one file its new header; what cannot be opened is noted, and left as it is."""
        if self._is_hopeless():
            self.untried += 1
            return
        try:
            stored = self._repository.storage.read(key)
        except Absent:
            return  # removed meanwhile
        try:
            header, body = read_header(stored)
            self._replace(key, self._new_header(header, key), body)
        except (Corrupt, IdentityError) as error:
            self.refused.append((key, error))
        finally:
            stored.close()
        self._on_file(key)

    def _is_hopeless(self) -> bool:
        """Whether the identities open nothing here, as far as was tried."""
        return (
            not self.files
            and len(self.refused) >= ENOUGH
            and all(isinstance(error, IdentityError) for _, error in self.refused)
        )

    def _new_header(self, header: Header, key: str) -> bytes:
        file_key = self._repository.identities.file_key(header, repr(key))
        extra = [stanza for stanza in header.stanzas if stanza.type == fingerprint.TYPE]
        return wrap(self._recipients, extra, file_key)[0]

    def _replace(self, key: str, header: bytes, body: Reader) -> None:
        path = self._repository.storage.path(key)
        try:
            before = os.stat(path)
            file = durable.DurableFile(path)
            try:
                file.write(header)
                while piece := body.read(4 * PIECE):
                    file.write(piece)
                file.finish()
            except BaseException:
                file.abort()
                raise
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # when it was stored
        except OSError as error:
            raise failed("write", path, error) from error
        self.files += 1
        self.nbytes += file.nbytes
