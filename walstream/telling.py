"""What the log is told of a receiver's ups and downs: once when it breaks or pauses, once when it works again.

A stream works when something has come over it, or, on a server that is idle, when it has lasted for a moment: a
server may agree to stream and say only then that it cannot.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from catalog.errors import WalstreamError, one_line
from catalog.units import duration
from walstream.outage import Outage
from walstream.resume import Start
from walstream.standing import Standing
from walstream.streaming import Listener

log = logging.getLogger("walstream.receiver")

# So many seconds of a stream on which nothing comes.
A_MOMENT = 1.0


class Telling:
    """One receiver's; all on its thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._outage = Outage()

    def broke(self, error: WalstreamError, pause: float) -> None:
        """It is tried again after ``pause`` seconds."""
        if self._outage.failed(error.message, self._clock()):
            log.warning("%s; trying again until it works", one_line(error))
        log.debug("trying again in %.1f s: %s", pause, error)

    def pauses(self, error: WalstreamError) -> None:
        """Nothing is received until that is over."""
        if self._outage.failed(error.message, self._clock()):
            log.error("receiving pauses: %s", one_line(error))

    def stream(self, start: Start, listener: Listener) -> Told:
        """A listener of the stream that begins there."""
        return Told(start, listener, self._outage, self._clock)


class Told:
    """The listener ``through`` which a stream is heard; what comes first, and what lasts, is told to the log."""

    def __init__(
        self, start: Start, through: Listener, outage: Outage, clock: Callable[[], float] = time.monotonic
    ) -> None:
        # Asked in each turn of a stream: nothing in between.
        self.has_open_gap = through.has_open_gap
        self.require_room = through.require_room
        self.raise_error = through.raise_error
        self._note = through.note
        self._start = start
        self._outage = outage
        self._clock = clock
        self._began = clock()
        self._is_new = not outage.is_on
        self._is_done = False

    def note(self, standing: Standing) -> None:
        """Pass it on, and say what there is to say."""
        self._note(standing)
        if not self._is_done:
            self._look(standing)

    def _look(self, standing: Standing) -> None:
        now, session = self._clock(), standing.session
        has_come = session is not None and session.server_end > self._start.position
        if not has_come and now < self._began + A_MOMENT:
            return
        after = self._outage.works(now)
        if self._is_new or after is not None:
            again = "" if after is None else f" again, after {duration(after)}"
            start, seconds = self._start, None if after is None else round(after, 1)
            about = {"timeline": start.timeline, "position": start.position, "seconds": seconds}
            log.info("streaming timeline %d from %s%s", start.timeline, start.position, again, extra=about)
        self._is_new = False
        self._is_done = not self._outage.is_on
