"""The directory of the demo: what lies where in it, made and removed, and whether a server can be run there."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass

import walstream
from catalog.errors import DestinationRefused
from catalog.local_storage import failed
from walstream.ops import unprivileged

SERVER = "demo"


@dataclass(frozen=True, slots=True)
class Places:
    """What lies where in the demo's directory; ``sockets`` may be too long a path, and is then not used."""

    config: str
    home: str
    origin: str
    restored: str
    sockets: str

    @classmethod
    def within(cls, directory: str) -> Places:
        names = ("walstream.conf", "walstream", "origin", "restored", "socket")
        return cls(*(os.path.join(os.path.abspath(directory), name) for name in names))

    @property
    def repository(self) -> str:
        """The repository of the one server."""
        return os.path.join(self.home, SERVER)


@contextlib.contextmanager
def place(keep: str | None) -> Iterator[str]:
    """A directory for the demo: one that is removed afterwards, or ``keep``, which must be absent or empty."""
    closed = unprivileged.way().uid is None
    if keep is not None:
        yield _kept(os.path.abspath(keep), 0o700 if closed else 0o711)
        return
    directory = tempfile.mkdtemp(prefix="walstream-demo-")
    try:
        os.chmod(directory, 0o700 if closed else 0o711)
        yield directory
    finally:
        _remove(directory)


def require_reach(binaries: str, directory: str) -> None:
    """``DestinationRefused`` unless whoever PostgreSQL runs as can reach all that it has to run and read."""
    way = unprivileged.way()
    for path in (binaries, sys.executable, os.path.dirname(sys.executable), root_of_ours()):
        way.require_access(os.path.join(path, "x") if os.path.isdir(path) else path)
    way.require_access(os.path.join(directory, "x"))


def root_of_ours() -> str:
    """The directory from which this walstream was imported."""
    return os.path.dirname(os.path.dirname(os.path.abspath(walstream.__file__)))


def _kept(directory: str, mode: int) -> str:
    try:
        if os.path.lexists(directory):
            if os.listdir(directory):
                raise DestinationRefused(
                    f"{directory!r} is not empty", "name an empty or absent directory; nothing was written"
                )
        else:
            os.makedirs(directory)
            os.chmod(directory, mode)
    except OSError as error:
        raise failed("make", directory, error) from error
    return directory


def _remove(directory: str) -> None:
    """Remove all of it; a restore_command that outlives its server for a moment may still add a file."""
    for _ in range(20):
        shutil.rmtree(directory, ignore_errors=True)
        if not os.path.exists(directory):
            return
        time.sleep(0.05)
    shutil.rmtree(directory)
