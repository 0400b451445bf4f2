"""Plan and carry out a restore for an operator: holdings from disk, ids from words, owners from names.

Offline: needs the repository's directory and nothing else.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from backup import remote
from backup.configure import check_conf_name
from backup.copied_wal import wal_to_copy
from backup.locations import directories_of, refuse_misplaced, tablespace_locations
from backup.neutralise import AUTO_CONF
from backup.remote import RemoteOptions
from backup.restore import RestoreReport, lists_file, restore
from backup.restore_options import RestoreOptions
from backup.room import check_room
from catalog.coverage import Holdings
from catalog.decoding import ENCRYPTED
from catalog.errors import Malformed, RepositoryError, UsageError
from catalog.in_use import being_read
from catalog.lookup import find_backup
from catalog.pitr import AUTO, plan
from catalog.record import BackupRecord
from catalog.recovery import RecoveryPlan
from catalog.repository import Repository
from catalog.target import RecoveryTarget
from walstream.ops.recovery_plan import (
    plan_with_wal,
    reachable_holdings,
    received_timeline,
    refuse_incomplete,
    refuse_unreceived,
)
from walstream.ops.restore_elsewhere import Elsewhere, check_path_there, remote_options
from walstream.ops.restore_owner import ROOT_OWNS, chosen_owner, require_fetching

PREFETCH_SEGMENTS = 8  # where no configuration says otherwise


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """What the operator wants; ``backup`` is an id, a name, a word, or ``auto``.

    Without ``scan`` no WAL is read to find the target: the plan goes by names alone.
    Without ``get_wal`` the WAL is copied beforehand; ``conf_file`` is where the recovery settings go.
    """

    backup: str
    destination: str
    target: RecoveryTarget
    tablespaces: dict[str, str] = field(default_factory=dict)
    owner: str | None = None
    partial_wal: bool = True
    standby_mode: bool = False
    scan: bool = True
    prefetch_segments: int = PREFETCH_SEGMENTS
    get_wal: bool = True
    conf_file: str = AUTO_CONF
    jobs: int = 1
    elsewhere: Elsewhere | None = None

    @property
    def uses_partials(self) -> bool:
        """Whether the beginning of an incomplete segment counts; a standby waits for the whole one."""
        return self.partial_wal and not self.standby_mode


@dataclass(frozen=True, slots=True)
class PlannedRestore:
    """A plan that can be carried out; ``room`` has bytes needed and free by directory."""

    repository: Repository
    plan: RecoveryPlan
    options: RestoreOptions
    room: dict[str, tuple[int, int]]
    remote: RemoteOptions | None = None

    @property
    def nbytes(self) -> int:
        """The bytes of all archives that are to be laid down."""
        return sum(record.raw_size for record in self.plan.chain)


def restore_planned(
    planned: PlannedRestore, on_progress: Callable[[int], None] = lambda nbytes: None
) -> RestoreReport:
    """Carry it out, here or on another machine; meanwhile no backup of the chain is removed."""
    plan, repository, options = planned.plan, planned.repository, planned.options
    with being_read(repository, [record.id for record in plan.chain]):
        if planned.remote is not None:
            return remote.restore(plan, repository, options, planned.remote, on_progress)
        return restore(plan, repository, options, on_progress)


def plan_restore(
    repository: Repository,
    home: str,
    request: RestoreRequest,
    on_read: Callable[[int], None] = lambda nbytes: None,
) -> PlannedRestore:
    """Decide everything before a byte is written; ``on_read`` gets the bytes of WAL that were read so far.

    ``TargetUnreachable``, ``DestinationRefused``, ``UsageError`` and ``Absent`` say what is in the way.
    """
    if not request.destination:
        raise UsageError("the destination is empty", "name a directory; is a variable of the script unset?")
    check_conf_name(request.conf_file)
    if request.elsewhere is not None:
        check_path_there(request.destination)
    found = _plan(repository, home, request, on_read)
    _require_identity(repository, found.chain)
    elsewhere = request.elsewhere
    owner = chosen_owner(request.owner, request.destination) if elsewhere is None else None
    if request.get_wal:
        require_fetching(repository, owner)
    if owner is not None and owner[0] == 0:
        found = replace(found, warnings=(*found.warnings, ROOT_OWNS))
    options = _options(found, repository, home, request, owner)
    if elsewhere is None:
        locations = tablespace_locations(found.backup, options.tablespaces, options.destination)
        refuse_misplaced(directories_of(options.destination, locations), (repository.root, options.home))
        return PlannedRestore(repository, found, options, check_room(found, options))
    there = remote_options(found, repository, options, request.owner, elsewhere)
    return PlannedRestore(repository, found, options, remote.look(found, options, there)[1], there)


def _plan(
    repository: Repository, home: str, request: RestoreRequest, on_read: Callable[[int], None]
) -> RecoveryPlan:
    """The recovery that the request means; refused when what it needs has not come, or may not be used."""
    partial = request.uses_partials
    holdings, problems = reachable_holdings(repository, home, partial=partial)
    found = _plan_recovery(repository, home, request, holdings, on_read)
    found = replace(found, warnings=(*found.warnings, *problems))
    refuse_unreceived(found, repository, home)
    if not partial:
        refuse_incomplete(found, holdings)
    if request.conf_file != AUTO_CONF and lists_file(repository, found.backup, request.conf_file):
        raise UsageError(
            f"backup {found.backup.id} holds a file {request.conf_file!r} already",
            "give the recovery settings another one",
        )
    return found


def _plan_recovery(
    repository: Repository,
    home: str,
    request: RestoreRequest,
    holdings: Holdings,
    on_read: Callable[[int], None],
) -> RecoveryPlan:
    """Plan with or without reading WAL, from the backup that the operator's word means."""
    backup, target, standby = request.backup, request.target, request.standby_mode
    if backup != AUTO:
        failed = [each for each in repository.backups.ids() if _is_failed(repository, each)]
        backup = find_backup(backup, holdings.records, failed)
    if not request.scan:
        return plan(holdings, target, backup, current=received_timeline(home))
    partial = request.uses_partials
    return plan_with_wal(
        repository, home, holdings, target, backup, partial=partial, standby=standby, on_read=on_read
    )


def _options(
    found: RecoveryPlan,
    repository: Repository,
    home: str,
    request: RestoreRequest,
    owner: tuple[int, int] | None,
) -> RestoreOptions:
    options = RestoreOptions(
        destination=os.path.abspath(request.destination),
        home=os.path.abspath(home),
        python=sys.executable,
        tablespaces=request.tablespaces,
        owner=owner,
        partial_wal=request.uses_partials,
        standby_mode=request.standby_mode,
        prefetch_segments=request.prefetch_segments,
        conf_file=request.conf_file,
        jobs=request.jobs,
    )
    if request.get_wal:
        return options
    source = options.wal_source(repository, found.backup.id)
    return replace(options, wal=wal_to_copy(found, repository, source))


def _require_identity(repository: Repository, chain: Sequence[BackupRecord]) -> None:
    """Refuse what cannot be decrypted."""
    for backup in chain:
        for archive in backup.archives:
            if archive.file.endswith(ENCRYPTED):
                repository.backups.body(backup.id, archive.file)[1].close()


def _is_failed(repository: Repository, backup_id: str) -> bool:
    try:
        return repository.backups.failed(backup_id) is not None
    except (Malformed, RepositoryError):
        return True  # the mark is there, whatever it says
