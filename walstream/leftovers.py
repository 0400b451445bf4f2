"""What earlier streams left in the spool: synced before it counts, stored when no stream will come to it again."""

from __future__ import annotations

import os
from collections.abc import Callable

from catalog import durable
from catalog.errors import Conflict, StorageError
from catalog.local_storage import failed
from catalog.sink import Reader
from catalog.walname import SEGMENT, kind_of
from walstream.archiver import log, open_file


class Leftovers:
    """The files of a spool ``directory``; ``put(name, open_raw)`` stores one in the repository."""

    def __init__(self, directory: str, put: Callable[[str, Callable[[], Reader]], bool]) -> None:
        self._directory = directory
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
