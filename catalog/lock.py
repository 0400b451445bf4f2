"""One writer at a time: ``flock`` on a file that says who holds it.

The kernel drops the lock when the holder dies, so a lock is never stale; the JSON inside is only
for people (host, pid, since when, what). Readers need no lock.
"""

from __future__ import annotations

import calendar
import errno
import fcntl
import json
import os
import socket
import time
from types import TracebackType

from catalog import durable
from catalog.errors import Busy
from catalog.local_storage import failed

_FULL = (errno.ENOSPC, errno.EDQUOT)
_TIME = "%Y-%m-%dT%H:%M:%SZ"


class Lock:
    """An exclusive lock on ``path``, held from ``acquire`` (or ``with``) to ``release``.

    ``what`` is what its holder does: ``receiving WAL of 'main'``.
    With ``unsigned_when_full`` a disk without room for what is written into it keeps nobody from taking it.
    """

    def __init__(self, path: str, what: str, *, unsigned_when_full: bool = False) -> None:
        self.path = path
        self._what = what
        self._unsigned_when_full = unsigned_when_full
        self._fd = -1

    def acquire(self, wait: float = 0.0) -> Lock:
        """Take the lock, trying for ``wait`` seconds; ``Busy`` names the holder."""
        # Whoever only looks (is_held) has the lock for an instant: one failure proves nothing.
        give_up = time.monotonic() + max(wait, 0.2)
        try:
            durable.make_directories(os.path.dirname(self.path))
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT, durable.FILE_MODE)
        except OSError as error:
            raise failed("lock", self.path, error) from error
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() < give_up:
                    time.sleep(0.05)
                    continue
                os.close(fd)
                found = holder(self.path)
                raise Busy(f"{_describe(found)} is {self._what}", _how_to_look(found)) from None
            except OSError as error:
                os.close(fd)
                raise failed("lock", self.path, error) from error
        self._fd = fd
        try:
            self._sign()
        except OSError as error:
            if self._unsigned_when_full and error.errno in _FULL:
                return self
            self.release()
            raise failed("write", self.path, error) from error
        return self

    def release(self) -> None:
        """Let go; harmless when not held."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            try:
                os.ftruncate(fd, 0)
            except OSError:
                pass  # what stays in the file is only for people, and without the lock it means nothing
            os.close(fd)

    def __enter__(self) -> Lock:
        return self if self._fd >= 0 else self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _sign(self) -> None:
        text = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": time.strftime(_TIME, time.gmtime()),
            "command": self._what,
        }
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, json.dumps(text).encode(), 0)


def is_held(path: str) -> bool:
    """Whether somebody holds the lock at ``path`` right now."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise failed("read", path, error) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def holder(path: str) -> dict[str, object] | None:
    """What the holder of a lock wrote into it, or None when that cannot be read."""
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def is_held_by(path: str, pid: int) -> bool:
    """Whether the lock is held right now, and by this process, as far as its holder has signed."""
    return is_held(path) and (holder(path) or {}).get("pid") == pid


def running_holder(path: str) -> tuple[str, int] | None:
    """Host and process of whoever holds the lock right now; None when it is free.

    Process 0 when that is not known: the holder signs only after it has the lock.
    """
    if not is_held(path):
        return None
    found = holder(path) or {}
    pid = found.get("pid")
    return str(found.get("host", "")), pid if isinstance(pid, int) else 0


def _describe(found: dict[str, object] | None) -> str:
    if not found:
        return "another process"
    return f"process {found.get('pid')} on {found.get('host')} since {_local_time(str(found.get('started')))}"


def _local_time(started: str) -> str:
    try:
        moment = calendar.timegm(time.strptime(started, _TIME))
    except ValueError:
        return started
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))


def _how_to_look(found: dict[str, object] | None) -> str:
    if not found:
        return "wait for it; what runs is shown by: ps -ef | grep walstream"
    there = "" if found.get("host") == socket.gethostname() else f" on {found.get('host')}"
    return f"wait for it, or see what it does, and stop it{there}: ps -fp {found.get('pid')}"
