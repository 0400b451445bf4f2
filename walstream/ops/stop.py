"""Ending a server's receiver, whoever started it, so that nobody starts another one."""

from __future__ import annotations

import os
import signal
import socket
import time

from catalog import layout
from catalog.errors import Busy, RepositoryError
from catalog.lock import is_held_by
from catalog.state import mark_stopped, receiver_holder, receiver_lock_path

# An orderly end syncs, archives what is waiting for at most a minute, and takes leave of the server.
PATIENCE = 90.0
POLL = 0.05


def stop_receiver(name: str, repository: str, home: str, patience: float = PATIENCE) -> int | None:
    """Mark the server as stopped, end its receiver and wait until it has ended; its process, None if none ran.

    The mark comes first, so that whoever restarts receivers does not restart this one. ``Busy`` when the
    receiver is part of a backup, or none of this host's, or has not ended in time; the mark stays.
    """
    if not os.path.isdir(os.path.join(home, layout.STATE)):
        raise RepositoryError(
            f"nothing was ever received from {name!r}, so there is nothing to stop",
            "to keep run and cron from receiving, set 'active = false' in its section",
        )
    mark_stopped(home)
    give_up = time.monotonic() + patience
    told = None
    while (found := receiver_holder(home)) is not None:
        host, pid = found
        if told is not None and pid not in (told, 0):
            raise Busy(
                f"process {told} has ended, but process {pid} receives WAL of {name!r} now", "stop it again"
            )
        if told is None and pid:
            _refuse_backup(pid, name, os.path.join(repository, layout.LOCKS, layout.BACKUP_LOCK))
            if not is_visible(pid, receiver_lock_path(home)) and receiver_holder(home) == found:
                host = f"{host}, in another container"
            _tell(host, pid, name)
            told = pid
        if time.monotonic() > give_up:
            raise Busy(
                f"process {pid} still receives WAL of {name!r} after {patience:.0f} s",
                "see its log for what it waits for; it ends by itself when that is over",
            )
        time.sleep(POLL)
    return told


def _refuse_backup(pid: int, name: str, lock: str) -> None:
    if is_held_by(lock, pid):
        raise Busy(
            f"a backup of {name!r} (process {pid}) receives the WAL that it needs by itself",
            "that ends with the backup, and no receiver is started after it",
        )


def is_visible(pid: int, lock: str) -> bool:
    """Whether the kernel says that this process holds the lock, and not one that another container calls so."""
    try:
        inode = os.stat(lock).st_ino
        with open("/proc/locks", encoding="ascii") as file:
            locks = [line.split() for line in file]
    except OSError:
        return True  # a system that does not say
    return any(
        words[1] == "FLOCK" and words[4] == str(pid) and words[5].endswith(f":{inode}")
        for words in locks
        if len(words) > 5
    )


def _tell(host: str, pid: int, name: str) -> None:
    if host != socket.gethostname():
        raise Busy(f"WAL of {name!r} is received by process {pid} on {host!r}", "stop it there")
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        pass  # it is ending already
    except PermissionError:
        raise Busy(
            f"process {pid} receives WAL of {name!r} and belongs to another user", "stop it as that user"
        ) from None
