"""What ``walstream.api`` offers that needs a repository and nothing else: no server, no psycopg.

``repository`` is the path of one server's repository directory; ``home``, where the spool is, is the same
directory unless another one is given.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from backup import restore as restoring
from backup.fetch import WalSource
from backup.restore import RestoreReport
from catalog.coverage import restorable
from catalog.record import BackupRecord
from catalog.repository import Repository, span_holdings
from catalog.sink import Reader
from catalog.target import RecoveryTarget
from walstream.ops import restore as planning
from walstream.ops.restore import PlannedRestore, RestoreRequest
from walstream.ops.stored import repository_at


@dataclass(frozen=True, slots=True)
class ListedBackup:
    """A backup that exists; ``restorable`` when all WAL of its own span is stored as well."""

    record: BackupRecord
    restorable: bool


def open_repository(repository: str) -> Repository:
    """Open a repository: its identity, ``wal`` and ``backups``. ``RepositoryError`` when there is none."""
    root = os.path.abspath(repository)
    return repository_at(root, os.path.basename(root))


def list_backups(repository: str) -> list[ListedBackup]:
    """All backups that exist, oldest first; running and failed ones are not among them."""
    found = open_repository(repository)
    holdings = span_holdings(found, found.backups.records())
    return [ListedBackup(record, restorable(record, holdings)) for record in holdings.records]


def open_wal(repository: str, name: str, *, partial: bool = False, home: str | None = None) -> Reader:
    """The raw bytes of a segment or history file, wherever it is; ``Absent`` when it is truly not there.

    With ``partial`` a segment that is not yet complete is found too: zeros follow what was received.
    """
    root = os.path.abspath(repository)
    return WalSource(root, os.path.abspath(home or root), partial=partial).open(name)


def plan_restore(
    repository: str,
    destination: str,
    backup: str = "auto",
    target: RecoveryTarget | None = None,
    *,
    tablespaces: Mapping[str, str] | None = None,
    standby_mode: bool = False,
    owner: str | None = None,
    home: str | None = None,
    scan: bool = True,
) -> PlannedRestore:
    """Decide how to restore, and refuse what cannot be done; nothing is written.

    ``backup`` is an id, a name, ``latest``, ``oldest``, or ``auto``: the newest from which the target can be
    reached. ``target`` None means all WAL there is. ``tablespaces`` maps names to new locations; ``owner`` is
    whom the files are to belong to, as root. Without ``scan`` no WAL is read to find the target.
    ``TargetUnreachable`` and ``DestinationRefused`` say why not.
    """
    request = RestoreRequest(
        backup=backup,
        destination=destination,
        target=target or RecoveryTarget(),
        tablespaces=dict(tablespaces or {}),
        owner=owner,
        standby_mode=standby_mode,
        scan=scan,
    )
    return planning.plan_restore(open_repository(repository), os.path.abspath(home or repository), request)


def restore(
    planned: PlannedRestore, on_progress: Callable[[int], None] = lambda nbytes: None
) -> RestoreReport:
    """Carry out a planned restore; the cluster recovers when it is started. ``on_progress`` gets bytes."""
    return restoring.restore(planned.plan, planned.repository, planned.options, on_progress)
