"""The receiver's standing and the archiver's, published together in the state directory a few times a second."""

from __future__ import annotations

import logging
import os
import time

from catalog.local_storage import failed
from catalog.lsn import LSN
from catalog.state import ReceiverState, write_receiver_state
from walstream.archiver import Archiver
from walstream.session import UNKNOWN
from walstream.standing import Standing

log = logging.getLogger("walstream.receiver")

EVERY = 0.25
AT_REST = 0.02


class Publisher:
    """Publishes in ``home``; ``segment_size`` in bytes."""

    def __init__(self, home: str, archiver: Archiver, segment_size: int) -> None:
        self._home = home
        self._archiver = archiver
        self._segment_size = segment_size
        self._started = time.time()
        self._published = 0.0
        self._known: tuple[str, LSN | None] = ("", None)
        self._flushed: LSN | None = None
        self._moved = 0.0
        self._failing = False

    def publish(self, standing: Standing) -> None:
        """Publish, unless that was done a moment ago.

        Sooner when the phase has changed, or the flushed position and come to rest: while it moves with every
        commit, publishing each would take as long as the commits do.
        """
        now = time.monotonic()
        session = standing.session
        flushed = session.flushed if session else None
        if flushed != self._flushed:
            self._flushed, self._moved = flushed, now
        known = (standing.phase, flushed)
        news = known != self._known and now - self._moved >= AT_REST
        if known[0] == self._known[0] and now - self._published < (AT_REST if news else EVERY):
            return
        self._published, self._known = now, known
        try:
            write_receiver_state(self._home, self._state(standing, now))
        except OSError as error:
            if not self._failing:
                log.warning("%s; receiving goes on", failed("write", self._home, error))
            self._failing = True
        else:
            if self._failing:
                log.info("the receiver's state can be written again")
            self._failing = False

    def _state(self, standing: Standing, now: float) -> ReceiverState:
        session, archiver = standing.session, self._archiver
        waiting, trouble = archiver.waiting, archiver.trouble
        return ReceiverState(
            pid=os.getpid(),
            at=time.time(),
            started=self._started,
            phase=standing.phase,
            since=standing.since,
            trouble=standing.trouble,
            host=standing.host,
            slot=standing.slot,
            synchronous=standing.synchronous,
            named=standing.names_us,
            withheld=standing.names_us and session is not None and session.ceiling == UNKNOWN,
            timeline=standing.timeline,
            written=session.written if session else LSN(0),
            flushed=session.flushed if session else LSN(0),
            server=session.server_end if session else LSN(0),
            lag=round(session.lag(now), 3) if session else 0.0,
            last_archived=archiver.last_archived,
            last_archived_at=archiver.last_archived_at,
            waiting=waiting,
            spooled=waiting * self._segment_size,
            archive_trouble=trouble.message if trouble else None,
        )
