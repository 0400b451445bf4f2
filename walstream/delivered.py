"""What ``put-wal`` has delivered, filed by whoever archives: the receiver, a maintenance round, ``archive-wal``."""

from __future__ import annotations

import logging
from collections.abc import Callable

from catalog.errors import HookFailed, StorageError
from catalog.incoming import Incoming, Put

log = logging.getLogger("walstream.archiver")


class Delivered:
    """Files what waits in ``incoming`` with ``put`` each time it is called; trouble is said once and waited out.

    ``may_go_on`` is asked before each file: at an end nobody waits for all there is.
    """

    def __init__(self, incoming: Incoming, put: Put, may_go_on: Callable[[], bool] = lambda: True) -> None:
        self._incoming = incoming
        self._put = put
        self._may_go_on = may_go_on
        self._in_trouble = False

    def __call__(self) -> None:
        """File what there is; what cannot be stored now waits for the next call."""
        try:
            self._incoming.file_all(self._put, self._may_go_on)
        except (StorageError, HookFailed) as trouble:
            if not self._in_trouble:
                log.error("what was delivered has to wait: %s", trouble)
            self._in_trouble = True
        else:
            if self._in_trouble:
                log.info("what was delivered is filed again")
            self._in_trouble = False
