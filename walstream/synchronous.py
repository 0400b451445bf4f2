"""Whether the server waits for us: asked at every connection, and again each minute while streaming."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from catalog.lsn import LSN
from walstream.connection import Connection
from walstream.facts import is_synchronous
from walstream.session import UNKNOWN

log = logging.getLogger("walstream.receiver")

ASK_INTERVAL = 60.0
ASK_INTERVAL_CLOSE = 3.0


class SynchronousWatch:
    """Knows whether ``synchronous_standby_names`` names us; a context manager, which asks in the background.

    ``wanted`` is the operator's word, None to follow the server. ``connect`` opens a short connection for each
    question; one that fails changes nothing. ``on_change`` is called from the asking thread.
    """

    def __init__(
        self,
        wanted: bool | None,
        names_us: bool,
        connect: Callable[[], Connection],
        application_name: str,
        on_change: Callable[[], None],
    ) -> None:
        self.names_us = names_us
        self.cleared = UNKNOWN
        """What was flushed when the server was asked last and did not name us."""
        self._flushed = UNKNOWN
        self._is_close = False
        self._wanted = wanted
        self._connect = connect
        self._application_name = application_name
        self._on_change = on_change
        self._failing = False
        self._closing = False
        self._called = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="walstream-sync-names", daemon=True)

    @property
    def is_synchronous(self) -> bool:
        """Whether every batch is to be synced and reported at once."""
        return self.names_us if self._wanted is None else self._wanted

    def begin(self) -> None:
        """Forget positions: a new stream has its own."""
        self.cleared = self._flushed = UNKNOWN

    def note(self, flushed: LSN, *, close: bool) -> None:
        """Note how far the stream is; ``close``: every few seconds count, because a commit must not be let go."""
        self._flushed = flushed
        if close and not self._is_close:
            self._called.set()
        self._is_close = close

    def __enter__(self) -> SynchronousWatch:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._closing = True
        self._called.set()

    def _loop(self) -> None:
        while not self._closing:
            self._called.wait(ASK_INTERVAL_CLOSE if self._is_close else ASK_INTERVAL)
            self._called.clear()
            if not self._closing:
                self._ask()

    def _ask(self) -> None:
        flushed = self._flushed
        try:
            with self._connect() as connection:
                names_us = is_synchronous(connection, self._application_name)
        except Exception as error:
            # The boundary of the thread: whatever it is, the question is asked again.
            level = logging.DEBUG if self._failing else logging.WARNING
            log.log(level, "cannot ask whether commits wait for this receiver: %s", error)
            self._failing = True
            return
        if self._failing:
            log.info("whether commits wait for this receiver can be asked again")
        self._failing = False
        # A stream that began meanwhile has positions of its own.
        self.cleared = UNKNOWN if names_us or flushed > self._flushed else flushed
        if names_us != self.names_us:
            self.names_us = names_us
            word = "waits" if names_us else "does not wait"
            log.info("the server %s for this receiver when it commits", word)
        elif not self._is_close:
            return
        self._on_change()
