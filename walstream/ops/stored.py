"""What is stored, opened and locked without the network: where all commands begin that work offline."""

from __future__ import annotations

from catalog import layout
from catalog.errors import Absent, RepositoryError
from catalog.lock import Lock
from catalog.repository import Repository, open_repository, refuse_vanished


def repository_at(root: str, name: str, home: str | None = None) -> Repository:
    """The repository in a directory, called ``name``; ``RepositoryError`` when there is none.

    ``StorageError`` when the server's ``home`` says that there was one.
    """
    if home is not None:
        refuse_vanished(root, home)
    try:
        return open_repository(root)
    except Absent:
        raise RepositoryError(
            f"server {name!r} has no repository yet ({root!r} holds none)",
            "is its disk mounted? If there never was one, the first connection makes it: walstream run, or backup",
        ) from None


def archive_lock(repository: Repository, name: str) -> Lock:
    """The lock of whoever files WAL."""
    return repository.lock(layout.ARCHIVE_LOCK, f"archiving WAL of {name!r}")


def backup_lock(repository: Repository, name: str) -> Lock:
    """The lock of whoever adds or removes backups; to be had on a full disk, where removing them makes room."""
    what = f"taking or removing backups of {name!r}"
    return repository.lock(layout.BACKUP_LOCK, what, unsigned_when_full=True)
