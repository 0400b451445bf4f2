"""Keeps an eye on all servers for monitoring: what is stored is read when asked for, checks run once a minute.

Every question has a thread of its own and a limit of time, so that one that hangs, on a disk or a server, keeps no
other from being answered. It is said once, and again when it says something else.
"""

from __future__ import annotations

import threading
import time
from typing import TypeVar

from catalog.errors import WalstreamError, one_line
from walstream.ops.check import Report, check
from walstream.ops.figures import Checked, Position, ServerFigures, stored_figures
from walstream.ops.receiver_facts import receiver_facts
from walstream.ops.repeated import Answer, Repeated
from walstream.ops.server_log import server_log
from walstream.settings.server import Configuration, ServerSettings

T = TypeVar("T")

# Prometheus gives up after 10 seconds.
LIMIT = 5.0
LEAST_PAUSE = 3.0
BETWEEN_CHECKS = 60.0
# A disk that is slow is told of a little late; one that hangs is told to.
RECENT = 60.0
RECEIVER, REPOSITORY = "receiver", "repository"


class Observer:
    """The figures of all servers of a configuration; ``watch`` has them checked from then on."""

    def __init__(self, configuration: Configuration) -> None:
        self._broken = sorted(configuration.broken)
        self._servers = [_Server(settings) for _, settings in sorted(configuration.servers.items())]

    def watch(self) -> None:
        """Begin to check every active server, once a minute each, one after the other."""
        active = [server for server in self._servers if server.settings.active]
        threading.Thread(target=_watch, args=(active,), name="walstream-watch", daemon=True).start()

    def figures(self) -> list[ServerFigures]:
        """What is known right now, within ``LIMIT``: of broken servers, that they are."""
        until = time.monotonic() + LIMIT
        for server in self._servers:
            server.begin()
        found = [server.figures(until) for server in self._servers]
        found += [ServerFigures(name=name, readable={}) for name in self._broken]
        return sorted(found, key=lambda each: each.name)


class _Server:
    """The questions about one server. A receiver, and checks, are expected of active ones only."""

    def __init__(self, settings: ServerSettings) -> None:
        name = settings.name
        self.settings = settings
        self._receiver = Repeated(f"receiver of {name}", lambda: receiver_facts(settings.home), LEAST_PAUSE)
        self._stored = Repeated(
            f"repository of {name}", lambda: stored_figures(settings, time.time()), LEAST_PAUSE
        )
        self._check = Repeated(f"check of {name}", lambda: check(settings), BETWEEN_CHECKS)
        self._log = server_log(name)
        self._said: dict[str, str] = {}
        self._position: Position | None = None

    @property
    def _receives(self) -> bool:
        return self.settings.active and self.settings.streaming_archiver

    def begin(self) -> None:
        """Have it looked at."""
        self._stored.begin()
        if self._receives:
            self._receiver.begin()

    def check(self) -> None:
        """Have it checked, if a check is due."""
        self._check.begin()

    def figures(self, until: float) -> ServerFigures:
        """What there is to be known at that monotonic time."""
        readable: dict[str, bool] = {}
        receiver = self._told(RECEIVER, self._receiver, until, readable) if self._receives else None
        stored = self._told(REPOSITORY, self._stored, until, readable)
        checked = self._checked(self._check.last)
        self._position = _position(checked) or self._position
        return ServerFigures(
            name=self.settings.name,
            settings=self.settings,
            readable=readable,
            receiver=receiver,
            stored=stored,
            checked=checked,
            position=self._position,
        )

    def _told(self, part: str, asked: Repeated[T], until: float, readable: dict[str, bool]) -> T | None:
        answer = asked.wait(until - time.monotonic()) or _recent(asked.last)
        error = answer.error if answer is not None else WalstreamError(f"no answer within {LIMIT:g} seconds")
        self._note(part, error)
        readable[part] = error is None
        return answer.value if answer is not None else None

    def _checked(self, answer: Answer[Report] | None) -> Checked | None:
        if answer is None:
            return None
        self._note("check", answer.error)
        return Checked(answer.value, answer.at, answer.seconds) if answer.value is not None else None

    def _note(self, part: str, error: BaseException | None) -> None:
        text = "" if error is None else _words(error)
        if text != self._said.get(part, ""):
            self._said[part] = text
            if text:
                self._log.warning("no figures of its %s: %s", part, text)
            else:
                self._log.info("there are figures of its %s again", part)


def _watch(servers: list[_Server]) -> None:
    # Not all in the same moment, unless there are so many.
    step = min(1.0, BETWEEN_CHECKS / max(len(servers), 1))
    while servers:
        for server in servers:
            server.check()
            time.sleep(step)


def _recent(answer: Answer[T] | None) -> Answer[T] | None:
    """An answer that may stand in for one that takes its time."""
    return answer if answer is not None and time.time() - answer.at < RECENT else None


def _position(checked: Checked | None) -> Position | None:
    """What the server told in a check, as of when that began."""
    wal = checked.report.wal if checked is not None else None
    if checked is None or wal is None or wal.position is None:
        return None
    return Position(*wal.position, checked.at - checked.seconds)


def _words(error: BaseException) -> str:
    if isinstance(error, WalstreamError):
        return one_line(error)
    return f"internal error: {type(error).__name__}: {error}"
