"""What a place to keep bytes must be able to do.

Keys are relative paths with ``/`` between their parts. ``LocalStorage`` in ``catalog.local_storage``
keeps them as files; whatever implements this protocol passes ``tests/support/storage_conformance``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Protocol

from catalog.sink import BytesLike, Reader, Sink


class Storage(Protocol):
    """Bytes by key.

    A key is readable only when its bytes are complete and durable. ``write`` returns a sink whose
    ``finish`` makes the key appear, replacing nothing: an existing key raises ``Conflict`` there.
    ``read`` of a missing key raises ``Absent``; every other failure ``StorageError``.
    """

    def write(self, key: str) -> Sink: ...

    def read(self, key: str) -> Reader: ...

    def link(self, path: str, key: str) -> bool:
        """Make a local file that will never change appear as a key, too, without copying it.

        Like a finished ``write``: durable, and replacing nothing. False where it cannot be done.
        """
        ...

    def put(self, key: str, data: BytesLike) -> None:
        """Write or replace a small document in one durable step."""
        ...

    def get(self, key: str) -> bytes:
        """All bytes of a small document."""
        ...

    def names(self, directory: str) -> Iterator[str]:
        """What lies directly below a directory, in any order; nothing when it does not exist."""
        ...

    def sizes(self, directory: str) -> Iterator[tuple[str, int]]:
        """Like ``names``, files only, each with its size in bytes."""
        ...

    def stamp(self, key: str) -> str:
        """A text that differs once the bytes of a key were written again; ``Absent`` when there are none."""
        ...

    def sync(self, key: str) -> None:
        """Make sure that a key that exists is durable; ``Absent`` when there is none."""
        ...

    def delete(self, key: str) -> None:
        """Remove a key durably; a missing one is no error."""
        ...

    def delete_some(self, directory: str, names: Collection[str]) -> None:
        """Remove files directly below a directory, durably, and the directory when nothing is left in it.

        Missing ones are no error. In the order given, so that one that is interrupted leaves the later ones.
        """
        ...

    def delete_tree(self, directory: str, keep: str | None = None) -> None:
        """Remove a directory with all that is in it, leftovers of killed writers too; a missing one is no error.

        With ``keep`` the directory stays, with the one file of that name.
        """
        ...

    def remove_leftovers(self, directory: str) -> None:
        """Remove what killed writers left directly below a directory; nobody may be writing there."""
        ...
