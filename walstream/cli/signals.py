"""Signals for commands that run for long: the first asks for an orderly end, which may take a moment."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from catalog.errors import Interrupted

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


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
def raising() -> Iterator[None]:
    """Turn SIGINT, SIGTERM and SIGHUP into ``Interrupted``, so that whatever is half done is undone.

    Only the first of them: a closed terminal sends two, and the undoing is to come to its end.
    """
    asked = False

    def handler(signum: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            return
        asked = True
        raise Interrupted(
            f"stopped by {signal.Signals(signum).name}", "what was half done was undone; start again"
        )

    with _handled(handler, _ENDING):
        yield


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
