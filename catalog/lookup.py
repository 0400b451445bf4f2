"""From what an operator calls a backup to its id: an id, a word such as ``latest``, or a name. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from catalog.errors import Absent
from catalog.record import BackupRecord

LATEST = ("latest", "last")
OLDEST = ("oldest", "first")
LATEST_FULL = ("latest-full", "last-full")
LAST_FAILED = "last-failed"


def find_backup(word: str, records: Sequence[BackupRecord], failed: Sequence[str]) -> str:
    """The id of the backup that ``word`` means.

    ``records`` are the backups that exist, oldest first, ``failed`` the ids of those that failed. A name
    means the newest backup of that name. ``Absent`` when nothing fits.
    """
    ids = [record.id for record in records]
    full = [record.id for record in records if record.type == "full"]
    if word in (*ids, *failed):
        return word
    for words, candidates in (
        (LATEST, ids[-1:]),
        (OLDEST, ids[:1]),
        (LATEST_FULL, full[-1:]),
        ((LAST_FAILED,), list(failed)[-1:]),
    ):
        if word in words:
            if not candidates:
                raise Absent(f"there is no {word!r} backup", "'walstream list-backups' shows what there is")
            return candidates[0]
    named = [record.id for record in records if record.name == word]
    if named:
        return named[-1]
    raise Absent(f"there is no backup {word!r}", "'walstream list-backups' shows what there is")
