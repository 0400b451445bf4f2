"""Telling the supervisor, and whoever receives a server's WAL, that its settings have changed."""

from __future__ import annotations

import os
import signal
import socket
import time
from dataclasses import dataclass

from catalog import layout
from catalog.errors import Busy
from catalog.lock import is_held_by
from catalog.state import receiver_holder, receiver_lock_path
from catalog.supervisor_state import read_supervisor_state, supervisor_holder, supervisor_lock_path
from walstream.ops.stop import is_visible

SIGNING = 5.0
POLL = 0.05


@dataclass(frozen=True, slots=True)
class Told:
    """Who was told: ``supervisor`` and ``receiver`` are processes, None where none runs.

    ``is_backup``: the one that receives is a backup, which is left alone: it keeps the settings it began with.
    """

    supervisor: int | None = None
    receiver: int | None = None
    is_backup: bool = False


def renew_receiver(name: str, repository: str, home: str, *, wanted: bool) -> Told:
    """Have ``run`` and the receiver take new settings; with ``wanted`` false the receiver ends.

    ``Busy`` when one of them is none of this host's, or another user's: it keeps the settings that it has.
    """
    root = os.path.dirname(home)
    supervisor = _told(supervisor_holder(root), supervisor_lock_path(root), signal.SIGHUP, "walstream run")
    found = _signed(home)
    if found is None:
        return Told(supervisor)
    if _is_backup(found[1], repository):
        return Told(supervisor, found[1], is_backup=True)
    state = read_supervisor_state(home)
    if supervisor is not None and state is not None and (state.pid, state.child) == (supervisor, found[1]):
        return Told(supervisor, found[1])  # it passes the signal on
    signum = signal.SIGHUP if wanted else signal.SIGTERM
    return Told(supervisor, _told(found, receiver_lock_path(home), signum, f"the receiver of {name!r}"))


def _signed(home: str) -> tuple[str, int] | None:
    """Who holds the receiver's lock; one that has only just got it is waited for, until it has signed."""
    give_up = time.monotonic() + SIGNING
    while (found := receiver_holder(home)) is not None and not found[1] and time.monotonic() < give_up:
        time.sleep(POLL)
    return found


def _is_backup(pid: int, repository: str) -> bool:
    lock = os.path.join(repository, layout.LOCKS, layout.BACKUP_LOCK)
    return is_held_by(lock, pid)


def _told(found: tuple[str, int] | None, lock: str, signum: int, what: str) -> int | None:
    if found is None:
        return None
    host, pid = found
    restart = "restart it there: until then it has the former settings"
    if host != socket.gethostname() or not pid or not is_visible(pid, lock):
        raise Busy(
            f"{what} runs as process {pid} on {host!r}, and cannot be told of the new settings", restart
        )
    try:
        os.kill(pid, signum)
    except ProcessLookupError:
        return None  # it has just ended, and whoever starts the next one reads the settings anew
    except PermissionError:
        raise Busy(
            f"{what}, process {pid}, belongs to another user and cannot be told of the new settings",
            "send it a SIGHUP as that user: until then it has the former settings",
        ) from None
    return pid
