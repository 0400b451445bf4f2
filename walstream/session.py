"""The state of one WAL stream: messages, positions and time in, what to do out.

Pure: knows no socket, file, thread or clock. The receiver hands it each message and each change of
the written and flushed position, asks it for the status update that is due, and sleeps until
``deadline``. The rules are those a primary relies on (PostgreSQL: ``walsender.c``):

* positions are only ever reported as facts: written is what was handed to the file, flushed what
  was synced, and flushed is 0 unless the destination is durable;
* a reply is owed at connect, after each sync that moved the flushed position, every
  ``status_interval``, and when the server asks;
* when the server asks, everything received is synced first: a stale answer makes a server that
  shuts down ask again at once, thousands of times a second. After a second it is answered anyhow;
* a server that is silent for half of ``timeout`` is asked for a sign of life, and after all of it
  the connection is lost.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from catalog.errors import ConnectionLost, ProtocolError
from catalog.lsn import LSN
from walstream.messages import Keepalive, WalData, parse, status_update

UNKNOWN = LSN(0)
REPLY_PATIENCE = 1.0
LAG_SAMPLES = 240
LAG_RESOLUTION = 0.25


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """How a stream reports; times in seconds, ``status_interval`` 0 for only when asked."""

    status_interval: float = 10.0
    timeout: float = 60.0
    report_flush: bool = True
    report_applied: bool = False
    whole_segments: bool = False
    """The destination can make only whole segments durable, so a request in mid-segment is answered with the
    written position alone: a server that shuts down would wait for the flushed one for ever."""


class Session:
    """One stream on one timeline, from ``start``; ``now`` is any steady clock, in seconds."""

    def __init__(self, start: LSN, options: SessionOptions, now: float) -> None:
        self.start = start
        self._received = start.value
        self.written = start
        self.flushed = start
        self._server_end = start.value
        self._options = options
        self._reported: LSN | None = None
        self._last_sent = now
        self._last_heard = now
        self._asked_server = False
        self._heard = False
        self._owed_since: float | None = None
        self._owed_position = start
        self._unflushed: deque[tuple[int, float]] = deque()
        self.ceiling: LSN | None = None
        """No flushed position behind this is reported, so that no synchronous commit is released; 0/0: none."""

    @property
    def received(self) -> LSN:
        """Behind the last byte that arrived."""
        return LSN(self._received)

    @property
    def server_end(self) -> LSN:
        """How far the server is known to be."""
        return LSN(self._server_end)

    def receive(self, message: bytes | memoryview, now: float) -> WalData | None:
        """Take in one message; returns the WAL to be written, if it brought any."""
        parsed = parse(message)
        self._last_heard = now
        self._heard = True
        self._asked_server = False
        if isinstance(parsed, Keepalive):
            self._note_server_end(parsed.position.value, now)
            if parsed.reply_requested:
                self._owed_position = self.received
                self._owed_since = now if self._owed_since is None else self._owed_since
            return None
        if parsed.raw_start != self._received:
            raise ProtocolError(
                f"the server sent WAL from {parsed.start} where {self.received} was due",
                "the connection is dropped and the stream is started again",
            )
        self._received = end = parsed.raw_start + len(parsed.payload)
        self._note_server_end(max(parsed.raw_server_end, end), now)
        return parsed

    def not_listening(self, now: float) -> None:
        """Note that nothing is read from the server just now, so that its silence means nothing."""
        self._last_heard = max(self._last_heard, now)

    def advance(self, written: LSN, flushed: LSN) -> None:
        """Note what the destination has written and synced."""
        if written > self.written:
            self.written = written
        if flushed > self.flushed:
            self.flushed = min(flushed, self.written)
        while self._unflushed and self._unflushed[0][0] <= self.flushed.value:
            self._unflushed.popleft()

    def lag(self, now: float) -> float:
        """For how many seconds the oldest WAL that is not yet flushed has been known to be on the server.

        In steps of ``LAG_RESOLUTION``; 0 when everything is flushed.
        """
        return max(0.0, now - self._unflushed[0][1]) if self._unflushed else 0.0

    def _note_server_end(self, position: int, now: float) -> None:
        if position <= self._server_end:
            return
        self._server_end = position
        samples = self._unflushed
        # A full list keeps its old moments, and so the lag stays true; new ones find room as the old are flushed.
        if len(samples) < LAG_SAMPLES and (not samples or now >= samples[-1][1] + LAG_RESOLUTION):
            samples.append((position, now))

    @property
    def sync_wanted(self) -> bool:
        """Whether the server waits for an answer that needs a sync first."""
        return (
            self._owed_since is not None and self._options.report_flush and self.flushed < self._owed_position
        )

    def due(self, now: float, wall: float) -> bytes | None:
        """The status update to send now, or None; ``wall`` is Unix time for the message.

        Raises ``ConnectionLost`` when the server has been silent for too long.
        """
        if now >= self._given_up:
            raise ConnectionLost(f"the server has sent nothing for {now - self._last_heard:.0f} seconds")
        ask = not self._asked_server and now >= self._to_be_asked
        if not (ask or self._is_due(now)):
            return None
        self._asked_server = self._asked_server or ask
        unknown = self._owed_since is not None and self._answers_unknown(now)
        return self._update(now, wall, ask, unknown=unknown)

    def final(self, now: float, wall: float) -> bytes:
        """The last status update, sent before the stream is closed."""
        return self._update(now, wall, False, unknown=self._options.whole_segments)

    def deadline(self, now: float) -> float:
        """How many seconds from ``now`` the receiver may sleep before it asks ``due`` again."""
        if self._moved:
            return 0.0
        moments = [self._given_up]
        if not self._asked_server:
            moments.append(self._to_be_asked)
        if self._owed_since is not None:
            moments.append(self._owed_since + (REPLY_PATIENCE if self.sync_wanted else 0.0))
        elif self._options.status_interval:
            moments.append(self._last_sent + self._options.status_interval)
        return max(0.0, min(moments) - now)

    # Moments are compared with ``now`` here and in ``deadline`` alike: a difference that is rounded another
    # way would make the receiver ask again and again for an instant.

    @property
    def _given_up(self) -> float:
        return self._last_heard + self._options.timeout

    @property
    def _to_be_asked(self) -> float:
        return self._last_heard + self._options.timeout / 2

    def _is_due(self, now: float) -> bool:
        if self._reported is None:
            return True
        if self._moved:
            return True
        if self._owed_since is not None:
            return not self._reply_must_wait(now)
        interval = self._options.status_interval
        return bool(interval) and now >= self._last_sent + interval

    def _answers_unknown(self, now: float) -> bool:
        """Note that the server has its answer, unless that must wait; whether it is to name no flushed position."""
        waits = self._reply_must_wait(now)
        overdue = self.sync_wanted and not waits
        if not waits:
            self._owed_since = None
        # A server that shuts down waits until what it sent is flushed; of a position that is kept back it would
        # never hear, and ask without end. Told of none it is content with the written one.
        kept_back = self._reportable < min(self.flushed, self._owed_position)
        return (overdue and self._options.whole_segments) or (self.ceiling is not None and kept_back)

    @property
    def _moved(self) -> bool:
        """Whether there is a flushed position to report that was not, or none any more."""
        if self._reported is None:
            return False
        reportable = self._reportable
        return reportable > self._reported or reportable == UNKNOWN != self._reported

    @property
    def _reportable(self) -> LSN:
        # A stream of which nothing was heard may be one that cannot begin; its start must not move a slot back.
        if not (self._options.report_flush and self._heard):
            return UNKNOWN
        return self.flushed if self.ceiling is None else min(self.flushed, self.ceiling)

    def _reply_must_wait(self, now: float) -> bool:
        owed = self._owed_since
        return owed is not None and self.sync_wanted and now < owed + REPLY_PATIENCE

    def _update(self, now: float, wall: float, ask: bool, *, unknown: bool) -> bytes:
        self._last_sent = now
        first = self._reported is None  # an answer tells that the stream has begun
        self._reported = self._reportable
        flushed = UNKNOWN if unknown else self._reported
        applied = flushed if self._options.report_applied else UNKNOWN
        written = self.written
        if self.ceiling is not None and flushed != UNKNOWN:
            written = min(written, self.ceiling)  # releases commits as well, those of remote_write
        return status_update(written, flushed, applied, wall, reply_requested=ask or first)
