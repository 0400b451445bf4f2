"""What a supervisor does about one server, and when. Pure: time (monotonic, in seconds) and chance are arguments.

A receiver that ends without having been told to is started again after a pause, longer each time until one has
lived for a minute. One that is to end is told once, and killed when it does not.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from enum import Enum

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
SETTLED = 60.0
PATIENCE = 90.0
LOOK = 5.0


class Step(Enum):
    """What is to be done about a server now."""

    NOTHING = "nothing"
    START = "start a receiver"
    TELL = "tell the receiver to end"
    KILL = "kill the receiver"


@dataclass(slots=True)
class Watched:
    """What is known about one server's receiver; ``child`` is its process, None while none of ours runs.

    ``told`` is when it was told to end; ``failures`` counts those in a row, ``starts`` all receivers.
    ``waiting`` while somebody else receives, or nobody shall.
    """

    wanted: bool = True
    waiting: bool = False
    child: int | None = None
    started: float = 0.0
    told: float | None = None
    starts: int = 0
    failures: int = 0
    next_try: float = 0.0
    last_exit: int | None = None
    last_error: str | None = None


def next_step(watched: Watched, *, stopped: bool, held: bool, now: float) -> Step:
    """What to do: ``stopped`` by an operator; the lock ``held`` by a receiver that is not ours."""
    shall_run = watched.wanted and not stopped
    if watched.child is None:
        watched.waiting = held or not shall_run
        return Step.START if not watched.waiting and now >= watched.next_try else Step.NOTHING
    if watched.told is not None:
        return Step.KILL if now >= watched.told + PATIENCE else Step.NOTHING
    return Step.NOTHING if shall_run else Step.TELL


def note_start(watched: Watched, child: int, now: float) -> None:
    """A receiver was started."""
    watched.child = child
    watched.started = now
    watched.told = None
    watched.starts += 1


def note_end(watched: Watched, code: int, error: str | None, now: float, chance: float) -> None:
    """Our receiver has ended; ``chance``, from 0 to 1, spreads the restarts of many servers."""
    failed = watched.told is None
    settled = now - watched.started >= SETTLED
    watched.failures = 0 if not failed else 1 if settled else watched.failures + 1
    pause = min(FIRST_PAUSE * 2 ** min(watched.failures - 1, 10), LONGEST_PAUSE) if failed else 0.0
    watched.next_try = now + pause * (1.0 - chance / 4)
    watched.child = watched.told = None
    watched.last_exit = code
    watched.last_error = error


def time_to_wait(watched: Watched, now: float) -> float:
    """For how long nothing can be due, at most ``LOOK``: what others do shows only by looking."""
    if watched.child is None and not watched.waiting:
        return min(max(watched.next_try - now, 0.0), LOOK)
    if watched.told is not None:
        return min(max(watched.told + PATIENCE - now, 0.0), LOOK)
    return LOOK


def how_it_ended(code: int) -> str:
    """``exit code 1``, or ``killed by SIGKILL`` when the code is that of a signal."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"  # the real-time ones have no names
