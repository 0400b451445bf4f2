"""Members → a directory: sane modes, and the file that makes it a cluster last of all.

Where members may not go is ``Tree``'s business: nothing leaves the directory or replaces what is there.
Symbolic links are refused: a backup taken with TABLESPACE_MAP has none, and ``restore`` makes those of
the tablespaces. Nothing is durable before ``sync_tree``, so that no file has to be waited for; a
file that is held back appears only with ``release``, behind it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping

from backup.tar import Kind, Member
from backup.tree import Tree
from catalog.durable import temporary_name, write_all
from catalog.errors import Corrupt, StorageError

MAX_TRANSFORMED = 1 << 20


class Extractor:
    """A member sink that lays one archive down under ``directory``, which must exist.

    ``owner`` (uid, gid) is given to everything that is made. The content of a member in ``transform``
    goes through its function, in memory, and must be small. A member in ``hold`` is written under a
    temporary name until ``release``, one in ``skip`` is not written at all. After any failure only
    ``close`` may be called; what was written stays. ``group_access`` tells whether a directory of the
    archive was open to the group: then the data directory itself, which no archive contains, must be too.
    ``tree`` is another one than such as refuses what is there; ``mtime`` is given to every file.
    """

    def __init__(
        self,
        directory: str,
        *,
        owner: tuple[int, int] | None = None,
        transform: Mapping[str, Callable[[bytes], bytes]] | None = None,
        hold: Collection[str] = (),
        skip: Collection[str] = (),
        tree: Tree | None = None,
        mtime: float | None = None,
    ) -> None:
        self.group_access = False
        try:
            self._tree = tree or Tree(directory, owner)
        except OSError as error:
            raise StorageError(f"could not open directory {directory!r}: {error.strerror}") from error
        self._transform = transform or {}
        self._hold = hold
        self._skip = skip
        self._mtime = mtime
        self._skips = False
        self._held: list[tuple[str, str]] = []
        self._member = Member("")
        self._fd = -1
        self._content: bytearray | None = None

    def begin(self, member: Member, /) -> None:
        self._member = member
        self._skips = member.name in self._skip
        if self._skips:
            return
        try:
            if member.kind is Kind.FILE:
                self._begin_file(member)
            elif member.kind is Kind.DIRECTORY:
                self._make_directory(member)
            else:
                raise Corrupt(
                    f"member {member.name!r} is a symbolic link to {member.link!r}",
                    "a backup taken by walstream has none: do not trust this archive",
                )
        except OSError as error:
            raise self._tree.failure(member.name, error) from error

    def data(self, view: memoryview, /) -> None:
        if self._skips:
            return
        if self._content is not None:
            self._content += view
            return
        try:
            write_all(self._fd, view)
        except OSError as error:
            raise self._tree.failure(self._member.name, error) from error

    def end(self) -> None:
        if self._skips:
            return
        try:
            if self._content is not None:
                content, self._content = bytes(self._content), None
                write_all(self._fd, self._transform[self._member.name](content))
            if self._mtime is not None and self._fd >= 0:
                os.utime(self._fd, (self._mtime, self._mtime))
            self._close_file()
        except OSError as error:
            raise self._tree.failure(self._member.name, error) from error

    def release(self) -> None:
        """Put what was held back in its place, durably. Call ``sync_tree`` first."""
        for temporary, name in self._held:
            try:
                self._tree.put_in_place(temporary, name)
            except OSError as error:
                raise self._tree.failure(name, error) from error
        self._held.clear()

    def close(self) -> None:
        """Let go of all descriptors; harmless when called again."""
        self._close_file()
        self._tree.close()

    def _begin_file(self, member: Member) -> None:
        name = member.name
        if name in self._transform:
            if member.size > MAX_TRANSFORMED:
                raise Corrupt(f"member {name!r} has {member.size} bytes, which is far too much for it")
            self._content = bytearray()
        if name in self._hold:
            name = temporary_name(name)
            self._held.append((name, member.name))
        # PostgreSQL writes 0600 or 0640; of stray files others get nothing, and set-id bits are dropped
        self._fd = self._tree.create(name, member.mode & 0o750 | 0o600)

    def _make_directory(self, member: Member) -> None:
        shared = member.mode & 0o050 == 0o050
        self.group_access = self.group_access or shared
        self._tree.make_directory(member.name, 0o750 if shared else 0o700)

    def _close_file(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)
