"""One stored file of a backup, read as what it was: decoded, and in the end proven by size and SHA-256."""

from __future__ import annotations

from catalog.codec import decoder, split_suffix
from catalog.errors import Absent, Corrupt
from catalog.frames import Workers
from catalog.parallel import parallel_decoder
from catalog.record import Archive
from catalog.repository import Repository
from catalog.sink import MeasuredReader, Reader


class CheckedFile:
    """The raw bytes of a stored archive; leaving the block without an error checks its hash.

    Use it in a ``with``, and read to the end. With ``jobs`` above 1 so many threads decompress it.
    """

    def __init__(self, repository: Repository, backup_id: str, archive: Archive, jobs: int = 1) -> None:
        try:
            stored = repository.backups.stored(backup_id, archive.file)
        except Absent:
            raise Corrupt(
                f"{archive.file!r} of backup {backup_id} is missing", "restore another backup"
            ) from None
        self._archive = archive
        self._backup_id = backup_id
        self._measured = MeasuredReader(stored)
        suffix = split_suffix(archive.file)[1]
        self._workers = Workers(jobs) if jobs > 1 else None
        if self._workers is None:
            self._reader = decoder(self._measured, suffix)
        else:
            self._reader = parallel_decoder(self._measured, suffix, self._workers)

    def __enter__(self) -> Reader:
        return self._reader

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        self._reader.close()
        if self._workers is not None:
            self._workers.close()
        if kind is None and self._measured.sha256 != self._archive.sha256:
            raise Corrupt(
                f"{self._archive.file!r} of backup {self._backup_id} is not what was stored: "
                "its SHA-256 differs",
                "the repository was altered or damaged: restore another backup",
            )
