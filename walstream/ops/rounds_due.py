"""The maintenance rounds of a supervisor: a process each minute, which may take longer than that, but not for ever.

What is wrong with a server is said when it begins, not each minute, and that it is over is said, too.
"""

from __future__ import annotations

import logging
import signal

from catalog.units import duration
from walstream.ops.children import Child, round_words
from walstream.ops.server_log import server_log
from walstream.ops.supervision import how_it_ended
from walstream.outage import Outage

log = logging.getLogger("walstream.run")

ROUND = 60.0
FIRST_ROUND = 5.0
LIMIT = 300.0
PROBLEMS = "problems"


class RoundsDue:
    """``look_after`` every few seconds; ``children`` are the rounds that run. Times by the steady clock."""

    def __init__(self, now: float, log_level: str | None = None) -> None:
        self._log_level = log_level
        self._next = now + FIRST_ROUND
        self._running: dict[Child, float] = {}
        self._outages: dict[str, Outage] = {}
        self._rounds = Outage()

    @property
    def children(self) -> list[Child]:
        """The processes of the rounds that run."""
        return list(self._running)

    def time_to_wait(self, now: float) -> float:
        """For how many seconds nothing can be due."""
        return self._next - now

    def look_after(self, config: str, script_time: float, now: float) -> None:
        """Say what has ended, kill what takes too long (beside the operator's scripts), start what is due."""
        for child, began in list(self._running.items()):
            child.hear()
            if (code := child.poll()) is not None:
                del self._running[child]
                self._note_end(child, code, now)
                child.close()
            elif now > began + LIMIT + script_time:
                child.signal(signal.SIGKILL)
        if now >= self._next:
            self._next = now + ROUND
            try:
                self._running[Child(round_words(config, self._log_level))] = now
            except OSError as error:
                self._say(f"cannot be started: {error}", now)

    def end(self) -> None:
        """Ask the rounds that run to end, and start no other."""
        self._next = float("inf")
        for child in self._running:
            child.signal(signal.SIGTERM)

    def _note_end(self, child: Child, code: int, now: float) -> None:
        facts = child.facts()
        for name, found in facts.items():
            if isinstance(found, dict) and isinstance(problems := found.get(PROBLEMS), list):
                self._note_problems(name, [str(problem) for problem in problems], now)
        if self._next == float("inf"):
            return  # it was we who ended it
        if code == 0 or any(PROBLEMS in found for found in facts.values() if isinstance(found, dict)):
            self._rounds.works(now)
        else:
            error = child.error()
            self._say(f"has failed: {how_it_ended(code)}{f': {error}' if error else ''}", now)

    def _note_problems(self, name: str, problems: list[str], now: float) -> None:
        outage = self._outages.setdefault(name, Outage())
        for problem in problems:
            if outage.failed(problem, now):
                server_log(name).error("maintenance: %s", problem)
        if not problems and (after := outage.works(now)) is not None:
            server_log(name).info("maintenance is in order again, after %s", duration(after))

    def _say(self, what: str, now: float) -> None:
        if self._rounds.failed(what, now):
            log.error("the maintenance round %s", what)
