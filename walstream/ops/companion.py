"""``walstream metrics`` as a child of ``run``: kept running while the configuration has an address for it.

A process of its own, so that whoever asks for metrics cannot hold up the supervisor, whatever hangs. It ends with
the supervisor, also with one that is killed. Why it ended is said once, and not again as long as that stays so.
"""

from __future__ import annotations

import logging
import random
import signal

from walstream.ops.children import Child, metrics_words
from walstream.ops.supervision import Watched, how_it_ended, note_end, note_start, time_to_wait

log = logging.getLogger("walstream.run")

# It has nothing to bring to an end.
PATIENCE = 5.0


class Companion:
    """Wants no child until ``renew``; ``child`` is ours, if one runs."""

    def __init__(self, log_level: str | None) -> None:
        self.child: Child | None = None
        self._log_level = log_level
        self._watched = Watched(wanted=False, waiting=True)
        self._said: str | None = None
        self._killed = False

    @property
    def is_ending(self) -> bool:
        """Whether a child is still to end that is worth waiting for: not one that the operating system holds."""
        return self.child is not None and not self._killed

    def time_to_wait(self, now: float) -> float:
        """For how many seconds nothing can be due."""
        return time_to_wait(self._watched, now)

    def renew(self, wanted: bool, now: float) -> None:
        """Have it run with the configuration as it is now, or end."""
        self._watched.wanted, self._watched.waiting = wanted, not wanted
        self._watched.failures = 0
        self._watched.next_try = now
        self._said = None
        if self.child is not None and self._watched.told is None:
            self._watched.told = now
            self.child.signal(signal.SIGTERM)

    def look_after(self, config: str, now: float) -> None:
        """Do what is due now."""
        child, told = self.child, self._watched.told
        if child is not None and (code := child.poll()) is not None:
            self._note_end(child, code, now)
        elif child is not None and told is not None and now >= told + PATIENCE:
            self._killed = True
            child.signal(signal.SIGKILL)
        if self.child is None and self._watched.wanted and now >= self._watched.next_try:
            self._start(config, now)

    def _start(self, config: str, now: float) -> None:
        try:
            self.child = Child(metrics_words(config, self._log_level))
        except OSError as error:
            note_end(self._watched, 1, None, now, random.random())
            self._say(f"no metrics: {error}")
        else:
            self._killed = False
            note_start(self._watched, self.child.pid, now)

    def _note_end(self, child: Child, code: int, now: float) -> None:
        ordered, error = self._watched.told is not None, child.error()
        child.close()
        self.child = None
        note_end(self._watched, code, error, now, random.random())
        if self._watched.failures == 1:
            self._said = None  # the first one, or the first since one that has lived for long
        if not ordered:
            self._say(f"no metrics: {how_it_ended(code)}{f': {error}' if error else ''}")

    def _say(self, text: str) -> None:
        if text != self._said:
            log.error("%s; tried again by itself", text)
        self._said = text
