"""The directories a restore writes to: checked, marked, and emptied again only if they carry its mark.

A restore that was killed can be repeated: every directory gets a synced mark before anything else, and
keeps it until ``pg_control`` is in place, as the last file of all. The mark names the restore's destination and is
locked while it runs, so that only a repetition of the same restore empties a directory, and only when nobody works
there. Beside ``pg_control`` a mark counts for nothing, in the tablespaces either: that restore had come to its end.
Whatever else is not empty is refused before a byte is written.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Sequence
from types import TracebackType

from catalog import durable
from catalog.errors import DestinationRefused
from catalog.local_storage import failed

MARK = ".walstream-restore.json"
PG_CONTROL = "global/pg_control"
PRIVATE = 0o700
_PASSABLE = 0o755


def check(path: str, root: str) -> None:
    """Refuse a directory unless it is absent, empty, or marked by a restore to ``root`` that was interrupted."""
    try:
        names = os.listdir(path)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise DestinationRefused(f"{path!r} is not a directory", another_place(path, root)) from None
    except OSError as error:
        raise failed("list", path, error) from error
    if MARK not in names:
        _require_empty(path, names, root)
        return
    try:
        with open(os.path.join(path, MARK), "rb") as file:
            _require_ours(path, file.read(), root)
        _require_unfinished(path, root)
        _require_stopped(path)
    except OSError as error:
        raise failed("read", path, error) from error


def holds_cluster(path: str) -> bool:
    """Whether a whole cluster is there: neither what a broken-off restore left, nor anything else."""
    return all(os.path.isfile(os.path.join(path, name)) for name in ("PG_VERSION", PG_CONTROL))


def another_place(path: str, root: str) -> str:
    """What to do when ``path`` cannot be used: it is the data directory ``root``, or else a tablespace's."""
    if path == root:
        return "name an empty or absent directory; nothing was written"
    return (
        "it is the place of a tablespace: give that another one, an empty or absent directory, with "
        "--tablespace NAME:/absolute/path (show-backup lists the names); nothing was written"
    )


def reclaimable(path: str) -> int:
    """The bytes that emptying the directory gives back to its file system: 0 without a mark."""
    if not os.path.exists(os.path.join(path, MARK)):
        return 0
    total = 0
    for at, directories, files in os.walk(path):
        for name in (*directories, *files):
            total += os.lstat(os.path.join(at, name)).st_blocks * 512
    return total


class Claim:
    """The directories of one restore, the data directory first: locked from ``with`` to its end.

    At the beginning they are made, given to ``owner``, marked durably and emptied, each checked before. They
    stay marked unless ``release`` was called.
    """

    def __init__(self, directories: Sequence[str], owner: tuple[int, int] | None) -> None:
        self._directories = directories
        self._root = directories[0]
        self._owner = owner
        self._locks: list[int] = []

    def __enter__(self) -> Claim:
        for path in self._directories:
            check(path, self._root)
        try:
            self._take_all()
            for path in self._directories:
                _empty(path)
        except BaseException:
            self._unlock()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._unlock()

    def release(self) -> None:
        """Take the marks off, durably, the data directory's last; ``pg_control`` is in place by then."""
        for path in reversed(self._directories):
            try:
                durable.remove(os.path.join(path, MARK))
            except OSError as error:
                raise failed("remove", os.path.join(path, MARK), error) from error

    def _take_all(self) -> None:
        made: list[str] = []
        try:
            for path in self._directories:
                self._take(path, made)
        except BaseException:
            for mark in reversed(made):  # a tablespace's counts only beside that of the data directory
                durable.remove_if_present(mark)
            raise

    def _take(self, path: str, made: list[str]) -> None:
        mark = os.path.join(path, MARK)
        try:
            _make(path)
            if not os.path.exists(mark):
                _require_empty(path, os.listdir(path), self._root)
                text = json.dumps({"destination": os.path.realpath(self._root)})
                durable.write_file(mark, text.encode(), 0o600, replace=False)
                made.append(mark)
                _require_empty(path, [name for name in os.listdir(path) if name != MARK], self._root)
            fd = os.open(mark, os.O_RDONLY | os.O_NOFOLLOW)
            self._locks.append(fd)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _require_ours(path, os.read(fd, 1 << 16), self._root)
            if self._owner is not None:
                os.chown(path, *self._owner)
        except (BlockingIOError, FileExistsError):
            raise _in_use(path, "another restore") from None
        except OSError as error:
            raise failed("write", path, error) from error
        if os.fstat(fd).st_nlink == 0:
            raise _in_use(path, "another restore")
        _require_unfinished(path, self._root)  # again: what was looked at before may have come to its end

    def _unlock(self) -> None:
        for fd in self._locks:
            os.close(fd)
        self._locks.clear()


def _require_empty(path: str, names: Sequence[str], root: str) -> None:
    """An unfinished mark does not count: it is all that a restore leaves that was killed while it wrote it."""
    if not all(name.startswith(MARK) and durable.is_temporary(name) for name in names):
        raise DestinationRefused(f"{path!r} is not empty", another_place(path, root))


def _require_ours(path: str, mark: bytes, root: str) -> None:
    try:
        content = json.loads(mark)
        destination = content["destination"]
    except (ValueError, KeyError, TypeError):
        destination = None
    if destination != os.path.realpath(root):
        whose = "an unknown place" if destination is None else repr(destination)
        raise DestinationRefused(
            f"{path!r} is not empty: an interrupted restore to {whose} left files there",
            "repeat that restore, or empty the directory yourself; nothing was written",
        )


def _require_unfinished(path: str, root: str) -> None:
    """The restore whose mark is here had not come to its end, and its data directory says so."""
    if os.path.exists(os.path.join(root, PG_CONTROL)):
        raise DestinationRefused(
            f"{path!r} is not empty: the restore to {root!r} was interrupted only after all was in its place",
            f"start that cluster, and remove the file {MARK!r}; or name another directory",
        )
    if not os.path.exists(os.path.join(root, MARK)):
        raise DestinationRefused(
            f"{path!r} is not empty: a restore to {root!r} left files there, and is gone or was moved away",
            "if no cluster uses these files, empty the directory yourself; nothing was written",
        )


def _require_stopped(path: str) -> None:
    """No server runs there, as far as its lock file tells."""
    try:
        with open(os.path.join(path, "postmaster.pid"), "rb") as file:
            pid = abs(int(file.readline()))
        os.kill(pid, 0)
    except PermissionError:
        pass
    except (FileNotFoundError, ProcessLookupError, ValueError, OverflowError):
        return
    raise _in_use(path, f"the process of its postmaster.pid, {pid}")


def _in_use(path: str, whom: str) -> DestinationRefused:
    return DestinationRefused(
        f"{path!r} is in use by {whom}",
        "stop it, wait for it, or name another directory; nothing was written",
    )


def _make(path: str) -> None:
    """Make a private directory; parents that are missing are passable, whatever the umask is."""
    missing = []
    parent = os.path.dirname(path)
    while not os.path.isdir(parent):
        missing.append(parent)
        parent = os.path.dirname(parent)
    durable.make_directories(path, PRIVATE)
    for each in missing:
        os.chmod(each, _PASSABLE)


def _empty(path: str) -> None:
    """Remove all but the mark."""
    try:
        with os.scandir(path) as entries:
            found = [entry for entry in entries if entry.name != MARK]
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                os.unlink(entry.path)
    except OSError as error:
        raise failed("empty", path, error) from error
