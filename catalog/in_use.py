"""A backup that is being restored is not removed meanwhile: ``flock`` on its record, shared or exclusive.

Readers ask for nothing else, and need no right to write. Where a file system knows no such locks all goes on
without: a restore whose backup is taken away then fails, and says so.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager

from catalog import layout
from catalog.errors import Absent, Busy
from catalog.repository import Repository

# Whoever only looks (is_read) has the lock for an instant: one failure proves nothing.
PATIENCE = 0.5
POLL = 0.05


@contextmanager
def being_read(repository: Repository, ids: Iterable[str]) -> Iterator[None]:
    """Keep backups from being removed; ``Absent`` when one is gone, ``Busy`` when it is just going."""
    with ExitStack() as locks:
        for each in ids:
            give_up = time.monotonic() + PATIENCE
            while not _lock(repository, each, os.O_RDONLY, fcntl.LOCK_SH, locks):
                if time.monotonic() > give_up:
                    raise Busy(f"backup {each} is being removed just now", "choose another backup")
                time.sleep(POLL)
        yield


@contextmanager
def being_removed(repository: Repository, backup_id: str) -> Iterator[Callable[[], None]]:
    """Let nobody begin to read a backup; ``Busy`` when it is being read.

    Yields what lets go of it, to be called when its record is gone: on NFS a file that is open, though removed, is
    in the way of removing its directory.
    """
    with ExitStack() as locks:
        if not _lock(repository, backup_id, os.O_RDWR, fcntl.LOCK_EX, locks):
            raise in_use(backup_id)
        yield locks.close


def is_read(repository: Repository, backup_id: str) -> bool:
    """Whether a backup is being read."""
    with ExitStack() as locks:
        return not _lock(repository, backup_id, os.O_RDWR, fcntl.LOCK_EX, locks)


def in_use(backup_id: str) -> Busy:
    """What keeps a backup from being removed."""
    return Busy(f"backup {backup_id} is being restored", "wait for that restore, or stop it")


def _lock(repository: Repository, backup_id: str, flags: int, kind: int, locks: ExitStack) -> bool:
    """Take a lock on a record into ``locks``; False when somebody else has one that does not go with it."""
    try:
        fd = os.open(repository.storage.path(layout.backup_key(backup_id, layout.RECORD)), flags)
    except FileNotFoundError:
        if kind == fcntl.LOCK_EX:
            return True  # without a record it is no backup, and cannot be restored
        raise Absent(f"backup {backup_id} was removed meanwhile", "choose another backup") from None
    except OSError:
        return True
    locks.callback(os.close, fd)
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    if kind == fcntl.LOCK_SH and os.fstat(fd).st_nlink == 0:
        raise Absent(f"backup {backup_id} was removed meanwhile", "choose another backup")
    return True
