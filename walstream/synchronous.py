"""Whether the server waits for us: asked at every connection, and again each minute while streaming."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from catalog.errors import WalstreamError
from walstream.connection import Connection
from walstream.facts import is_synchronous

log = logging.getLogger("walstream.receiver")

ASK_INTERVAL = 60.0
ASK_INTERVAL_AT_RISK = 3.0


class SynchronousWatch:
    """Knows whether ``synchronous_standby_names`` names us; a context manager, which asks in the background.

    ``wanted`` is the operator's word, None to follow the server. ``connect`` opens a short connection for each
    question; one that fails changes nothing. ``on_change`` is called from the asking thread. While ``is_at_risk``
    says so, acknowledging a commit would be wrong, and the question is asked every few seconds.
    """

    def __init__(
        self,
        wanted: bool | None,
        names_us: bool,
        connect: Callable[[], Connection],
        application_name: str,
        on_change: Callable[[], None],
        is_at_risk: Callable[[], bool] = lambda: False,
    ) -> None:
        self.names_us = names_us
        self._wanted = wanted
        self._connect = connect
        self._application_name = application_name
        self._on_change = on_change
        self._is_at_risk = is_at_risk
        self._failing = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="walstream-sync-names", daemon=True)

    @property
    def is_synchronous(self) -> bool:
        """Whether every batch is to be synced and reported at once."""
        return self.names_us if self._wanted is None else self._wanted

    def __enter__(self) -> SynchronousWatch:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._closing.set()

    def _loop(self) -> None:
        while not self._closing.wait(self._interval()):
            try:
                with self._connect() as connection:
                    names_us = is_synchronous(connection, self._application_name)
            except WalstreamError as error:
                level = logging.DEBUG if self._failing else logging.WARNING
                log.log(level, "cannot ask whether commits wait for this receiver: %s", error)
                self._failing = True
                continue
            self._failing = False
            if names_us != self.names_us:
                self.names_us = names_us
                word = "waits" if names_us else "does not wait"
                log.info("the server %s for this receiver when it commits", word)
                self._on_change()

    def _interval(self) -> float:
        try:
            return ASK_INTERVAL_AT_RISK if self._is_at_risk() else ASK_INTERVAL
        except WalstreamError:
            return ASK_INTERVAL_AT_RISK  # what cannot be looked up now may be a risk
