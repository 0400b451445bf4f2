"""What a running receiver publishes, and ``status`` and waiting backups read: ``state/receiver.json``.

Losing it loses nothing, so it is replaced atomically but never synced. Whether it is alive is
told by the receiver's lock, not by this file.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from datetime import datetime

from catalog import durable, layout
from catalog.errors import Malformed
from catalog.local_storage import failed
from catalog.lock import holder, is_held_by, running_holder
from catalog.lsn import LSN
from catalog.published import publish

RECEIVER_LOCK = "receiver.lock"
_FILE = "receiver.json"
_POSITIONS = ("written", "flushed", "server")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverState:
    """Where a receiver stands. Times are Unix seconds; positions belong to ``timeline`` (0 before the first).

    ``phase`` is ``connecting``, ``streaming``, or ``waiting`` for the next try; ``since`` is when it began to
    stream, or ceased to. ``trouble`` says why, ``archive_trouble`` why nothing can be written to the
    repository. ``named``: the server's ``synchronous_standby_names`` names this receiver; ``withheld``: for an
    open gap it is told of no flushed position. ``server`` is what the server is known to have, ``lag`` for how
    many seconds of it something has not been flushed. ``waiting`` segments, ``spooled`` bytes, are not yet in
    the repository.
    """

    pid: int
    at: float
    started: float
    phase: str
    since: float
    trouble: str | None
    host: str | None
    slot: str | None
    synchronous: bool
    named: bool
    withheld: bool
    timeline: int
    written: LSN
    flushed: LSN
    server: LSN
    lag: float
    last_archived: str | None
    last_archived_at: float | None
    waiting: int
    spooled: int
    archive_trouble: str | None


def receiver_lock_path(home: str) -> str:
    """The lock that a running receiver holds."""
    return os.path.join(home, layout.STATE, RECEIVER_LOCK)


def write_receiver_state(home: str, state: ReceiverState) -> None:
    """Replace the published state; ``OSError`` when that fails."""
    path = os.path.join(home, layout.STATE, _FILE)
    document = asdict(state) | {key: str(getattr(state, key)) for key in _POSITIONS}
    publish(path, document)


def read_receiver_state(home: str) -> ReceiverState | None:
    """The state published last, or None when there is none that can be read."""
    try:
        with open(os.path.join(home, layout.STATE, _FILE), encoding="utf-8") as file:
            found = json.load(file)
        positions = {key: LSN.parse(str(found[key])) for key in _POSITIONS}
        return ReceiverState(**{**found, **positions})
    except (OSError, ValueError, KeyError, TypeError, Malformed):
        return None


def live_receiver_state(home: str) -> ReceiverState | None:
    """What the receiver that holds the lock right now has published; None when it has not yet, or none runs."""
    path = receiver_lock_path(home)
    state = read_receiver_state(home)
    if state is None or not is_held_by(path, state.pid):
        return None
    # In containers the process of one life has the number of that of the one before.
    since = receiver_since(home)
    return state if since is None or state.at >= since else None


def receiver_since(home: str) -> float | None:
    """Since when (Unix time) the receiver's lock is held; None when that is not known."""
    started = (holder(receiver_lock_path(home)) or {}).get("started")
    try:
        return datetime.fromisoformat(str(started)).timestamp()
    except ValueError:
        return None


def receiver_holder(home: str) -> tuple[str, int] | None:
    """Host and process (0: not known) of whoever holds the receiver's lock right now; None when it is free."""
    return running_holder(receiver_lock_path(home))


def mark_stopped(home: str) -> None:
    """Note durably that no receiver is to be started except by an explicit order; the state is there already."""
    try:
        durable.write_file(_stopped_path(home), b"receiving was stopped; 'walstream receive-wal' ends that\n")
    except OSError as error:
        raise failed("write", _stopped_path(home), error) from error


def clear_stopped(home: str) -> None:
    """Forget ``mark_stopped``, durably."""
    try:
        if is_stopped(home):
            durable.remove(_stopped_path(home))
    except FileNotFoundError:
        pass  # somebody else was faster
    except OSError as error:
        raise failed("remove", _stopped_path(home), error) from error


def is_stopped(home: str) -> bool:
    """Whether ``mark_stopped`` was the last word."""
    return os.path.exists(_stopped_path(home))


def _stopped_path(home: str) -> str:
    return os.path.join(home, layout.STATE, "stopped")
