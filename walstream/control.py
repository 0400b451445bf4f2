"""What others may ask of a running receiver, from any thread or signal handler, and what it lets them know."""

from __future__ import annotations

import time

from catalog.lsn import LSN
from walstream.wakeup import Wakeup


class Control:
    """Stop now, or at a position; and has the first stream begun?"""

    def __init__(self, end_position: LSN | None = None) -> None:
        self.wakeup = Wakeup()
        self.stopping = False
        self.end_position = end_position
        self.streaming = False

    def stop(self) -> None:
        """Ask for an orderly end; safe in a signal handler."""
        self.stopping = True
        self.wakeup.set()

    def stop_at(self, position: LSN) -> None:
        """Ask for an end once everything before ``position`` is flushed."""
        self.end_position = position
        self.wakeup.set()

    def sleep(self, seconds: float) -> None:
        """Sleep, but not past a ``stop``."""
        until = time.monotonic() + seconds
        while not self.stopping and (left := until - time.monotonic()) > 0:
            self.wakeup.clear()
            if self.stopping:
                return
            self.wakeup.wait(left)
