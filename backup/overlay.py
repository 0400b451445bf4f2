"""Members of an incremental backup's archive → over what its parents laid down in the same directory.

A whole file replaces what is there, an INCREMENTAL file patches it in place: it is cut where older blocks end,
its blocks are written, and it is brought to its length; what nobody supplies is zeros. Every file that the
archive has gets the same modification time, so that ``prune`` finds what it lacks, however many files there
are. Where members may not go is ``Tree``'s business. Nothing is durable before ``sync_tree``.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Callable, Collection, Mapping

from backup import names
from backup.extract import Extractor
from backup.incremental import Header, IncrementalReader, patched_name
from backup.tar import Kind, Member
from backup.tree import Tree
from catalog.errors import Corrupt, StorageError

_REPLACE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
_PATCH = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_AT_ONCE = 10_000


class Overlay:
    """A member sink for one archive of a chain, in a directory that may hold those of its parents.

    ``mtime`` marks what this archive has: whole seconds, others for each backup of the chain.
    ``directories`` has the directories of the archive. The rest is as for ``Extractor``, which is there for
    what was held back.
    """

    def __init__(
        self,
        directory: str,
        *,
        block_size: int,
        mtime: float,
        owner: tuple[int, int] | None = None,
        transform: Mapping[str, Callable[[bytes], bytes]] | None = None,
        hold: Collection[str] = (),
        skip: Collection[str] = (),
    ) -> None:
        self.directories: set[str] = set()
        try:
            self._tree = _LaidDown(directory, owner)
        except OSError as error:
            raise StorageError(f"could not open directory {directory!r}: {error.strerror}") from error
        self.extractor = Extractor(
            directory, tree=self._tree, mtime=mtime, transform=transform, hold=hold, skip=skip
        )
        self._block_size = block_size
        self._mtime = mtime
        self._patch: _Patch | None = None

    def begin(self, member: Member, /) -> None:
        target = patched_name(member.name) if member.kind is Kind.FILE else None
        if target is not None:
            self._patch = _Patch(self._tree, target, member, self._block_size)
            return
        if member.kind is Kind.DIRECTORY:
            self.directories.add(member.name)
        self.extractor.begin(member)

    def data(self, view: memoryview, /) -> None:
        if self._patch is not None:
            self._patch.write(view)
        else:
            self.extractor.data(view)

    def end(self) -> None:
        if self._patch is None:
            self.extractor.end()
            return
        patch, self._patch = self._patch, None
        patch.finish(self._mtime)

    def close(self) -> None:
        """Let go of all descriptors; harmless when called again."""
        if self._patch is not None:
            self._patch.close()
        self.extractor.close()


class _LaidDown(Tree):
    """A directory in which members replace what is there."""

    def create(self, name: str, mode: int) -> int:
        directory, last = self.locate(name)
        try:
            fd = os.open(last, _REPLACE, mode, dir_fd=directory)
        except IsADirectoryError:
            shutil.rmtree(last, dir_fd=directory)
            fd = os.open(last, _REPLACE, mode, dir_fd=directory)
        self._adopt(fd, mode)
        return fd

    def open_existing(self, name: str, mode: int) -> int:
        """Open a file that is there, for writing, and give it another mode."""
        directory, last = self.locate(name)
        fd = os.open(last, _PATCH, dir_fd=directory)
        self._adopt(fd, mode)
        return fd

    def _enter(self, directory: int, part: bytes) -> int:
        try:
            return super()._enter(directory, part)
        except NotADirectoryError:
            if not stat.S_ISREG(os.stat(part, dir_fd=directory, follow_symlinks=False).st_mode):
                raise
            os.unlink(part, dir_fd=directory)
            return super()._enter(directory, part)


class _Patch:
    """One file that is patched by an INCREMENTAL one."""

    def __init__(self, tree: _LaidDown, name: str, member: Member, block_size: int) -> None:
        self._tree = tree
        self._name = name
        self._reader = IncrementalReader(member.name, member.size, block_size)
        self._block_size = block_size
        self._is_cut = False
        try:
            self._fd = tree.open_existing(name, member.mode & 0o750 | 0o600)
        except FileNotFoundError:
            raise Corrupt(
                f"{member.name!r} holds changes of a file that the backups before it lack",
                "a backup of the chain was altered or damaged",
            ) from None
        except OSError as error:
            raise tree.failure(name, error) from error

    def write(self, view: memoryview) -> None:
        try:
            for position, piece in self._reader.feed(view):
                self._cut(self._reader.header)
                while piece:
                    count = os.pwrite(self._fd, piece, position)
                    position, piece = position + count, piece[count:]
        except OSError as error:
            raise self._tree.failure(self._name, error) from error

    def finish(self, mtime: float) -> None:
        header = self._reader.finish()
        try:
            self._cut(header)
            if os.fstat(self._fd).st_size != header.length:
                os.ftruncate(self._fd, header.length)
            os.utime(self._fd, (mtime, mtime))
        except OSError as error:
            raise self._tree.failure(self._name, error) from error
        self.close()

    def close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def _cut(self, header: Header | None) -> None:
        """Before the first block is written: let go of the blocks that no longer count."""
        if self._is_cut or header is None:
            return
        size = os.fstat(self._fd).st_size
        kept = min(header.kept, size - size % self._block_size)  # a torn last block counts for nothing
        if kept < size:
            os.ftruncate(self._fd, kept)
        self._is_cut = True


def prune(directory: str, mtime: float, made: Collection[str], spared: Collection[str] = ()) -> None:
    """Remove every file below a directory with another modification time, and directories left empty.

    Except the directories ``made``, and what is ``spared`` with all below it; both are names relative to the
    directory.
    """
    try:
        _prune_below(names.encode(directory), b"", mtime, {names.encode(name) for name in made}, spared)
    except OSError as error:
        raise StorageError(f"could not remove files below {directory!r}: {error}") from error


def _prune_below(root: bytes, at: bytes, mtime: float, made: set[bytes], spared: Collection[str]) -> None:
    path = os.path.join(root, at)
    # In portions: what a scan shows while files are removed differs, and a directory may hold a million.
    while True:
        doomed: list[bytes] = []
        below: list[bytes] = []
        with os.scandir(path) as entries:
            for entry in entries:
                name = os.path.join(at, entry.name)
                if names.decode(name) in spared:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    below.append(name)
                elif entry.stat(follow_symlinks=False).st_mtime != mtime:
                    doomed.append(entry.path)
                    if len(doomed) == _AT_ONCE:
                        break
        for each in doomed:
            os.unlink(each)
        if len(doomed) < _AT_ONCE:
            break
    for name in below:
        _prune_below(root, name, mtime, made, spared)
        if name not in made:
            with contextlib.suppress(OSError):  # one that is not empty holds something that counts
                os.rmdir(os.path.join(root, name))
