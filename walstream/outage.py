"""One trouble from its first failure to its end, as a log should tell it: each reason once, and how long it was.

Pure: times are arguments, by the steady clock. A reason that differs only in its numbers (a process, a port) is the
same one. What works for a moment between two failures, as a stream that breaks at once does, has not got over it:
from then on only what works for a while is the end.
"""

from __future__ import annotations

import re

# What works for so many seconds has got over it.
SETTLED = 10.0
MOST_REASONS = 50

_NUMBER = re.compile(r"\d+")


class Outage:
    """``failed`` and ``works`` may be called at any rate; both say whether that is worth a line."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._works_since: float | None = None
        self._comes_back = False
        self._end_was_said = False
        self._reasons: set[str] = set()

    @property
    def is_on(self) -> bool:
        """Whether something failed that has not worked for a while since."""
        return self._since is not None

    @property
    def comes_back(self) -> bool:
        """Whether it worked for a moment only since the first failure."""
        return self._comes_back

    def failed(self, reason: str, now: float) -> bool:
        """Note a failure; whether its reason is a new one."""
        if self._works_since is not None and now >= self._works_since + SETTLED:
            self._forget()
        self._comes_back = self._comes_back or self._works_since is not None
        self._works_since, self._end_was_said = None, False
        if self._since is None:
            self._since = now
        key = _NUMBER.sub("#", reason)
        is_new = key not in self._reasons and len(self._reasons) < MOST_REASONS
        self._reasons.add(key)
        return is_new

    def works(self, now: float) -> float | None:
        """Note that all is well; once, when that is the end, for how many seconds it was not."""
        if self._since is None:
            return None
        begins = self._works_since is None
        self._works_since = back = now if self._works_since is None else self._works_since
        length = back - self._since
        is_settled = now >= back + SETTLED
        is_end = not self._end_was_said and (is_settled or (begins and not self._comes_back))
        self._end_was_said = self._end_was_said or is_end
        if is_settled:
            self._forget()
        return length if is_end else None

    def _forget(self) -> None:
        self._since = self._works_since = None
        self._comes_back = self._end_was_said = False
        self._reasons.clear()
