"""How much larger a cluster is than the archives of an incremental backup, which hold its changed blocks only.

What passes is proven to be of the form that a restore understands. Full backups have no such files.
"""

from __future__ import annotations

from backup.incremental import IncrementalReader, patched_name
from backup.tar import Kind, Member


class Growth:
    """``nbytes``: how many more the files have that the INCREMENTAL ones stand for."""

    def __init__(self, block_size: int) -> None:
        self.nbytes = 0
        self._block_size = block_size
        self._reader: IncrementalReader | None = None
        self._size = 0

    def begin(self, member: Member, /) -> None:
        if member.kind is Kind.FILE and patched_name(member.name) is not None:
            self._reader = IncrementalReader(member.name, member.size, self._block_size)
            self._size = member.size

    def data(self, view: memoryview, /) -> None:
        if self._reader is not None:
            for _ in self._reader.feed(view):
                pass

    def end(self) -> None:
        if self._reader is not None:
            self.nbytes += self._reader.finish().length - self._size
            self._reader = None
