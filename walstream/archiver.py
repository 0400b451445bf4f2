"""Completed segments, from the spool to the repository: in order, on one thread, until each is durable.

The queue is on disk: it is the complete segments in the spool directory, so a crash loses nothing and
what a former run left behind is picked up at the start. A file leaves the spool only after its stored
copy is durable. While the repository cannot be written the archiver keeps trying, with pauses, and
receiving goes on; bytes that contradict what is stored, or their own name, end it, and the receiver hears
of it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable

from catalog import durable
from catalog.errors import HookFailed, Malformed, StorageError, StreamRefused, WalstreamError, one_line
from catalog.local_storage import LocalReader, failed
from catalog.sink import Reader
from catalog.units import duration
from catalog.walname import SEGMENT, kind_of
from walstream.outage import Outage

log = logging.getLogger("walstream.archiver")

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
BESIDE_EVERY = 1.0


class Archiver:
    """Files every complete segment of ``directory`` by calling ``put(name, open_raw, path)``.

    ``beside``, if given, is called on the same thread at the start and every second: whoever files anything else
    must not do so at the same time.
    """

    def __init__(
        self,
        directory: str,
        put: Callable[[str, Callable[[], Reader], str], bool],
        first_pause: float = FIRST_PAUSE,
        beside: Callable[[], object] | None = None,
    ) -> None:
        self.last_archived: str | None = None
        self.last_archived_at: float | None = None
        self._directory = directory
        self._put = put
        self._first_pause = first_pause
        self._beside = beside
        self._next_beside = 0.0
        self._stored: str | None = None
        self._error: BaseException | None = None
        self._trouble: WalstreamError | None = None
        self._outage = Outage()
        self._ending = self._closing = False
        self._changed = threading.Condition()
        self._waiting = set(complete_segments(directory))
        self._thread = threading.Thread(target=self._loop, name="walstream-archive", daemon=True)
        self._thread.start()

    def submit(self, name: str) -> None:
        """Say that a segment is complete and synced in the spool; one that has left it meanwhile is done."""
        with self._changed:
            # Under the lock: a file that is still here is taken off the queue only after this.
            if os.path.exists(os.path.join(self._directory, name)):
                self._waiting.add(name)
                self._changed.notify_all()

    @property
    def waiting(self) -> int:
        """How many complete segments are not yet archived."""
        with self._changed:
            return len(self._waiting)

    @property
    def trouble(self) -> WalstreamError | None:
        """Why the repository cannot be written just now; None when it can."""
        with self._changed:
            return self._trouble

    def raise_error(self) -> None:
        """Raise what ended the archiver, if anything did."""
        if self._error is not None:
            raise self._error

    def close(self, patience: float = 60.0) -> None:
        """Archive what is waiting, for at most ``patience`` seconds, then end; the rest stays. May be repeated."""
        with self._changed:
            self._ending = True
            self._changed.wait_for(
                lambda: self._closing or self._idle() or self._trouble is not None, patience
            )
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        self.raise_error()

    def _idle(self) -> bool:
        return self._error is not None or not self._waiting

    def _loop(self) -> None:
        pause = self._first_pause
        while (name := self._next()) is not None:
            try:
                if not name:
                    self._do_beside()
                    continue
                self._archive(name)
            except (StorageError, HookFailed) as trouble:
                self._note_trouble(name, trouble)
                with self._changed:
                    self._changed.wait_for(lambda: self._closing, pause)
                pause = min(pause * 2, LONGEST_PAUSE)
                continue
            except BaseException as error:
                with self._changed:
                    self._error = error
                    self._changed.notify_all()
                return
            pause = self._first_pause
            self._note_success(name)

    def _next(self) -> str | None:
        """The next segment, none at all for what is done beside, or None at the end."""
        with self._changed:
            left = None if self._beside is None else max(0.0, self._next_beside - time.monotonic())
            if left != 0:
                self._changed.wait_for(lambda: self._closing or bool(self._waiting), left)
            if self._closing:
                return None
            if self._beside is not None and time.monotonic() >= self._next_beside:
                return ""
            return min(self._waiting, default="")

    def _do_beside(self) -> None:
        if self._beside is not None:
            self._beside()
        self._next_beside = time.monotonic() + BESIDE_EVERY

    def _archive(self, name: str) -> None:
        path = os.path.join(self._directory, name)
        try:
            if name != self._stored:
                if self._comes_again(path):
                    return
                self._put(name, lambda: open_file(path), path)
                self._stored = name  # whatever fails from here on, it need not be stored again
        except Malformed as wrong:
            raise StreamRefused(
                f"{path!r} is not what its name says: {wrong}",
                "move the file away and start again: the segment is fetched from the server once more",
            ) from wrong
        try:
            durable.remove_if_present(path)
            durable.sync_directory(self._directory)
        except OSError as error:
            raise failed("remove", path, error) from error

    def _comes_again(self, path: str) -> bool:
        """Whether the segment is partial once more, as it could not be synced; one that vanished is refused."""
        if os.path.exists(path) or not os.path.isdir(self._directory):
            return False
        if not os.path.exists(f"{path}.partial"):
            raise StreamRefused(
                f"{path!r} is gone from the spool before it was archived",
                "nothing but walstream may remove files there: start again, the segment is fetched once more",
            )
        return True

    def _note_trouble(self, name: str, trouble: WalstreamError) -> None:
        with self._changed:
            self._trouble = trouble
            self._changed.notify_all()
        if self._ending:  # and is not tried again
            log.warning("%s stays in the spool for the next start: %s", name, one_line(trouble))
        elif self._outage.failed(trouble.message, time.monotonic()):
            log.error("%s has to wait in the spool, receiving goes on: %s", name, one_line(trouble))

    def _note_success(self, name: str) -> None:
        with self._changed:
            self._trouble = None
            self._waiting.discard(name)
            self._stored = None  # should the segment come again, it is judged again
            self.last_archived, self.last_archived_at = name, time.time()
            self._changed.notify_all()
        if (took := self._outage.works(time.monotonic())) is not None:
            log.info("archiving goes on with %s, after %s", name, duration(took))
        log.debug("archived %s", name)


def complete_segments(directory: str) -> list[str]:
    """The names of the complete segments in a spool directory, sorted."""
    try:
        return sorted(name for name in os.listdir(directory) if kind_of(name) == SEGMENT)
    except OSError as error:
        raise failed("list", directory, error) from error


def open_file(path: str) -> Reader:
    """A reader of a local file."""
    try:
        return LocalReader(os.open(path, os.O_RDONLY), path)
    except OSError as error:
        raise failed("read", path, error) from error
