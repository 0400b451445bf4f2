"""One server's receiver, kept running: the steps of ``supervision`` carried out, and published for ``status``."""

from __future__ import annotations

import logging
import os
import random
import signal
import socket

from catalog.errors import WalstreamError
from catalog.state import is_stopped, receiver_holder
from catalog.supervisor_state import read_supervisor_state, remove_supervisor_state
from catalog.units import duration
from walstream.ops.children import Child, receiver_words
from walstream.ops.health import Publisher
from walstream.ops.server_log import server_log
from walstream.ops.supervision import (
    LOOK,
    SETTLED,
    Step,
    Watched,
    how_it_ended,
    next_step,
    note_end,
    note_start,
    time_to_wait,
)
from walstream.outage import Outage
from walstream.settings.server import ServerSettings


class Keeper:
    """Keeps a receiver for one server, unless another process receives already.

    ``child`` is ours, if one runs; ``is_stopped`` when an operator wants none.
    """

    def __init__(self, settings: ServerSettings, log_level: str | None) -> None:
        self.child: Child | None = None
        self.is_stopped = False
        self._settings = settings
        self._log_level = log_level
        self._log = server_log(settings.name)
        self._watched = Watched()
        self._publisher = Publisher(settings.home)
        self._trouble = ""
        self._outage = Outage()
        # What a supervisor that was killed has left running.
        former = read_supervisor_state(settings.home)
        self._orphan = former.child if former is not None else None

    @property
    def is_done(self) -> bool:
        """Whether the server was dismissed, and its receiver has ended."""
        return self.child is None and not self._watched.wanted

    def time_to_wait(self, now: float) -> float:
        """For how many seconds nothing can be due."""
        return time_to_wait(self._watched, now)

    def look_after(self, config: str, now: float) -> None:
        """Do what is due now; what goes wrong is logged, and tried again at the next look."""
        try:
            self._note_end(now)
            self._step(config, now)
            self._note_success(now)
            if self.is_done:
                remove_supervisor_state(self._settings.home)
            else:
                self._publisher.publish(self._watched, now)
        except (WalstreamError, OSError) as error:
            if str(error) != self._trouble:
                self._log.error("%s", error)
            self._trouble = str(error)
            self._watched.next_try = now + LOOK
        else:
            self._trouble = ""

    def renew(self, settings: ServerSettings, now: float) -> None:
        """Let new settings hold, also for the receiver that runs."""
        moved = self._settings.repository != settings.repository
        self._settings = settings
        self._outage = Outage()
        self._watched.wanted = True
        self._watched.next_try = now
        if self.child is None:
            return
        if moved or receiver_holder(settings.home) != (socket.gethostname(), self.child.pid):
            # It cannot move while it runs, or is not yet ready for signals: the next one knows the new settings.
            self._tell(now)
        else:
            self.child.signal(signal.SIGHUP)

    def dismiss(self) -> None:
        """Have the receiver end, and start no other."""
        self._watched.wanted = False

    def _step(self, config: str, now: float) -> None:
        held = self.child is None and self._is_held()
        self._note_stopped()
        step = next_step(self._watched, stopped=self.is_stopped, held=held, now=now)
        if step is Step.START:
            self.child = Child(receiver_words(config, self._log_level, self._settings.name))
            note_start(self._watched, self.child.pid, now)
            level = logging.DEBUG if self._outage.is_on else logging.INFO
            self._log.log(level, "receiver started: process %d", self.child.pid)
        elif step is Step.TELL:
            self._tell(now)
        elif step is Step.KILL and self.child is not None:
            self._log.error("the receiver has not ended in time: it is killed")
            self._watched.told = now  # it is killed again when even that does not end it soon
            self.child.signal(signal.SIGKILL)

    def _note_stopped(self) -> None:
        before, self.is_stopped = self.is_stopped, is_stopped(self._settings.home)
        if self.is_stopped and not before:
            name = self._settings.name
            self._log.info("receiving was stopped, until: walstream receive-wal %s", name)

    def _tell(self, now: float) -> None:
        if self.child is not None and self._watched.told is None:
            self._watched.told = now
            self.child.signal(signal.SIGTERM)

    def _is_held(self) -> bool:
        found = receiver_holder(self._settings.home)
        if found is None:
            return False
        host, process = found
        if process and found == (socket.gethostname(), self._orphan):
            self._log.info("process %d, the receiver of a former supervisor, is asked to end", process)
            self._orphan = None
            os.kill(process, signal.SIGTERM)
        elif process and not self._watched.waiting:
            self._log.info("process %d on %s receives already, and is left alone", process, host)
        return True

    def _note_end(self, now: float) -> None:
        child = self.child
        if child is None or (code := child.poll()) is None:
            return
        error = child.error()
        child.close()
        self.child = None
        ordered = self._watched.told is not None or (code == 0 and is_stopped(self._settings.home))
        note_end(self._watched, code, error, now, random.random())
        if ordered:
            level = logging.INFO if code else logging.DEBUG  # in order, it has said so itself
            self._log.log(level, "receiver ended: %s", how_it_ended(code))
            return
        reason = f": {error}" if error else ", without a reason" if code >= 0 else ""
        how = f"{how_it_ended(code)}{reason}"
        level = logging.ERROR if self._outage.failed(how, now) else logging.DEBUG
        pause = max(0.0, self._watched.next_try - now)
        self._log.log(level, "receiver ended: %s; the next one starts in %.1f s", how, pause)

    def _note_success(self, now: float) -> None:
        started = self._watched.started
        if self.child is None or not self._outage.is_on or now < started + SETTLED:
            return
        after = self._outage.works(started)
        self._outage.works(now)
        if after is not None:
            self._log.info("the receiver runs again: process %d, after %s", self.child.pid, duration(after))
