"""What earlier streams left in the spool: synced before it counts, stored when no stream will come to it again."""

from __future__ import annotations

import os
from collections.abc import Callable

from catalog import comparison, durable
from catalog.errors import Absent, Conflict, StorageError
from catalog.local_storage import failed
from catalog.sink import Reader
from catalog.wal import WalShelf
from catalog.walname import SEGMENT, kind_of
from walstream.archiver import log, open_file


class Leftovers:
    """The files of a spool ``directory``; ``put(name, open_raw)`` stores one on the WAL ``shelf``."""

    def __init__(
        self, directory: str, shelf: WalShelf, put: Callable[[str, Callable[[], Reader]], bool]
    ) -> None:
        self._directory = directory
        self._shelf = shelf
        self._put = put

    def sync(self) -> None:
        """Make what is here durable. A segment that cannot be synced is not complete: it has to come again.

        The next sync might succeed and yet have written nothing.
        """
        try:
            for name in os.listdir(self._directory):
                self._sync_file(name)
            durable.sync_directory(self._directory)
        except OSError as error:
            raise failed("sync", self._directory, error) from error

    def retire(self, name: str) -> None:
        """Store a partial segment as ``.partial``; where that cannot be done it stays, for the next time."""
        path = os.path.join(self._directory, f"{name}.partial")
        if not os.path.exists(path):
            return

        def open_partial() -> Reader:
            return open_file(path)

        try:
            self._put(f"{name}.partial", open_partial)
        except (Conflict, StorageError) as trouble:
            log.warning("%s; %s stays where it is", trouble, path)
            return
        try:
            durable.remove(path)
        except OSError as error:
            raise failed("remove", path, error) from error

    def last_page(self, name: str) -> tuple[int, bytes] | None:
        """Offset and bytes of the last page of a segment that is not all zeros; None when it is not held."""
        reader = self._open_segment(name)
        if reader is None:
            return None
        try:
            return comparison.last_page(reader)
        finally:
            reader.close()

    def _open_segment(self, name: str) -> Reader | None:
        """A segment on its way from the spool to the repository, or there."""
        path = os.path.join(self._directory, name)
        if os.path.exists(path):
            try:
                return open_file(path)
            except StorageError:
                pass  # it has moved on
        try:
            return self._shelf.open(name)
        except Absent:
            return None

    def _sync_file(self, name: str) -> None:
        path = os.path.join(self._directory, name)
        try:
            if durable.is_temporary(name):
                os.unlink(path)
            elif os.path.isfile(path):
                durable.sync_file(path)
        except FileNotFoundError:
            pass  # the archiver was faster
        except OSError:
            if kind_of(name) == SEGMENT:
                os.rename(path, f"{path}.partial")
            raise
