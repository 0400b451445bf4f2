"""One line on a terminal that shows how far long work is: bytes, rate, time left.

On anything but a terminal it shows nothing.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

from catalog.units import duration, size

INTERVAL = 0.2
SOONEST_RATE = 0.1  # seconds; before that it says nothing
_CLEAR = "\r\x1b[K"


class Progress:
    """The line of one piece of work; a context manager, which takes the line away at the end."""

    def __init__(
        self,
        stream: TextIO | None,
        label: str,
        total: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._label = label
        self._total = total
        self._clock = clock
        self._started = clock()
        self._due = self._started
        self._shown = False

    def update(self, done: int, total: int | None = None) -> None:
        """``done`` bytes so far, of ``total`` if that became known; may be called at any rate."""
        now = self._clock()
        if self._stream is None or now < self._due:
            return
        self._due = now + INTERVAL
        self._total = self._total if total is None else total
        text = progress_text(self._label, done, self._total, now - self._started)
        width = shutil.get_terminal_size().columns - 1
        self._stream.write(_CLEAR + text[:width])
        self._stream.flush()
        self._shown = True

    def clear(self) -> None:
        """Take the line away, to make room for another; the next update brings it back."""
        if self._stream is not None and self._shown:
            self._stream.write(_CLEAR)
            self._stream.flush()
            self._shown = False
            self._due = self._started

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.clear()
        self._stream = None


def progress_text(label: str, done: int, total: int | None, elapsed: float) -> str:
    """``label: 12.3 MiB of 100.0 MiB (12 %), 4.1 MiB/s, 21 s left``."""
    parts = [f"{label}: {size(done)}"]
    if total:
        parts[0] += f" of {size(total)} ({min(done * 100 // total, 100)} %)"
    if elapsed >= SOONEST_RATE and done > 0:
        rate = done / elapsed
        parts.append(f"{size(rate)}/s")
        if total and total > done:
            parts.append(f"{duration((total - done) / rate)} left")
    return ", ".join(parts)
