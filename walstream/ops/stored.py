"""What is stored, opened without the network: where all commands begin that work offline."""

from __future__ import annotations

from catalog.errors import Absent, RepositoryError
from catalog.repository import Repository, open_repository


def repository_at(root: str, name: str) -> Repository:
    """The repository in a directory, called ``name``; ``RepositoryError`` when there is none."""
    try:
        return open_repository(root)
    except Absent:
        raise RepositoryError(
            f"server {name!r} has no repository yet ({root!r} holds none)",
            "the first connection makes it: run 'walstream receive-wal' or 'walstream backup'",
        ) from None
