"""The one way to write, replace, rename and remove files so that they survive a power loss.

Temporary name, write, fsync, rename, fsync of the directory. A failed step raises and leaves at
most a file with a temporary name (``is_temporary``), which a sweep may remove. On the path of
``get-wal``: only ``os`` and ``errno``.
"""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from catalog.sink import BytesLike

FILE_MODE = 0o640
DIRECTORY_MODE = 0o750
_MARK = ".walstream-tmp."
_WRITE_BACK = 128 << 20  # asking costs: each time the system looks through its lists of pages


def temporary_name(path: str) -> str:
    """A name beside ``path`` for the file while it is being made; unique to this process and call."""
    directory, name = os.path.split(path)
    return os.path.join(directory, f"{name}{_MARK}{os.getpid()}-{os.urandom(4).hex()}")


def is_temporary(name: str) -> bool:
    """Whether a file's name is one that ``temporary_name`` made."""
    return _MARK in name


def sync_directory(path: str) -> None:
    """Make the entries of a directory durable."""
    fd = os.open(path or ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_file(path: str) -> None:
    """Make the content of a file that somebody else wrote durable."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_directories(path: str, mode: int = DIRECTORY_MODE) -> None:
    """Make a directory and its missing parents; every one that is made is durable on return."""
    path = os.path.abspath(path)
    missing = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for directory in reversed(missing):
        try:
            os.mkdir(directory, mode)
        except FileExistsError:
            if not os.path.isdir(directory):
                raise
        try:
            sync_directory(os.path.dirname(directory))
        except OSError:
            os.rmdir(directory)  # else the next call would find it and sync nothing
            raise


def write_all(fd: int, data: BytesLike) -> None:
    """Write the whole of ``data`` to ``fd``."""
    view = memoryview(data).cast("B")
    while view:
        view = view[os.write(fd, view) :]


class DurableFile:
    """A file that appears under its name only when ``finish`` has made it durable.

    A sink: ``write`` any number of times, then ``finish`` or ``abort``. What is large goes to the disk on
    the way, so that syncing it at the end does not take long, nor hold up what others sync meanwhile.
    """

    def __init__(self, path: str, mode: int = FILE_MODE, *, replace: bool = True) -> None:
        self.path = path
        self.nbytes = 0
        self._begun = 0  # up to where the system was asked to write back
        self._replace = replace
        self._temporary = temporary_name(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
        self._fd = os.open(self._temporary, flags, mode)

    def write(self, data: BytesLike) -> None:
        view = memoryview(data).cast("B")
        self.nbytes += len(view)
        write_all(self._fd, view)
        if self.nbytes - self._begun >= _WRITE_BACK:
            self._begin_write_back()

    def finish(self) -> None:
        """Sync, give the file its name, sync the directory.

        Without ``replace`` an existing file of that name raises ``FileExistsError``.
        """
        try:
            os.fsync(self._fd)
        finally:
            self._close()
        if self._replace:
            os.rename(self._temporary, self.path)
        else:
            rename_to_free_name(self._temporary, self.path)
        try:
            sync_directory(os.path.dirname(self.path))
        except OSError:
            if not self._replace:
                # The next try must write anew: a second sync may report success for what the first one lost.
                remove_if_present(self.path)
            raise

    def abort(self) -> None:
        """Forget what was written; harmless when called again or after ``finish``."""
        self._close()
        remove_if_present(self._temporary)

    def _begin_write_back(self) -> None:
        # Linux begins to write pages that it is told are not needed, and drops none that are not yet written.
        start, self._begun = self._begun, self.nbytes
        try:
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(self._fd, start, self._begun - start, os.POSIX_FADV_DONTNEED)
        except OSError:
            pass  # a file system that takes no advice; the sync at the end does it all

    def _close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


def write_file(path: str, data: BytesLike, mode: int = FILE_MODE, *, replace: bool = True) -> None:
    """Write a small file durably; one that exists is replaced, or raises ``FileExistsError``."""
    file = DurableFile(path, mode, replace=replace)
    try:
        file.write(data)
        file.finish()
    except BaseException:
        file.abort()
        raise


def rename(source: str, destination: str) -> None:
    """Rename durably; the file's content must already be synced."""
    os.rename(source, destination)
    directory = os.path.dirname(destination)
    sync_directory(directory)
    if os.path.dirname(source) != directory:
        sync_directory(os.path.dirname(source))


def remove(path: str) -> None:
    """Remove a file durably."""
    os.unlink(path)
    sync_directory(os.path.dirname(path))


def remove_if_present(path: str) -> None:
    """Remove a file that may be gone already; not synced."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def rename_to_free_name(source: str | bytes, destination: str | bytes, directory: int | None = None) -> None:
    """Rename unless the name is taken (``FileExistsError``), below an open directory if given; not synced."""
    try:
        os.link(source, destination, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:
        # A file system without hard links: whoever writes here holds a lock, so a look is enough.
        if _is_taken(destination, directory):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), destination) from None
        os.rename(source, destination, src_dir_fd=directory, dst_dir_fd=directory)
    else:
        os.unlink(source, dir_fd=directory)


def _is_taken(name: str | bytes, directory: int | None) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
