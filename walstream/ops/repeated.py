"""A question that is asked again and again, and whose last answer stays.

Each time it is asked on a thread of its own, and never while it is still being answered: what hangs, as a disk
does, leaves one thread behind and no more, and whoever waits does so for as long as he likes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """``value``, or the ``error`` in its place; when it came (Unix time), and after how many seconds."""

    value: T | None
    error: BaseException | None
    at: float
    seconds: float


class Repeated(Generic[T]):
    """One question; ``pause`` is for how many seconds its answer counts as new. For any threads."""

    def __init__(self, name: str, ask: Callable[[], T], pause: float) -> None:
        self._name = name
        self._ask = ask
        self._pause = pause
        self._lock = threading.Lock()
        self._idle = threading.Event()
        self._idle.set()
        self._due = 0.0
        self._answer: Answer[T] | None = None

    @property
    def last(self) -> Answer[T] | None:
        """The last answer, however old; None before the first."""
        return self._answer

    def begin(self) -> None:
        """Ask, unless it is being answered, or was just now."""
        with self._lock:
            if not self._idle.is_set() or time.monotonic() < self._due:
                return
            self._idle.clear()
        threading.Thread(target=self._run, name=self._name, daemon=True).start()

    def wait(self, seconds: float) -> Answer[T] | None:
        """The answer to what was begun; None when it has not come in time."""
        return self._answer if self._idle.wait(max(0.0, seconds)) else None

    def _run(self) -> None:
        began = time.monotonic()
        value: T | None = None
        error: BaseException | None = None
        try:
            value = self._ask()
        except BaseException as raised:
            # The boundary of the thread: it is the answer.
            error = raised
        ended = time.monotonic()
        self._answer = Answer(value, error, time.time(), ended - began)
        self._due = ended + self._pause
        self._idle.set()
