"""The shelf of WAL files: find, open and list what is stored. On the path of ``get-wal``.

A stored file is named like the WAL file it holds, plus the suffix of its codec; readers here give back
the raw bytes. Putting files onto the shelf is ``catalog.filing``'s business.
"""

from __future__ import annotations

from catalog import layout
from catalog.decoding import ENDINGS, decoder, split_suffix
from catalog.errors import Absent
from catalog.walname import HISTORY, SEGMENT, is_low_part, kind_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from catalog.identity import Identities
    from catalog.sink import Reader
    from catalog.storage import Storage

_ENDINGS = frozenset(ENDINGS)


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
                name = _name_in(directory, stored)
                if name is not None:
                    yield name

    def history(self, timeline_name: str) -> bytes:
        """The content of a history file, by its name; ``Absent`` when it is not stored."""
        return self._storage.get(layout.wal_key(timeline_name))

    def sizes(self, directory: str) -> Iterator[tuple[str, int]]:
        """The name of each WAL file in one of ``directories()``, without suffix, and its stored size."""
        for stored, size in self._storage.sizes(f"{layout.WALS}/{directory}"):
            name = _name_in(directory, stored)
            if name is not None:
                yield name, size

    def keys(self, directory: str) -> dict[str, str]:
        """The name of each WAL file in one of ``directories()``, without suffix, and the key that ``find`` has."""
        below = f"{layout.WALS}/{directory}"
        # One that is there twice is read from the one whose suffix comes first.
        stored = sorted(self._storage.names(below), key=_rank, reverse=True)
        named = ((_name_in(directory, each), each) for each in stored)
        return {name: f"{below}/{each}" for name, each in named if name is not None}

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
            if (name := _name_in(directory, stored)) is not None and goes(name)
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


def _rank(stored: str) -> int:
    return ENDINGS.index(split_suffix(stored)[1])


def _name_in(directory: str, stored: str) -> str | None:
    """The name, without suffix, of the WAL file that is stored so; None when no such file belongs here."""
    # A year of WAL is half a million of these, so what is plainly a segment is looked at no further.
    if stored[:16] == directory and stored[24:] in _ENDINGS and is_low_part(stored[16:24]):
        return stored[:24]
    name = split_suffix(stored)[0]
    kind = kind_of(name)
    belongs = kind == HISTORY if not directory else kind is not None and name[:16] == directory
    return name if belongs else None
