"""Publishing what a supervisor knows about a server: when it changes, and every half minute."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import astuple

from catalog import layout
from catalog.supervisor_state import SupervisorState, write_supervisor_state
from walstream.ops.supervision import Watched

log = logging.getLogger("walstream.run")

EVERY = 30.0


class Publisher:
    """Writes ``state/supervisor.json`` of one server."""

    def __init__(self, home: str) -> None:
        self._home = home
        self._last: tuple[object, ...] = ()
        self._at = 0.0
        self._failing = False

    def publish(self, watched: Watched, now: float) -> None:
        """Publish what is known; ``now`` by the monotonic clock, by which ``watched`` has its times."""
        facts = astuple(watched)
        if facts == self._last and now < self._at + EVERY:
            return
        if not os.path.isdir(os.path.join(self._home, layout.STATE)):
            return  # the first connection makes it
        try:
            write_supervisor_state(self._home, state_of(watched, os.getpid(), now, time.time()))
        except OSError as error:
            if not self._failing:
                log.warning("the state of %s cannot be published: %s", self._home, error)
            self._failing = True
        else:
            self._failing = False
        self._last, self._at = facts, now


def state_of(watched: Watched, pid: int, now: float, wall: float) -> SupervisorState:
    """The same facts with times that other processes understand."""
    runs = watched.child is not None
    return SupervisorState(
        pid=pid,
        at=wall,
        child=watched.child,
        started=wall - (now - watched.started) if runs else None,
        restarts=max(watched.starts - 1, 0),
        next_try=None if runs or watched.waiting else wall + max(watched.next_try - now, 0.0),
        last_exit=watched.last_exit,
        last_error=watched.last_error,
    )
