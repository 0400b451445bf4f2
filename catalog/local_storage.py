"""Storage as files below one directory. On the path of ``get-wal``: ``os`` and little more.

Every write takes the durable way (temporary name, fsync, rename or link, fsync of the directory);
directories are made when they are first needed, durably. Failures of the operating system become
``StorageError``; a missing file becomes ``Absent``.
"""

from __future__ import annotations

import errno
import os

from catalog import durable
from catalog.errors import Absent, Conflict, StorageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from catalog.sink import BytesLike, Reader


# Another file system, one without hard links, too many of them, or (protected_hardlinks) another owner's file.
_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)
# POSIX has both for a directory that cannot be removed as something is in it.
_NOT_EMPTY = (errno.ENOTEMPTY, errno.EEXIST)


class LocalStorage:
    """Keys as files below ``root``; implements ``catalog.storage.Storage``."""

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(root)

    def path(self, key: str) -> str:
        """The path of a key's file."""
        return os.path.join(self.root, key)

    def write(self, key: str) -> LocalWriter:
        try:
            path = self.path(key)
            durable.make_directories(os.path.dirname(path))
            return LocalWriter(durable.DurableFile(path, replace=False))
        except OSError as error:
            raise failed("write", self.path(key), error) from error

    def read(self, key: str) -> Reader:
        try:
            return LocalReader(os.open(self.path(key), os.O_RDONLY), self.path(key))
        except (FileNotFoundError, NotADirectoryError):
            raise Absent(f"there is no {self.path(key)!r}") from None
        except OSError as error:
            raise failed("read", self.path(key), error) from error

    def link(self, path: str, key: str) -> bool:
        target = self.path(key)
        try:
            durable.make_directories(os.path.dirname(target))
            durable.sync_file(path)
            try:
                os.link(path, target)
            except FileExistsError:
                raise Conflict(f"{target!r} exists already", "nothing was overwritten") from None
            try:
                durable.sync_directory(os.path.dirname(target))
            except OSError:
                durable.remove_if_present(target)
                raise
        except OSError as error:
            if error.errno in _NO_LINKS:
                return False
            raise failed("write", target, error) from error
        return True

    def put(self, key: str, data: BytesLike) -> None:
        try:
            path = self.path(key)
            durable.make_directories(os.path.dirname(path))
            durable.write_file(path, data)
        except OSError as error:
            raise failed("write", self.path(key), error) from error

    def get(self, key: str) -> bytes:
        reader = self.read(key)
        try:
            return b"".join(iter(lambda: reader.read(1 << 16), b""))
        finally:
            reader.close()

    def names(self, directory: str) -> Iterator[str]:
        try:
            return iter([name for name in os.listdir(self.path(directory)) if not durable.is_temporary(name)])
        except (FileNotFoundError, NotADirectoryError):
            return iter(())
        except OSError as error:
            raise failed("list", self.path(directory), error) from error

    def sizes(self, directory: str) -> Iterator[tuple[str, int]]:
        found = []
        try:
            with os.scandir(self.path(directory)) as entries:
                for entry in entries:
                    if durable.is_temporary(entry.name):
                        continue
                    try:
                        if entry.is_file():
                            found.append((entry.name, entry.stat().st_size))
                    except FileNotFoundError:
                        pass  # removed while we look: it is not there, but the others are
        except (FileNotFoundError, NotADirectoryError):
            return iter(())
        except OSError as error:
            raise failed("list", self.path(directory), error) from error
        return iter(found)

    def stamp(self, key: str) -> str:
        try:
            found = os.stat(self.path(key))
        except (FileNotFoundError, NotADirectoryError):
            raise Absent(f"there is no {self.path(key)!r}") from None
        except OSError as error:
            raise failed("look at", self.path(key), error) from error
        # The time of modification can be set back, that of the last change of any kind cannot.
        return f"{found.st_size}:{found.st_ino}:{found.st_mtime_ns}:{found.st_ctime_ns}"

    def sync(self, key: str) -> None:
        try:
            durable.sync_file(self.path(key))
            durable.sync_directory(os.path.dirname(self.path(key)))
        except FileNotFoundError:
            raise Absent(f"there is no {self.path(key)!r}") from None
        except OSError as error:
            raise failed("sync", self.path(key), error) from error

    def delete(self, key: str) -> None:
        try:
            durable.remove(self.path(key))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise failed("remove", self.path(key), error) from error

    def delete_some(self, directory: str, names: Collection[str]) -> None:
        path = self.path(directory)
        try:
            for name in names:
                durable.remove_if_present(os.path.join(path, name))
            durable.sync_directory(path)
            if not os.listdir(path):
                os.rmdir(path)
                durable.sync_directory(os.path.dirname(path))
        except FileNotFoundError:
            pass  # there is no such directory
        except OSError as error:
            if error.errno not in _NOT_EMPTY:  # somebody is just writing there, and the directory stays
                raise failed("remove", path, error) from error

    def delete_tree(self, directory: str, keep: str | None = None) -> None:
        path = self.path(directory)
        try:
            if os.path.isdir(path):
                _empty(path, keep)
                if keep is None:
                    os.rmdir(path)
                    path = os.path.dirname(path)
                durable.sync_directory(path)
        except OSError as error:
            raise failed("remove", path, error) from error

    def remove_leftovers(self, directory: str) -> None:
        path = self.path(directory)
        try:
            for name in os.listdir(path):
                if durable.is_temporary(name):
                    durable.remove_if_present(os.path.join(path, name))
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            raise failed("remove", path, error) from error


def _empty(path: str, keep: str | None = None) -> None:
    for name in os.listdir(path):
        entry = os.path.join(path, name)
        if name == keep:
            continue
        if os.path.isdir(entry) and not os.path.islink(entry):
            _empty(entry)
            os.rmdir(entry)
        else:
            os.unlink(entry)


class LocalReader:
    """The bytes of one file."""

    def __init__(self, fd: int, path: str) -> None:
        self._fd = fd
        self._path = path

    def read(self, n: int, /) -> bytes:
        try:
            return os.read(self._fd, n)
        except OSError as error:
            raise failed("read", self._path, error) from error

    def readinto(self, buffer: memoryview, /) -> int:
        """Read into memory that is there already; how many bytes, 0 at the end."""
        try:
            return os.readv(self._fd, [buffer])
        except OSError as error:
            raise failed("read", self._path, error) from error

    def close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


class LocalWriter:
    """A sink for one file that must not exist yet."""

    def __init__(self, file: durable.DurableFile) -> None:
        self._file = file

    def write(self, data: BytesLike) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            raise failed("write", self._file.path, error) from error

    def finish(self) -> None:
        try:
            self._file.finish()
        except FileExistsError:
            raise Conflict(f"{self._file.path!r} exists already", "nothing was overwritten") from None
        except OSError as error:
            raise failed("write", self._file.path, error) from error

    def abort(self) -> None:
        try:
            self._file.abort()
        except OSError:
            pass  # it stays under its temporary name, which nobody reads and the next sweep removes


def failed(verb: str, path: str, error: OSError) -> StorageError:
    """The operating system's refusal as an error that names path and remedy."""
    reason = (error.strerror or str(error)).lower()
    hints = {
        "no space left on device": "make room on this file system; a receiver then goes on, repeat anything else",
        "permission denied": "run as the user that owns the repository, or give this user access",
        "not a directory": "a file stands where a directory belongs: move it, or choose another place",
        "read-only file system": "mount the file system for writing",
    }
    return StorageError(f"cannot {verb} {path!r}: {reason}", hints.get(reason))
