"""What ``walstream.api`` offers that needs a repository and nothing else: no server, no psycopg.

``repository`` is the path of one server's repository directory; ``home``, where the spool is, is the same
directory unless another one is given.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from backup.fetch import WalSource
from backup.neutralise import AUTO_CONF
from backup.restore import RestoreReport
from catalog.coverage import restorable
from catalog.errors import UsageError
from catalog.identity import Identities
from catalog.record import BackupRecord
from catalog.repository import Repository, span_holdings
from catalog.sink import Reader
from catalog.target import RecoveryTarget
from walstream.ops import restore as planning
from walstream.ops.restore import PREFETCH_SEGMENTS, PlannedRestore, RestoreRequest
from walstream.ops.stored import repository_at

MOST_JOBS = 64
MOST_PREFETCHED = 1024


@dataclass(frozen=True, slots=True)
class ListedBackup:
    """A backup that exists; ``restorable`` when all WAL of its own span is stored as well."""

    record: BackupRecord
    restorable: bool


def open_repository(repository: str, identity_file: str | None = None) -> Repository:
    """Open a repository: its identity, ``wal`` and ``backups``. ``RepositoryError`` when there is none.

    ``identity_file`` has the identity that opens what is encrypted in it.
    """
    root = os.path.abspath(repository)
    opened = repository_at(root, os.path.basename(root))
    return opened.with_identities(Identities(os.path.abspath(identity_file))) if identity_file else opened


def list_backups(repository: str) -> list[ListedBackup]:
    """All backups that exist, oldest first; running and failed ones are not among them."""
    found = open_repository(repository)
    holdings = span_holdings(found, found.backups.records())
    return [ListedBackup(record, restorable(record, holdings)) for record in holdings.records]


def open_wal(
    repository: str,
    name: str,
    *,
    partial: bool = False,
    home: str | None = None,
    identity_file: str | None = None,
) -> Reader:
    """The raw bytes of a segment or history file, wherever it is; ``Absent`` when it is truly not there.

    With ``partial`` a segment that is not yet complete is found too: zeros follow what was received.
    """
    root = os.path.abspath(repository)
    identities = Identities(identity_file)
    return WalSource(root, os.path.abspath(home or root), partial=partial, identities=identities).open(name)


def plan_restore(
    repository: str,
    destination: str,
    backup: str = "auto",
    target: RecoveryTarget | None = None,
    *,
    tablespaces: Mapping[str, str] | None = None,
    standby_mode: bool = False,
    get_wal: bool = True,
    owner: str | None = None,
    home: str | None = None,
    identity_file: str | None = None,
    scan: bool = True,
    partial_wal: bool = True,
    prefetch_segments: int = PREFETCH_SEGMENTS,
    jobs: int = 1,
    conf_file: str = AUTO_CONF,
) -> PlannedRestore:
    """Decide how to restore, and refuse what cannot be done; nothing is written.

    ``backup`` is an id, a name, ``latest``, ``oldest``, or ``auto``: the newest from which the target can be
    reached. ``target`` None means all WAL there is. ``tablespaces`` maps names to new locations; without
    ``get_wal`` the WAL is copied too, and the cluster recovers without the repository; ``owner`` is whom the
    files are to belong to, as root; ``identity_file`` opens an encrypted backup, now and while the server
    recovers. Without ``scan`` no WAL is read to find the target, without ``partial_wal`` the segment is not used
    that is not complete yet. While it recovers, the cluster has ``prefetch_segments`` decoded ahead (0: none);
    ``jobs`` threads decompress the backup; ``conf_file`` of the data directory gets the recovery settings.
    ``TargetUnreachable`` and ``DestinationRefused`` say why not.
    """
    if not 0 <= prefetch_segments <= MOST_PREFETCHED:
        raise UsageError(f"prefetch_segments cannot be {prefetch_segments}", f"from 0 to {MOST_PREFETCHED}")
    if not 1 <= jobs <= MOST_JOBS:
        raise UsageError(f"jobs cannot be {jobs}", f"from 1 to {MOST_JOBS}")
    request = RestoreRequest(
        backup=backup,
        destination=destination,
        target=target or RecoveryTarget(),
        tablespaces=dict(tablespaces or {}),
        owner=owner,
        standby_mode=standby_mode,
        get_wal=get_wal,
        scan=scan,
        partial_wal=partial_wal,
        prefetch_segments=prefetch_segments,
        jobs=jobs,
        conf_file=conf_file,
    )
    opened = open_repository(repository, identity_file)
    return planning.plan_restore(opened, os.path.abspath(home or repository), request)


def restore(
    planned: PlannedRestore, on_progress: Callable[[int], None] = lambda nbytes: None
) -> RestoreReport:
    """Carry out a planned restore; the cluster recovers when it is started. ``on_progress`` gets bytes."""
    return planning.restore_planned(planned, on_progress)
