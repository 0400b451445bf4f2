"""Several questions to servers at once, within one limit of time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from catalog.errors import ConnectionFailed, WalstreamError

T = TypeVar("T")


def late(timeout: float) -> ConnectionFailed:
    """The error for what has not been answered in time."""
    return ConnectionFailed(
        f"the server did not answer within {timeout:g} seconds",
        "see whether it hangs; if it is only slow, raise check_timeout",
    )


class Questions(Generic[T]):
    """Asked side by side from the moment this is made; ``timeout`` in seconds, 0 for none."""

    def __init__(self, questions: Mapping[str, Callable[[], T]], timeout: float) -> None:
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout
        self._answers: dict[str, T | BaseException] = {}
        # Threads that may be left behind: nothing else ends a question to a server that hangs.
        self._threads = {
            name: threading.Thread(target=self._ask, args=(name, ask), name="walstream-ask", daemon=True)
            for name, ask in questions.items()
        }
        for thread in self._threads.values():
            thread.start()

    def answers(self) -> dict[str, T | WalstreamError]:
        """The answer to each question, or why there is none."""
        found: dict[str, T | WalstreamError] = {}
        for name, thread in self._threads.items():
            thread.join(max(0.0, self._deadline - time.monotonic()) if self._timeout else None)
            answer = self._answers.get(name, late(self._timeout))
            if isinstance(answer, BaseException) and not isinstance(answer, WalstreamError):
                raise answer
            found[name] = answer
        return found

    def _ask(self, name: str, ask: Callable[[], T]) -> None:
        try:
            self._answers[name] = ask()
        except BaseException as error:
            # The boundary of the thread: handed on to whoever waits.
            self._answers[name] = error
