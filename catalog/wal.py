"""The shelf of WAL files: find, open and list what is stored. On the path of ``get-wal``.

A stored file is named like the WAL file it holds, plus the suffix of its codec; readers here give back
the raw bytes. Putting files onto the shelf is ``catalog.filing``'s business.
"""

from __future__ import annotations

from catalog import layout
from catalog.codec import ENDINGS, decoder, split_suffix
from catalog.errors import Absent
from catalog.walname import HISTORY, SEGMENT, kind_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from catalog.identity import Identities
    from catalog.sink import Reader
    from catalog.storage import Storage


class WalShelf:
    """The WAL files below ``wals/`` of a repository; ``identities`` open what is encrypted."""

    def __init__(self, storage: Storage, identities: Identities | None = None) -> None:
        self._storage = storage
        self._identities = identities

    def open(self, name: str) -> Reader:
        """The raw bytes of a stored WAL file; ``Absent`` when no codec's suffix leads to one."""
        return self.find(name)[1]

    def holds(self, name: str) -> bool:
        """Whether a WAL file is stored."""
        try:
            self.open(name).close()
        except Absent:
            return False
        return True

    def key(self, name: str) -> str:
        """The key under which a WAL file is stored; ``Absent`` when there is none."""
        key, reader = self.find(name)
        reader.close()
        return key

    def find(self, name: str) -> tuple[str, Reader]:
        """The key under which a WAL file is stored, and its raw bytes."""
        for suffix in ENDINGS:
            key = layout.wal_key(name, suffix)
            try:
                stored = self._storage.read(key)
            except Absent:
                continue
            return key, decoder(stored, suffix, self._identities, f"the stored {name!r}")
        raise Absent(f"WAL file {name!r} is not in the repository")

    def names(self, directories: Iterable[str] | None = None) -> Iterator[str]:
        """The names of stored WAL files, without suffixes, in no particular order.

        All of them, histories too, unless only some of ``directories()`` are asked for. A file in another
        directory than ``layout`` says cannot be found by its name, so it does not count.
        """
        for directory in ["", *self.directories()] if directories is None else directories:
            for stored in self._storage.names(f"{layout.WALS}/{directory}".rstrip("/")):
                name = split_suffix(stored)[0]
                if _lies_right(name, directory):
                    yield name

    def history(self, timeline_name: str) -> bytes:
        """The content of a history file, by its name; ``Absent`` when it is not stored."""
        reader = self._storage.read(layout.wal_key(timeline_name))
        try:
            return b"".join(iter(lambda: reader.read(1 << 16), b""))
        finally:
            reader.close()

    def sizes(self, directory: str) -> Iterator[tuple[str, int]]:
        """The name of each WAL file in one of ``directories()``, without suffix, and its stored size."""
        for stored, size in self._storage.sizes(f"{layout.WALS}/{directory}"):
            name = split_suffix(stored)[0]
            if _lies_right(name, directory):
                yield name, size

    def all_sizes(self) -> Iterator[tuple[str, int]]:
        """The name of each stored segment, partial ones and backup histories too, and its stored size."""
        for directory in self.directories():
            yield from self.sizes(directory)

    def remove(self, directory: str, goes: Callable[[str], bool]) -> tuple[int, int]:
        """Remove the WAL files of one of ``directories()`` whose names, without suffix, are to go, oldest first.

        How many files those were, and their stored bytes.
        """
        found = sorted(
            (stored, size)
            for stored, size in self._storage.sizes(f"{layout.WALS}/{directory}")
            if _lies_right(split_suffix(stored)[0], directory) and goes(split_suffix(stored)[0])
        )
        if found:
            self._storage.delete_some(f"{layout.WALS}/{directory}", [stored for stored, _ in found])
        return len(found), sum(size for _, size in found)

    def remove_leftovers(self) -> None:
        """Remove what killed writers left; the caller holds the archive lock."""
        for directory in ("", *self.directories()):
            self._storage.remove_leftovers(f"{layout.WALS}/{directory}".rstrip("/"))

    def directories(self) -> list[str]:
        """The directories that hold segments, in order: the first 16 digits of what is in them."""
        # A history's name has 16 characters too.
        names = self._storage.names(layout.WALS)
        return sorted(name for name in names if kind_of(f"{name}00000000") == SEGMENT)


def _lies_right(name: str, directory: str) -> bool:
    kind = kind_of(name)
    return kind == HISTORY if not directory else kind is not None and name[:16] == directory
