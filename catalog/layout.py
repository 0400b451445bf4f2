"""Where each thing lives in a repository: the only module that knows its paths.

The picture is in ``docs/format.md``. All functions return keys, relative to the repository's
root, with ``/`` between the parts. On the path of ``get-wal``.
"""

from __future__ import annotations

from catalog.walname import HISTORY, kind_of

IDENTITY = "identity.json"
BASE = "base"
WALS = "wals"
LOCKS = "lock"
RECORD = "record.json"
STARTED = "started.json"
FAILED = "failed.json"
VERIFIED = "verified.json"
KEEP = "keep.json"
REMOVED = "removed.json"
MANIFEST = "backup_manifest"
MAIN_ARCHIVE = "base.tar"
BACKUP_WAL = "wal"

# The locks of a repository, below LOCKS.
ARCHIVE_LOCK = "archive"
BACKUP_LOCK = "backup"
# Beside them: backups and WAL are being removed, or that was interrupted.
REMOVING = f"{LOCKS}/removing"

STREAMING = "streaming"
INCOMING = "incoming"
ERRORS = "errors"
STATE = "state"
COMMITS = "commits"
VERIFIED_WAL = "verified"


def wal_directory(name: str) -> str:
    """The directory of a WAL file: histories lie in ``wals``, the rest by the first 16 digits."""
    return WALS if kind_of(name) == HISTORY else f"{WALS}/{name[:16]}"


def wal_key(name: str, suffix: str = "") -> str:
    """The key of a stored WAL file; ``suffix`` is the codec's."""
    return f"{wal_directory(name)}/{name}{suffix}"


def backup_directory(backup_id: str) -> str:
    """The directory of one backup."""
    return f"{BASE}/{backup_id}"


def backup_key(backup_id: str, file: str) -> str:
    """The key of a file of one backup."""
    return f"{BASE}/{backup_id}/{file}"


def backup_wal_key(backup_id: str, name: str, suffix: str = "") -> str:
    """The key of the beginning of a backup's last segment, stored with the backup."""
    return f"{BASE}/{backup_id}/{BACKUP_WAL}/{name}{suffix}"


def commits_key(directory: str) -> str:
    """The key, below the home, of what is known of the records in one directory of segments."""
    return f"{STATE}/{COMMITS}/{directory}.json"


def verified_key(directory: str) -> str:
    """The key, below the home, of what was verified of one directory of segments."""
    return f"{STATE}/{VERIFIED_WAL}/{directory}.json"


def archive_name(oid: int | None) -> str:
    """The file of a backup's archive before any codec: the main one, or a tablespace's."""
    return MAIN_ARCHIVE if oid is None else f"{oid}.tar"
