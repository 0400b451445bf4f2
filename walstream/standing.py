"""Where a receiver stands, in words and positions: what its target may publish for ``status``.

Filled by the receiver's thread, read by the same thread. Times are Unix seconds.
"""

from __future__ import annotations

import time

from walstream.session import Session

CONNECTING = "connecting"
STREAMING = "streaming"
WAITING = "waiting"
ENDED = "ended"

# A shorter stream than this, in seconds, is one more try.
BRIEF = 10.0


class Standing:
    """One receiver's standing; ``session`` is the newest stream's, None until there was one.

    ``since`` is when it began to stream, or when it last ceased to: trying again and again is one long wait, also
    when a try streams for a moment.
    ``trouble`` says why the receiver is waiting, or ended. ``names_us``: the server's
    ``synchronous_standby_names`` names this receiver.
    """

    def __init__(self, slot: str | None) -> None:
        self.phase = CONNECTING
        self.since = time.time()
        self._without_stream = self.since
        self.trouble: str | None = None
        self.host: str | None = None
        self.slot = slot
        self.synchronous = False
        self.names_us = False
        self.timeline = 0
        self.session: Session | None = None

    def enter(self, phase: str, trouble: str | None = None) -> None:
        """Begin a phase; ``trouble`` is said as long as it lasts."""
        now = time.time()
        if phase == STREAMING and self.phase != STREAMING:
            self._without_stream, self.since = self.since, now
        elif self.phase == STREAMING and phase != STREAMING:
            self.since = self._without_stream if now - self.since < BRIEF else now
        self.phase = phase
        self.trouble = trouble
