"""A directory on disk that is written without ever leaving it, and made durable.

Each part of a path is opened relative to the one before and symbolic links are not followed, so
neither a hostile name nor a link that somebody puts in the way leads out. Nothing that exists is
written over. Linux and other POSIX systems.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

from backup import names
from catalog.durable import rename_to_free_name
from catalog.errors import Corrupt, DestinationRefused, StorageError, WalstreamError

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SYNCED_AT_ONCE = 16
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Tree:
    """A directory whose content is reached without following symbolic links.

    Names are relative, as in a ``Member``. Raises ``OSError``; what it means for the archive is the
    caller's to say (``failure``).
    """

    def __init__(self, root: str, owner: tuple[int, int] | None = None) -> None:
        self.root = root
        self._owner = owner
        self._root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._parent = b""
        self._parent_fd = -1

    def locate(self, name: str) -> tuple[int, bytes]:
        """The open directory that ``name`` is in, missing ones made, and its last part.

        The descriptor is good until the next call.
        """
        raw = names.encode(name)
        if not names.stays_inside(raw):
            raise Corrupt(f"member {name!r} could lead out of its directory")
        parent, _, last = raw.rpartition(b"/")
        if not parent:
            return self._root_fd, last
        if parent != self._parent or self._parent_fd < 0:
            self._leave()
            self._parent_fd = self._descend(parent)
            self._parent = parent
        return self._parent_fd, last

    def create(self, name: str, mode: int) -> int:
        """Create a file that does not exist, and return its descriptor."""
        directory, last = self.locate(name)
        fd = os.open(last, _NEW_FILE, mode, dir_fd=directory)
        self._adopt(fd, mode)
        return fd

    def make_directory(self, name: str, mode: int) -> None:
        """Make a directory, or give one that exists another mode."""
        directory, last = self.locate(name)
        fd = self._enter(directory, last)
        self._adopt(fd, mode)
        os.close(fd)

    def put_in_place(self, source: str, name: str) -> None:
        """Give a file another name in its directory; content and name are durable on return."""
        directory, temporary = self.locate(source)
        last = names.encode(name).rpartition(b"/")[2]
        fd = os.open(temporary, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        rename_to_free_name(temporary, last, directory)
        os.fsync(directory)

    def close(self) -> None:
        """Let go of the descriptors; harmless when called again."""
        self._leave()
        if self._root_fd >= 0:
            fd, self._root_fd = self._root_fd, -1
            os.close(fd)

    def failure(self, name: str, error: OSError) -> WalstreamError:
        """Our error for one of the operating system's."""
        path = os.path.join(self.root, name)
        if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.ELOOP):
            return DestinationRefused(
                f"something is in the way of {path!r}: {error.strerror}",
                "restore into a directory that is empty or does not exist",
            )
        return StorageError(f"could not write {path!r}: {error.strerror}")

    def _descend(self, directory: bytes) -> int:
        fd = os.dup(self._root_fd)
        for part in directory.split(b"/"):
            try:
                below = self._enter(fd, part)
            finally:
                os.close(fd)
            fd = below
        return fd

    def _enter(self, directory: int, part: bytes) -> int:
        try:
            return os.open(part, _DIRECTORY, dir_fd=directory)
        except FileNotFoundError:
            os.mkdir(part, 0o700, dir_fd=directory)
        fd = os.open(part, _DIRECTORY, dir_fd=directory)
        self._adopt(fd, 0o700)
        return fd

    def _adopt(self, fd: int, mode: int) -> None:
        """Give owner and mode to what is open as ``fd``, which is closed when that fails."""
        # in this order: a change of owner may clear bits of the mode
        try:
            if self._owner is not None:
                os.fchown(fd, *self._owner)
            os.fchmod(fd, mode)
        except OSError:
            os.close(fd)
            raise

    def _leave(self) -> None:
        if self._parent_fd >= 0:
            fd, self._parent_fd = self._parent_fd, -1
            os.close(fd)


def sync_tree(path: str) -> None:
    """Make a directory and all below it durable, without following symbolic links.

    Many files at a time: a file system commits together what is waited for together. The calling thread does its
    share: while it only waited for others, no signal would end that before all is synced.
    """
    left = _Left(os.fsencode(path))
    try:
        with ThreadPoolExecutor(_SYNCED_AT_ONCE - 1) as threads:
            try:
                others = [threads.submit(left.sync) for _ in range(_SYNCED_AT_ONCE - 1)]
                left.sync()
                for each in others:
                    each.result()
            except BaseException:
                left.forget()
                raise
    except OSError as error:
        raise StorageError(f"could not sync {path!r}: {error}") from error


class _Left:
    """What is still to be synced below a directory; for any number of threads."""

    def __init__(self, path: bytes) -> None:
        self._found = _with_all_below(path)
        self._lock = threading.Lock()

    def sync(self) -> None:
        """Sync until nothing is left; behind a failure nothing is."""
        while (each := self._next()) is not None:
            try:
                _sync(*each)
            except BaseException:
                self.forget()
                raise

    def forget(self) -> None:
        """Have all threads end with the file at hand."""
        with self._lock:
            self._found.close()

    def _next(self) -> tuple[bytes, int] | None:
        with self._lock:
            return next(self._found, None)


def _with_all_below(path: bytes) -> Generator[tuple[bytes, int]]:
    """Paths, and the flags that they are to be opened with."""
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _with_all_below(entry.path)
            elif entry.is_file(follow_symlinks=False):
                yield entry.path, os.O_NOFOLLOW
    yield path, os.O_DIRECTORY


def _sync(path: bytes, flags: int) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
