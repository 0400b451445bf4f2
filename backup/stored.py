"""One stored file of a backup, read as what it was: decoded, and in the end proven by size and SHA-256."""

from __future__ import annotations

from catalog.decoding import decoder
from catalog.errors import Absent, Corrupt
from catalog.frames import Workers
from catalog.parallel import parallel_decoder
from catalog.record import Archive
from catalog.repository import Repository
from catalog.sink import Reader


class CheckedFile:
    """The raw bytes of a stored archive; leaving the block without an error checks its hash.

    Use it in a ``with``, and read to the end. With ``jobs`` above 1 so many threads decompress it.
    """

    def __init__(self, repository: Repository, backup_id: str, archive: Archive, jobs: int = 1) -> None:
        self._jobs = jobs
        self._workers: Workers | None = None
        try:
            self._measured, self._reader = repository.backups.body(backup_id, archive.file, self._decoder)
        except Absent:
            raise Corrupt(
                f"{archive.file!r} of backup {backup_id} is missing", "restore another backup"
            ) from None
        self._archive = archive
        self._backup_id = backup_id

    def _decoder(self, reader: Reader, suffix: str) -> Reader:
        if self._jobs <= 1:
            return decoder(reader, suffix)
        self._workers = Workers(self._jobs)
        return parallel_decoder(reader, suffix, self._workers)

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
