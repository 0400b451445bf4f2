"""What killed backups left, turned into failed ones, and interrupted removals ended. No network."""

from __future__ import annotations

from datetime import UTC, datetime

from catalog import layout
from catalog.errors import Malformed, RepositoryError
from catalog.marks import FailedMark
from catalog.repository import Repository


def sweep(repository: Repository) -> None:
    """Turn what killed backups left into failed ones: their data goes, a mark stays. Under the backup lock."""
    for each in repository.backups.ids():
        try:
            # A bare directory is the last of a removal, or the first of a backup: in it was never anything to keep.
            is_bare = next(repository.storage.names(layout.backup_directory(each)), None) is None
            if is_bare or repository.backups.removed(each) is not None:
                repository.backups.finish_removal(each)
                continue
            started = repository.backups.started(each)
            record = repository.backups.find(each) if started is not None else None
        except (Malformed, RepositoryError):
            continue  # listings show it, and nothing of it is touched
        if started is None:
            continue
        if record is not None:
            repository.storage.delete(layout.backup_key(each, layout.STARTED))
            continue
        mark = FailedMark(
            started=started.started,
            ended=datetime.now(UTC),
            error="the backup was killed",
            hint="take it again",
        )
        repository.backups.fail(each, mark)
