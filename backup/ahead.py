"""The pieces of a reader, read and decoded on a thread of its own while the last ones are looked at."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Queue

from catalog.sink import Reader

PIECE = 1 << 20
PIECES = 4


@contextmanager
def pieces_ahead(reader: Reader) -> Iterator[Iterator[bytes]]:
    """The pieces, at most ``PIECES`` of them ahead; what reading fails with is raised where it comes.

    The reader is closed when the block ends, wherever that is.
    """
    ready: Queue[bytes | BaseException] = Queue(PIECES)
    given_up = threading.Event()
    thread = threading.Thread(target=_read, args=(reader, ready, given_up), name="ahead", daemon=True)
    thread.start()
    try:
        yield _pieces(ready)
    finally:
        given_up.set()
        # The thread may wait with one piece in hand: each look makes room, so it comes to an end.
        while thread.is_alive():
            while not ready.empty():
                ready.get_nowait()
            thread.join(0.01)
        reader.close()


def _read(reader: Reader, ready: Queue[bytes | BaseException], given_up: threading.Event) -> None:
    try:
        while not given_up.is_set():
            piece = reader.read(PIECE)
            ready.put(piece)
            if not piece:
                return
    except BaseException as error:
        ready.put(error)


def _pieces(ready: Queue[bytes | BaseException]) -> Iterator[bytes]:
    while piece := ready.get():
        if isinstance(piece, BaseException):
            raise piece
        yield piece
