"""Storage in memory, for tests of what stands on a storage."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from catalog.errors import Absent, Conflict
from catalog.sink import BytesLike, Reader, Sink


class MemoryStorage:
    """Keys and their bytes in a dictionary; ``synced`` has the keys that were asked to be."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self.synced: list[str] = []

    def write(self, key: str) -> Sink:
        return _Writer(self.content, key)

    def read(self, key: str) -> Reader:
        try:
            return _Reader(self.content[key])
        except KeyError:
            raise Absent(f"there is no {key!r}") from None

    def link(self, path: str, key: str) -> bool:
        return False

    def put(self, key: str, data: BytesLike) -> None:
        self.content[key] = bytes(data)

    def get(self, key: str) -> bytes:
        reader = self.read(key)
        return reader.read(1 << 40)

    def names(self, directory: str) -> Iterator[str]:
        return iter({rest.partition("/")[0] for rest in self._below(directory)})

    def sizes(self, directory: str) -> Iterator[tuple[str, int]]:
        below = self._below(directory)
        return ((rest, len(data)) for rest, data in below.items() if "/" not in rest)

    def stamp(self, key: str) -> str:
        if key not in self.content:
            raise Absent(f"there is no {key!r}")
        return self.content[key].hex()

    def sync(self, key: str) -> None:
        if key not in self.content:
            raise Absent(f"there is no {key!r}")
        self.synced.append(key)

    def delete(self, key: str) -> None:
        self.content.pop(key, None)

    def delete_some(self, directory: str, names: Collection[str]) -> None:
        for name in names:
            self.content.pop(f"{directory}/{name}", None)

    def delete_tree(self, directory: str, keep: str | None = None) -> None:
        for rest in self._below(directory):
            if rest != keep:
                del self.content[f"{directory}/{rest}"]

    def remove_leftovers(self, directory: str) -> None:
        pass  # there are none: a writer that is never finished leaves nothing

    def _below(self, directory: str) -> dict[str, bytes]:
        prefix = f"{directory}/" if directory else ""
        return {key[len(prefix) :]: data for key, data in self.content.items() if key.startswith(prefix)}


class _Writer:
    def __init__(self, content: dict[str, bytes], key: str) -> None:
        self._content = content
        self._key = key
        self._data = bytearray()

    def write(self, data: BytesLike) -> None:
        self._data += data

    def finish(self) -> None:
        if self._key in self._content:
            raise Conflict(f"{self._key!r} exists already", "nothing was overwritten")
        self._content[self._key] = bytes(self._data)

    def abort(self) -> None:
        self._data.clear()


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, n: int, /) -> bytes:
        piece, self._data = self._data[:n], self._data[n:]
        return piece

    def close(self) -> None:
        self._data = b""
