"""A way to wake a thread that sleeps in ``poll``: from other threads, and from signal handlers."""

from __future__ import annotations

import os
import select


class Wakeup:
    """A pipe whose reading end becomes readable with ``set`` and stops being so with ``clear``."""

    def __init__(self) -> None:
        self._closed = True  # until there is something to close
        self._read, self._write = os.pipe()
        self._closed = False
        self._is_set = False
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def fileno(self) -> int:
        """The descriptor to poll."""
        return self._read

    def set(self) -> None:
        """Wake the sleeper; may be called from anywhere, any number of times."""
        try:
            os.write(self._write, b"!")
        except BlockingIOError:
            pass
        self._is_set = True

    def clear(self) -> None:
        """Forget earlier calls."""
        if not self._is_set:
            return
        self._is_set = False
        try:
            while os.read(self._read, 4096):
                pass
        except BlockingIOError:
            pass

    def wait(self, timeout: float) -> bool:
        """Sleep until ``set`` is called, at most ``timeout`` seconds; whether it was."""
        poll = select.poll()
        poll.register(self._read, select.POLLIN)
        woken = bool(poll.poll(max(0.0, timeout) * 1000))
        if woken:
            self._is_set = (
                True  # whoever called may not have come so far as to say so, and ``clear`` must not wait
            )
        return woken

    def close(self) -> None:
        """Close both ends; ``set`` must not be called any more. Happens by itself with the last user."""
        if not self._closed:
            self._closed = True
            os.close(self._read)
            os.close(self._write)

    def __del__(self) -> None:
        self.close()
