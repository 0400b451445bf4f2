"""What ``walstream run`` knows about one server, for ``status``: ``state/supervisor.json``.

Like the receiver's state it is replaced atomically and never synced, because losing it loses nothing. Whether
its writer is alive is told by the lock of which a home has one, beside the servers' directories.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass

from catalog import durable, layout
from catalog.lock import Lock, is_held_by, running_holder
from catalog.published import publish

# No server can be called so.
_LOCK = ".run.lock"
_FILE = "supervisor.json"


@dataclass(frozen=True, slots=True)
class SupervisorState:
    """``pid`` is the supervisor's, ``at`` when it wrote this; times are Unix times.

    ``child`` is the receiver's process and ``started`` its beginning, both None while there is none: then
    ``next_try`` says when the next one is due, None when none is to run or somebody else receives.
    ``restarts`` counts receivers after the first; ``last_exit`` is how the one before ended, negative by a
    signal, and ``last_error`` what it said, on one line.
    """

    pid: int
    at: float
    child: int | None
    started: float | None
    restarts: int
    next_try: float | None
    last_exit: int | None
    last_error: str | None


def supervisor_lock(walstream_home: str) -> Lock:
    """The lock that ``walstream run`` holds."""
    return Lock(supervisor_lock_path(walstream_home), f"supervising the servers of {walstream_home!r}")


def supervisor_lock_path(walstream_home: str) -> str:
    """Where that lock is."""
    return os.path.join(walstream_home, _LOCK)


def supervisor_holder(walstream_home: str) -> tuple[str, int] | None:
    """Host and process (0: not known) of the ``walstream run`` that runs right now; None when none does."""
    return running_holder(supervisor_lock_path(walstream_home))


def write_supervisor_state(home: str, state: SupervisorState) -> None:
    """Replace the published state; ``OSError`` when that fails."""
    publish(_path(home), asdict(state))


def read_supervisor_state(home: str) -> SupervisorState | None:
    """The state published last, or None when there is none that can be read."""
    try:
        with open(_path(home), encoding="utf-8") as file:
            return SupervisorState(**json.load(file))
    except (OSError, ValueError, TypeError):
        return None


def live_supervisor_state(home: str) -> SupervisorState | None:
    """What the supervisor that runs right now has published; None when none runs, or has not said anything."""
    state = read_supervisor_state(home)
    path = os.path.join(os.path.dirname(os.path.abspath(home)), _LOCK)
    return state if state is not None and is_held_by(path, state.pid) else None


def remove_supervisor_state(home: str) -> None:
    """Take back what was published; harmless when there is nothing."""
    durable.remove_if_present(_path(home))


def _path(home: str) -> str:
    return os.path.join(home, layout.STATE, _FILE)
