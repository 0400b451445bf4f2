"""Signals for commands that run for long: the first asks for an orderly end, which may take a moment."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from catalog.errors import Interrupted

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_AGAIN = 0.005


@contextmanager
def calling(stop: Callable[[], None], renew: Callable[[], None]) -> Iterator[None]:
    """Call ``stop`` on SIGINT and SIGTERM, ``renew`` on SIGHUP (in the main thread, between two bytecodes)."""

    def handler(signum: int, frame: FrameType | None) -> None:
        if signum == signal.SIGHUP:
            renew()
        else:
            stop()

    with _handled(handler, _ENDING):
        yield


@contextmanager
def raising(hint: str = "what was half done was undone; start again") -> Iterator[None]:
    """Turn SIGINT, SIGTERM and SIGHUP into ``Interrupted``, so that whatever is half done is undone.

    Only the first of them: a closed terminal sends two, and the undoing is to come to its end. Never between
    the taking of a lock and the block that gives it back: whoever waits for the lock would wait for ever.
    """
    asked: str | None = None
    raised = False

    def handler(signum: int, frame: FrameType | None) -> None:
        nonlocal asked, raised
        if asked is None and signum != signal.SIGALRM:
            asked = signal.Signals(signum).name
        if raised or asked is None:
            return
        if _is_delicate(frame):
            signal.setitimer(signal.ITIMER_REAL, _AGAIN)
            return
        raised = True
        raise Interrupted(f"stopped by {asked}", hint)

    with _handled(handler, (*_ENDING, signal.SIGALRM)):
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)


def _is_delicate(frame: FrameType | None) -> bool:
    """Whether an exception would leave a lock of ``threading`` taken, or would be lost in a destructor."""
    while frame is not None:
        if frame.f_globals.get("__name__") == "threading" or frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


@contextmanager
def _handled(
    handler: Callable[[int, FrameType | None], None], signals: tuple[signal.Signals, ...]
) -> Iterator[None]:
    former = {each: signal.signal(each, handler) for each in signals}
    try:
        yield
    finally:
        for each, old in former.items():
            signal.signal(each, old)
