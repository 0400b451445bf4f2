"""The shelf of WAL files: find, open and list what is stored. On the path of ``get-wal``.

A stored file is named like the WAL file it holds, plus the suffix of its codec; readers here give back
the raw bytes. Putting files onto the shelf is ``catalog.filing``'s business.
"""

from __future__ import annotations

from catalog import layout
from catalog.codec import SUFFIXES, decoder, split_suffix
from catalog.errors import Absent
from catalog.walname import kind_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from catalog.sink import Reader
    from catalog.storage import Storage


class WalShelf:
    """The WAL files below ``wals/`` of a repository."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def open(self, name: str) -> Reader:
        """The raw bytes of a stored WAL file; ``Absent`` when no codec's suffix leads to one."""
        return self.find(name)[1]

    def find(self, name: str) -> tuple[str, Reader]:
        """The key under which a WAL file is stored, and its raw bytes."""
        for suffix in ("", *SUFFIXES):
            key = layout.wal_key(name, suffix)
            try:
                stored = self._storage.read(key)
            except Absent:
                continue
            return key, decoder(stored, suffix)
        raise Absent(f"WAL file {name!r} is not in the repository")

    def names(self) -> Iterator[str]:
        """The names of all stored WAL files, without suffixes, in no particular order."""
        for directory in ["", *self._directories()]:
            for stored in self._storage.names(f"{layout.WALS}/{directory}".rstrip("/")):
                name = split_suffix(stored)[0]
                if kind_of(name) is not None:
                    yield name

    def history(self, timeline_name: str) -> bytes:
        """The content of a history file, by its name; ``Absent`` when it is not stored."""
        reader = self._storage.read(layout.wal_key(timeline_name))
        try:
            return b"".join(iter(lambda: reader.read(1 << 16), b""))
        finally:
            reader.close()

    def stored_sizes(self) -> Iterator[tuple[str, int]]:
        """Each stored WAL file's name without suffix, and its stored size in bytes."""
        for directory in self._directories():
            for stored, size in self._storage.sizes(f"{layout.WALS}/{directory}"):
                name = split_suffix(stored)[0]
                if kind_of(name) is not None:
                    yield name, size

    def _directories(self) -> list[str]:
        # A history file's name has sixteen characters as well.
        return sorted(
            name for name in self._storage.names(layout.WALS) if len(name) == 16 and kind_of(name) is None
        )
