"""A blank segment ready before it is needed, so that opening the next one is a rename.

Filling a file with zeros takes as long as some hundred commits, so nobody who receives waits for it.
"""

from __future__ import annotations

import threading

from catalog import durable
from catalog.local_storage import failed
from catalog.lsn import SegmentSize
from walstream.segment import blank_file


class Blanks:
    """Keeps one blank file ready, on a thread of its own; ``zero_fill`` is asked for each, and may be changed."""

    def __init__(self, directory: str, size: SegmentSize, zero_fill: bool) -> None:
        self._directory = directory
        self._size = size
        self.zero_fill = zero_fill
        self._ready: str | None = None
        self._error: BaseException | None = None
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._loop, name="walstream-blank", daemon=True)
        self._thread.start()

    def take(self) -> str:
        """A blank file, waiting for it if need be; it is the caller's to rename."""
        with self._changed:
            while self._ready is None and self._error is None:
                self._changed.wait()
            if self._error is not None:
                raise self._error
            path, self._ready = str(self._ready), None
            self._changed.notify_all()
        return path

    def close(self) -> None:
        """End the thread, and remove the file that nobody took."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        if self._ready is not None:
            durable.remove_if_present(self._ready)

    def _loop(self) -> None:
        try:
            self._fill_up()
        except OSError as error:
            self._fail(failed("write", self._directory, error))
        except BaseException as error:
            self._fail(error)

    def _fill_up(self) -> None:
        while True:
            with self._changed:
                while self._ready is not None and not self._closing:
                    self._changed.wait()
                if self._closing:
                    return
            path = blank_file(self._directory, self._size, zero_fill=self.zero_fill)
            with self._changed:
                self._ready = path
                self._changed.notify_all()

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            self._error = error
            self._changed.notify_all()
