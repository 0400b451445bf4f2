"""What ``put-wal`` has delivered, filed by the receiver's archiver, a little each time, beside what is streamed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from catalog.errors import HookFailed, StorageError
from catalog.incoming import Incoming, Put

log = logging.getLogger("walstream.archiver")

# Thousands of files may wait, and each may have a script of its own: what is streamed is not to wait behind them.
TURN = 1.0
PATIENCE = 60.0
POLL = 0.1


class Delivered:
    """Files what waits in ``incoming`` with ``put`` each time it is called; trouble is said once and waited out.

    For ``turn`` seconds, or one file that takes longer; ``may_go_on`` is asked before each file: at an end nobody
    waits for all there is.
    """

    def __init__(
        self,
        incoming: Incoming,
        put: Put,
        may_go_on: Callable[[], bool] = lambda: True,
        turn: float = TURN,
    ) -> None:
        self.first_turn = threading.Event()
        self._incoming = incoming
        self._put = put
        self._may_go_on = may_go_on
        self._turn = turn
        self._in_trouble = False

    def __call__(self) -> None:
        """File what there is time for; what cannot be stored now waits for the next call."""
        try:
            self._incoming.file_all(self._put, self._in_turn())
        except (StorageError, HookFailed) as trouble:
            if not self._in_trouble:
                log.error("what was delivered has to wait: %s", trouble)
            self._in_trouble = True
        else:
            if self._in_trouble:
                log.info("what was delivered is filed again")
            self._in_trouble = False
        finally:
            self.first_turn.set()

    def wait(self, look: Callable[[], None]) -> None:
        """Let another thread file what is there now, for as long as it gets on; ``look`` may raise meanwhile."""
        waiting = set(self._incoming.names())
        give_up = time.monotonic() + PATIENCE
        while waiting and time.monotonic() < give_up:
            look()
            time.sleep(POLL)
            left = waiting & set(self._incoming.names())
            if len(left) < len(waiting):
                waiting, give_up = left, time.monotonic() + PATIENCE

    def _in_turn(self) -> Callable[[], bool]:
        """What says whether one more file may be begun: the first one always."""
        until: float | None = None

        def may_begin() -> bool:
            nonlocal until
            is_first = until is None
            until = time.monotonic() + self._turn if until is None else until
            return self._may_go_on() and (is_first or time.monotonic() < until)

        return may_begin
