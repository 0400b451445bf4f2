"""The directory in which a bench measures the disk: locked while it lives, cleared by others when it was killed."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from catalog import durable
from catalog.local_storage import failed

_NAME = "bench"


@contextmanager
def bench_directory(place: str) -> Iterator[str]:
    """A new directory in ``place``, removed at the end; before that what killed benches have left there is."""
    clear_left(place)
    try:
        directory, lock = _new(place)
    except OSError as error:
        raise failed("write", place, error) from error
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _new(place: str) -> tuple[str, int | None]:
    """Make a directory, and its lock; again if it was taken for a killed bench's in the instant between."""
    prefix = f"{os.path.basename(durable.temporary_name(_NAME))}-"
    while True:
        directory = tempfile.mkdtemp(prefix=prefix, dir=place)
        with suppress(BlockingIOError, FileNotFoundError):
            lock = _locked(directory)
            if os.path.isdir(directory):
                return directory, lock
            if lock is not None:
                os.close(lock)


def clear_left(place: str) -> None:
    """Remove what benches have left in ``place`` that no longer live; what cannot be removed stays."""
    try:
        names = os.listdir(place)
    except OSError:
        return
    for name in names:
        if not (name.startswith(f"{_NAME}.") and durable.is_temporary(name)):
            continue
        path = os.path.join(place, name)
        with suppress(OSError):
            lock = _locked(path)
            if lock is not None:
                shutil.rmtree(path, ignore_errors=True)
                os.close(lock)


def _locked(directory: str) -> int | None:
    """A lock on a directory, until it is closed; None where there are no locks.

    ``BlockingIOError`` when another process has it.
    """
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise
    except OSError:
        os.close(fd)
        return None
    return fd
