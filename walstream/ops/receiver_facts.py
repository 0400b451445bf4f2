"""The receiver as its files show it: its lock, what it publishes, what waits in the spool. Offline."""

from __future__ import annotations

import os
from dataclasses import dataclass

from catalog import layout
from catalog.local_storage import failed
from catalog.lock import is_held
from catalog.lsn import LSN
from catalog.state import (
    ReceiverState,
    is_stopped,
    live_receiver_state,
    read_receiver_state,
    receiver_lock_path,
    receiver_since,
)
from catalog.supervisor_state import SupervisorState, live_supervisor_state
from walstream.archiver import complete_segments
from walstream.standing import ENDED, STREAMING

# One that streams publishes at least every half minute, when it asks the server for a sign of life, unless it hangs
# or cannot write.
QUIET = 40.0


@dataclass(frozen=True, slots=True)
class SpoolFacts:
    """Complete segments that are not yet in the repository; ``since`` (Unix time) the oldest of them waits."""

    segments: int
    nbytes: int
    since: float | None


@dataclass(frozen=True, slots=True)
class ReceiverFacts:
    """``state`` is what the running receiver has published, or the last one that ran; None if there is nothing.

    ``since`` (Unix time) the lock of a running one is held.
    ``stopped``: whoever stopped the last one wanted that no other is started by itself. ``supervisor`` is what
    a running ``walstream run`` knows of it.
    """

    running: bool
    state: ReceiverState | None
    spool: SpoolFacts
    stopped: bool = False
    since: float | None = None
    supervisor: SupervisorState | None = None

    @property
    def live(self) -> ReceiverState | None:
        """The state of a receiver that runs."""
        return self.state if self.running else None

    @property
    def ended_with(self) -> ReceiverState | None:
        """The state of one that runs no more, if it said what ended it."""
        state = self.state
        if self.running or state is None or state.phase != ENDED or state.trouble is None:
            return None
        return state


@dataclass(frozen=True, slots=True)
class Lag:
    """How far what is flushed here is behind the server."""

    nbytes: int
    seconds: float


def receiver_facts(home: str) -> ReceiverFacts:
    """Look; ``StorageError`` when something cannot be read."""
    running = is_held(receiver_lock_path(home))
    state = live_receiver_state(home) if running else read_receiver_state(home)
    spool = _spool_facts(os.path.join(home, layout.STREAMING))
    since = receiver_since(home) if running else None
    return ReceiverFacts(running, state, spool, is_stopped(home), since, live_supervisor_state(home))


def lag_of(state: ReceiverState, server: tuple[int, LSN] | None, now: float) -> Lag:
    """The lag; ``server`` is the timeline and position that the server itself has told just now."""
    end = state.server
    if server is not None and server[0] == state.timeline:
        end = max(end, server[1])
    behind = max(0, end - state.flushed)
    if not behind:
        return Lag(0, state.lag)
    # What a receiver that no longer publishes had not flushed, it has not flushed since.
    seconds = state.lag + max(0.0, now - state.at) if state.lag else 0.0
    if now - state.at > QUIET:
        seconds = max(seconds, now - state.at)
    # One without a stream does not learn what the server writes: it is behind since it lost the stream.
    return Lag(behind, seconds if state.phase == STREAMING else max(seconds, now - state.since))


def _spool_facts(directory: str) -> SpoolFacts:
    names = complete_segments(directory) if os.path.isdir(directory) else []
    found = []
    for name in names:
        try:
            found.append(os.stat(os.path.join(directory, name)))
        except FileNotFoundError:
            continue  # archived meanwhile
        except OSError as error:
            raise failed("read", os.path.join(directory, name), error) from error
    since = min((each.st_mtime for each in found), default=None)
    return SpoolFacts(len(found), sum(each.st_size for each in found), since)
