"""From what an operator calls a backup to its id: an id, a word such as ``latest``, or a name. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from catalog.errors import Absent
from catalog.record import BackupRecord

LATEST = ("latest", "last")
OLDEST = ("oldest", "first")
LATEST_FULL = ("latest-full", "last-full")
LAST_FAILED = "last-failed"
WORDS = frozenset((*LATEST, *OLDEST, *LATEST_FULL, LAST_FAILED, "auto", "all"))


def find_backup(word: str, records: Sequence[BackupRecord], failed: Sequence[str]) -> str:
    """The id of the backup that ``word`` means.

    ``records`` are the backups that exist, oldest first, ``failed`` the ids of those that failed. A name
    means the newest backup of that name. A word never means a backup with bad page checksums: such a one
    is named by its id. ``Absent`` when nothing fits.
    """
    if word in failed or any(record.id == word for record in records):
        return word
    sound = [record for record in records if not record.checksum_errors]
    ids = [record.id for record in sound]
    full = [record.id for record in sound if record.type == "full"]
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
