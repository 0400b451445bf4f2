"""WAL being received, as an object: run it where you are, or have it run in the background of a block."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType

from walstream.receiver import Receiver

_LOOK = 0.01


class Reception:
    """WAL being received; nothing happens before ``run`` or ``with``, and it is good for one of them, once.

    ``run`` receives until it is stopped, or has come to its end, and raises what ended it. In a ``with`` the
    same happens on a thread: the block begins when the first stream has begun, and its end stops it. What
    was received is stored when ``run`` returns, or the block is left.
    """

    def __init__(self, make: Callable[[], AbstractContextManager[Receiver]]) -> None:
        self._make = make
        self._receiver: Receiver | None = None
        self._stopping = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run_quietly, name="walstream-receive", daemon=True)

    def run(self) -> None:
        """Receive until stopped or done; raises ``WalstreamError`` when trying again would not help."""
        with self._make() as receiver:
            self._receiver = receiver
            if not self._stopping:
                receiver.run()

    def stop(self) -> None:
        """Ask ``run`` to sync what it has and return; from any thread or signal handler."""
        self._stopping = True
        if self._receiver is not None:
            self._receiver.stop()

    def is_running(self) -> bool:
        """Whether the block's thread still receives; raises what ended it."""
        self._raise_error()
        return self._thread.is_alive()

    def __enter__(self) -> Reception:
        self._thread.start()
        try:
            self._wait_until_streaming()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        if kind is None:
            self._raise_error()

    def _wait_until_streaming(self) -> None:
        while self.is_running():
            if self._receiver is not None and self._receiver.has_streamed:
                return
            time.sleep(_LOOK)  # what waits in threading itself cannot be interrupted
        self._raise_error()

    def _end(self) -> None:
        self.stop()
        self._thread.join()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _run_quietly(self) -> None:
        try:
            self.run()
        except BaseException as error:
            self._error = error
