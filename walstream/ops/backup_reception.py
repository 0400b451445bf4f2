"""Who brings WAL while a backup is taken: the receiver that runs already, one of our own, or archive_command."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from catalog.lock import is_held
from catalog.state import receiver_lock_path
from walstream.ops.place import Place, running_receiver
from walstream.ops.reception import Reception
from walstream.receiver import Receiver
from walstream.receiving import ReceiveOptions

# So long, in seconds, a segment may take from archive_command into the repository: there is a round each minute.
DELIVERY = 150.0


@contextmanager
def wal_coming(
    place: Place, receiving: ReceiveOptions, *, may_receive: bool, delivered: bool
) -> Iterator[Callable[[], bool]]:
    """Have WAL received meanwhile, by a receiver of our own as ``receiving`` says if none runs and we may.

    Yields a function that tells whether WAL still comes, and raises what ended our own receiver. With ``delivered``
    archive_command brings it, and is waited for from the first question on.
    """
    lock = receiver_lock_path(place.home)
    if is_held(lock) or not may_receive:
        patience = _Patience(DELIVERY if delivered else 0.0)
        yield lambda: is_held(lock) or patience.is_left()
        return
    with Reception(lambda: _own_receiver(place, receiving)) as reception:
        yield reception.is_running


@contextmanager
def _own_receiver(place: Place, receiving: ReceiveOptions) -> Iterator[Receiver]:
    options = replace(receiving, end_position=None, reconnect=True, temporary_slot=True)
    with running_receiver(place, options) as (receiver, _):
        yield receiver


class _Patience:
    """So many seconds, which begin when they are asked for first."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._give_up: float | None = None

    def is_left(self) -> bool:
        if self._give_up is None:
            self._give_up = time.monotonic() + self._seconds
        return time.monotonic() < self._give_up
