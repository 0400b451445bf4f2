"""Receivers, one after the other, in one repository whose locks are held throughout: new settings, a new receiver.

Settings are reread on a thread of its own, while receiving goes on; only when they have changed is the
receiver replaced. What is wrong with them is logged, and the former ones stay.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from catalog.errors import WalstreamError, one_line
from catalog.repository import Repository
from walstream.ops.place import Place, receiver_into
from walstream.receiver import Receiver
from walstream.receiving import ReceiveOptions
from walstream.wakeup import Wakeup

log = logging.getLogger("walstream.receiver")

LOOK = 60.0


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything that one receiver is made from."""

    place: Place
    options: ReceiveOptions


class Succession:
    """``run`` receives until ``stop``; ``renew`` looks for new settings; both may be called by signal handlers."""

    def __init__(self, setup: Setup, reread: Callable[[], Setup]) -> None:
        self._given = setup
        self._setup = setup
        self._reread = reread
        self._receiver: Receiver | None = None
        self._stopping = False
        self._over = False
        self._wakeup = Wakeup()

    def stop(self) -> None:
        """Ask ``run`` to sync what it has and return."""
        self._stopping = True
        if self._receiver is not None:
            self._receiver.stop()

    def renew(self) -> None:
        """Ask for the settings to be read again."""
        self._wakeup.set()

    def run(self, repository: Repository) -> None:
        """Receive into a ``reserved`` repository; raises ``WalstreamError`` when trying again would not help."""
        if self._wakeup.wait(0):  # asked while a lock was waited for: the former settings may lead nowhere
            self._wakeup.clear()
            self._look_for_settings()
        reader = threading.Thread(target=self._read, name="walstream-reread", daemon=True)
        reader.start()
        try:
            while not self._stopping and self._receive(repository):
                log.info("going on with new settings")
        finally:
            self._over = True
            self._wakeup.set()
            reader.join()

    def _receive(self, repository: Repository) -> bool:
        """Receive with the settings as they are; whether that ended because there are others."""
        setup = self._setup
        with receiver_into(repository, setup.place, setup.options) as (receiver, intake):
            # Whoever changes the settings, or wants to stop, does that first and looks for a receiver second.
            self._receiver = receiver
            if not self._stopping and setup is self._setup:
                receiver.run()
            renewed = setup is not self._setup and not self._stopping
            if renewed:
                intake.close(patience=0)  # the next one archives the rest, and is wanted at once
        return renewed

    def _read(self) -> None:
        while not self._over:
            if not self._wakeup.wait(LOOK):
                continue
            self._wakeup.clear()
            if not self._over and not self._stopping:
                self._look_for_settings()

    def _look_for_settings(self) -> None:
        try:
            given = self._reread()
        except (WalstreamError, OSError) as error:
            log.error("the settings stay as they were: %s", one_line(error))
            return
        if given == self._given:
            log.info("the settings have not changed")
            return
        self._given = given
        # A server that is away at this moment is to be waited for, as it was before.
        self._setup = replace(given, options=replace(given.options, patient=True))
        if self._receiver is not None:
            self._receiver.stop()
