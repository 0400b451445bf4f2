"""``walstream run``: a receiver process per server, restarted when it ends; scheduled backups; a round each minute.

One thread, no psycopg, and nothing that could wait for a server or for a repository's disk: rounds are processes
of their own, and so are receivers, and what serves metrics. Receivers survive a supervisor that is killed, because
going on to receive loses no WAL; the next supervisor asks them to end and takes their place. What to do is
``supervision``'s business.
"""

from __future__ import annotations

import logging
import os
import select
import time
from collections.abc import Callable, Sequence

from catalog.errors import ConfigurationError, WalstreamError, one_line
from walstream import __version__
from walstream.ops.backups_due import BackupsDue
from walstream.ops.children import Child
from walstream.ops.companion import Companion
from walstream.ops.keeper import Keeper
from walstream.ops.notify import Notifier
from walstream.ops.rounds import script_time
from walstream.ops.rounds_due import RoundsDue
from walstream.ops.server_log import server_log
from walstream.ops.supervision import LOOK, PATIENCE
from walstream.settings.server import Configuration, joined
from walstream.wakeup import Wakeup

log = logging.getLogger("walstream.run")

AFTERMATH = 10.0
SOON = 0.05


class Supervisor:
    """``run`` until ``stop``; ``renew`` rereads the configuration; both may be called by signal handlers.

    ``read`` reads the configuration, and raises when there is none; the caller holds the supervisor's lock.
    """

    def __init__(
        self,
        configuration: Configuration,
        read: Callable[[], Configuration],
        notifier: Notifier,
        log_level: str | None = None,
    ) -> None:
        self._configuration = configuration
        self._read = read
        self._notifier = notifier
        self._log_level = log_level
        self._keepers: dict[str, Keeper] = {}
        self._metrics = Companion(log_level)
        self._rounds = RoundsDue(time.monotonic(), log_level)
        self._backups = BackupsDue(log_level)
        self._wakeup = Wakeup()
        self._stopping = False
        self._renewing = False

    def stop(self) -> None:
        """Ask ``run`` to end all receivers in order and return."""
        self._stopping = True
        self._wakeup.set()

    def renew(self) -> None:
        """Ask for the configuration to be read again."""
        self._renewing = True
        self._wakeup.set()

    def run(self) -> None:
        """Supervise until ``stop``; returns when every receiver has ended, or cannot even be killed."""
        log.info("walstream %s runs, by %s", __version__, self._configuration.file)
        self._take_over(self._configuration)
        self._look_after_servers()
        self._notifier.ready()
        while not self._stopping:
            self._say_how_it_is()
            self._sleep()
            if self._renewing:
                self._renewing = False
                self._renew()
            self._look_after_servers()
            self._look_after_rounds()
            self._look_after_backups()
        self._end()

    def _sleep(self) -> None:
        now = time.monotonic()
        limit = min(
            [
                *(LOOK, self._rounds.time_to_wait(now), self._metrics.time_to_wait(now)),
                *(keeper.time_to_wait(now) for keeper in self._keepers.values()),
            ]
        )
        if self._notifier.interval is not None:
            limit = min(limit, self._notifier.interval)
        self._wait(limit)
        self._notifier.alive()

    def _wait(self, seconds: float) -> None:
        """Sleep until something happens: a signal, or the end of a child."""
        poll = select.poll()
        poll.register(self._wakeup.fileno(), select.POLLIN)
        children = self._children()
        for child in children:
            poll.register(child.fileno(), select.POLLHUP)
        ended = [fd for fd, _ in poll.poll(max(0.0, seconds) * 1000) if fd != self._wakeup.fileno()]
        self._wakeup.clear()
        if ended and all(child.poll() is None for child in children):
            time.sleep(SOON)  # it has closed its output, and ends in an instant

    def _look_after_servers(self) -> None:
        for name, keeper in list(self._keepers.items()):
            keeper.look_after(self._configuration.file, time.monotonic())
            if keeper.is_done:
                del self._keepers[name]
        self._metrics.look_after(self._configuration.file, time.monotonic())
        _reap_strangers({child.pid for child in self._children()})

    def _look_after_rounds(self) -> None:
        scripts = max(map(script_time, self._configuration.servers.values()), default=0.0)
        self._rounds.look_after(self._configuration.file, scripts, time.monotonic())

    def _look_after_backups(self) -> None:
        self._backups.look_after(self._configuration.file, time.time(), time.monotonic())

    def _renew(self) -> None:
        self._notifier.reloading()
        try:
            fresh = self._read()
            if fresh.problems:
                raise joined(fresh.problems)
            if fresh.globals.walstream_home != self._configuration.globals.walstream_home:
                raise ConfigurationError("'walstream_home' has changed", "restart 'walstream run'")
        except WalstreamError as error:
            log.error("the settings stay as they were: %s", one_line(error))
        else:
            self._take_over(fresh)
            log.info("the configuration was read again")
        self._notifier.ready()

    def _take_over(self, fresh: Configuration) -> None:
        """Let a configuration hold; a broken section keeps the server's receiver as it is."""
        self._configuration = fresh
        self._backups.renew(fresh.servers, fresh.broken)
        for name, errors in fresh.broken.items():
            self._say_broken(name, errors)
        for model in fresh.models.values():
            for error in model.errors:
                log.error("model %s: %s", model.name, one_line(error))
        wanted = {
            name: settings
            for name, settings in fresh.servers.items()
            if settings.active and settings.streaming_archiver
        }
        for name, keeper in self._keepers.items():
            if name in wanted:
                keeper.renew(wanted[name], time.monotonic())
            elif name not in fresh.broken:
                keeper.dismiss()
        for name, settings in wanted.items():
            if name not in self._keepers:
                self._keepers[name] = Keeper(settings, self._log_level)
        self._metrics.renew(fresh.globals.metrics_listen is not None, time.monotonic())

    def _say_broken(self, name: str, errors: Sequence[ConfigurationError]) -> None:
        """What is wrong with a section, a line for each error, and what becomes of its server."""
        for error in errors:
            server_log(name).error("%s", one_line(error))
        if name in self._keepers:
            server_log(name).error("its former settings stay in force until that is corrected")
        else:
            server_log(name).error("nothing is received from it until that is corrected")

    def _end(self) -> None:
        self._notifier.stopping()
        self._notifier.status("the receivers are ending")
        log.info("all receivers are asked to end")
        self._rounds.end()
        self._backups.end()
        for keeper in self._keepers.values():
            keeper.dismiss()
        self._metrics.renew(False, time.monotonic())
        self._look_after_servers()
        give_up = time.monotonic() + PATIENCE + AFTERMATH
        while (
            self._keepers or self._backups.children or self._metrics.is_ending
        ) and time.monotonic() < give_up:
            self._sleep()
            self._look_after_rounds()
            self._look_after_backups()
            self._look_after_servers()
        if self._keepers:
            log.error("not even a signal 9 has ended the receivers of: %s", ", ".join(self._keepers))
        else:
            log.info("all receivers have ended")

    def _say_how_it_is(self) -> None:
        running = sum(each.child is not None for each in self._keepers.values())
        text = f"{running} of {len(self._keepers)} receivers run"
        stopped = sorted(name for name, keeper in self._keepers.items() if keeper.is_stopped)
        if stopped:
            text += f"; stopped: {', '.join(stopped)}"
        if self._configuration.broken:
            text += f"; wrong sections: {', '.join(sorted(self._configuration.broken))}"
        self._notifier.status(text)

    def _children(self) -> list[Child]:
        children = [self._metrics.child, *(each.child for each in self._keepers.values())]
        return [
            *self._rounds.children,
            *self._backups.children,
            *(each for each in children if each is not None),
        ]


def _reap_strangers(ours: set[int]) -> None:
    """As the first process of a container, bury those whose parents have ended."""
    if os.getpid() != 1:
        return
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if found is None or found.si_pid in ours:
            return
        os.waitpid(found.si_pid, 0)
