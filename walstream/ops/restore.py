"""Plan and carry out a restore for an operator: holdings from disk, ids from words, owners from names.

Offline: needs the repository's directory and nothing else.
"""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

from backup import destination, remote
from backup.configure import check_conf_name
from backup.copied_wal import wal_to_copy
from backup.fetch import WalSource, is_blank
from backup.neutralise import AUTO_CONF
from backup.remote import RemoteOptions
from backup.restore import RestoreOptions, RestoreReport, lists_file, restore
from backup.room import check_room, places_of
from catalog import layout
from catalog.codec import ENCRYPTED
from catalog.coverage import Holdings
from catalog.errors import DestinationRefused, Malformed, RepositoryError, TargetUnreachable, UsageError
from catalog.in_use import being_read
from catalog.inventory import Inventory
from catalog.lookup import find_backup
from catalog.pitr import AUTO, RecoveryPlan, plan
from catalog.record import BackupRecord
from catalog.repository import Repository, readable_holdings
from catalog.state import read_receiver_state
from catalog.target import POSITION, RecoveryTarget
from catalog.walname import PARTIAL, SEGMENT, Segment, kind_of
from walstream.ops.recovery_plan import plan_with_wal, received_timeline
from walstream.ops.restore_elsewhere import Elsewhere, check_path_there, remote_options

PREFETCH_SEGMENTS = 8  # where no configuration says otherwise
ROOT_OWNS = (
    "the restored files will belong to root, as whom PostgreSQL refuses to run: "
    "unless a user namespace changes that, say whom they belong to with --owner"
)


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
    partial = request.partial_wal and not request.standby_mode
    holdings, problems = reachable_holdings(repository, home, partial=partial)
    found = _plan(repository, home, request, holdings, on_read)
    found = replace(found, warnings=(*found.warnings, *problems))
    _refuse_unreceived(found, repository, home)
    _refuse_unused(found, holdings, partial)
    if request.conf_file != AUTO_CONF and lists_file(repository, found.backup, request.conf_file):
        raise UsageError(
            f"backup {found.backup.id} holds a file {request.conf_file!r} already",
            "give the recovery settings another one",
        )
    _require_identity(repository, found.chain)
    source = WalSource(
        repository.root,
        os.path.abspath(home),
        partial=partial,
        backup_id=found.backup.id,
        identities=repository.identities,
    )
    elsewhere = request.elsewhere
    owner = _owner(request, repository) if elsewhere is None else None
    if owner is not None and owner[0] == 0:
        found = replace(found, warnings=(*found.warnings, ROOT_OWNS))
    if request.get_wal:
        _require_lasting_identity(repository, owner)
    options = RestoreOptions(
        destination=os.path.abspath(request.destination),
        home=os.path.abspath(home),
        python=sys.executable,
        tablespaces=request.tablespaces,
        owner=owner,
        partial_wal=partial,
        standby_mode=request.standby_mode,
        prefetch_segments=request.prefetch_segments,
        conf_file=request.conf_file,
        jobs=request.jobs,
        wal=None if request.get_wal else wal_to_copy(found, repository, source),
    )
    if elsewhere is None:
        destination.refuse_misplaced(places_of(found, options), (repository.root, options.home))
        return PlannedRestore(repository, found, options, check_room(found, options))
    there = remote_options(found, repository, options, request.owner, elsewhere)
    return PlannedRestore(repository, found, options, remote.look(found, options, there)[1], there)


def _plan(
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
    partial = request.partial_wal and not standby
    return plan_with_wal(
        repository, home, holdings, target, backup, partial=partial, standby=standby, on_read=on_read
    )


def _require_identity(repository: Repository, chain: Sequence[BackupRecord]) -> None:
    """Refuse what cannot be decrypted."""
    for backup in chain:
        for archive in backup.archives:
            if archive.file.endswith(ENCRYPTED):
                repository.backups.body(backup.id, archive.file)[1].close()


def _require_lasting_identity(repository: Repository, owner: tuple[int, int] | None) -> None:
    """Refuse an identity that the restored server could not read while it recovers."""
    path = repository.identities.file
    if path is None:
        return
    if not os.path.isfile(path):
        raise UsageError(
            f"the identity in {path!r} can be read only once, and the restored server needs it again",
            "put it into a file, or say how to get it with --identity-command",
        )
    uid = os.stat(path).st_uid
    if owner is not None and owner[0] not in (0, uid):
        raise DestinationRefused(
            f"the user with id {owner[0]} cannot read {path!r}, so the restored server could not decrypt its WAL",
            f"give a copy that belongs to that user (mode 0600) as --identity-file; this one belongs to id {uid}",
        )


def _is_failed(repository: Repository, backup_id: str) -> bool:
    try:
        return repository.backups.failed(backup_id) is not None
    except (Malformed, RepositoryError):
        return True  # the mark is there, whatever it says


def reachable_holdings(repository: Repository, home: str, *, partial: bool) -> tuple[Holdings, list[str]]:
    """The repository's holdings and what the spool has, with its incomplete segments if ``partial``.

    And what is wrong with the documents that could not be read.
    """
    holdings, problems = readable_holdings(repository)
    spool = os.path.join(home, layout.STREAMING)
    try:
        names = os.listdir(spool)
    except FileNotFoundError:
        return holdings, problems
    kinds = {SEGMENT, PARTIAL} if partial else {SEGMENT}
    # A partial segment that is blank was made when another was full: nothing had arrived for it yet.
    held = [
        name[:24]
        for name in names
        if kind_of(name) in kinds and not (kind_of(name) == PARTIAL and is_blank(os.path.join(spool, name)))
    ]
    inventory = holdings.inventory | Inventory.from_names(held, holdings.size)
    return replace(holdings, inventory=inventory), problems


def _refuse_unreceived(found: RecoveryPlan, repository: Repository, home: str) -> None:
    """A position inside the segment that is being received is reachable only if its bytes have arrived.

    Where the WAL was read, that is known already.
    """
    position = found.target.lsn
    size = repository.identity.wal_segment_size
    if found.target.kind != POSITION or position is None or found.reached is not None:
        return
    spooled = os.path.join(home, layout.STREAMING, f"{found.until.name(size)}.partial")
    state = read_receiver_state(home)
    if not os.path.exists(spooled) or state is None:
        return
    if Segment.at(state.timeline, state.flushed, size) == found.until and position >= state.flushed:
        raise TargetUnreachable(
            f"the target {position} is not in the WAL stored so far, which ends at {state.flushed}",
            "wait for the receiver, or choose an earlier target",
        )


def _refuse_unused(found: RecoveryPlan, holdings: Holdings, partial: bool) -> None:
    """What the target needs may be there as an incomplete segment only, and those were not to be used."""
    if not partial and not holdings.inventory_for(found.backup).has(found.until):
        size = found.backup.wal_segment_size
        raise TargetUnreachable(
            f"segment {found.until.name(size)}, which the target needs, is not complete",
            "with --partial-wal (and not --standby-mode) its beginning is used too",
        )


def _owner(request: RestoreRequest, repository: Repository) -> tuple[int, int] | None:
    """Whom the restored files are to belong to, who must be able to read the repository if WAL is fetched."""
    owner = _wanted_owner(request)
    if owner is not None and owner[0] != 0 and request.get_wal:
        _require_usable(repository, *owner)
    return owner


def _require_usable(repository: Repository, uid: int, gid: int) -> None:
    """Refuse when the restored server could not fetch WAL; looked at by permission bits."""
    try:
        groups = set(os.getgrouplist(pwd.getpwuid(uid).pw_name, gid))
    except KeyError:
        groups = {gid}
    for name, wanted in (("", 0o5), (layout.WALS, 0o5), (layout.IDENTITY, 0o4)):
        path = os.path.join(repository.root, name)
        if not _may(wanted, path, uid, groups):
            raise DestinationRefused(
                f"the user with id {uid} cannot read {path!r}, so the restored server could not fetch its WAL",
                "add that user to the group of the repository's files (and make parent directories passable)",
            )
    closed = closed_on_the_way(sys.executable, uid, groups)
    if closed is not None:
        raise DestinationRefused(
            f"the user with id {uid} cannot run {sys.executable!r} because of the mode of {closed!r}, "
            "so the restored server could not fetch its WAL",
            "install walstream where that user can run it, outside the home directory of another",
        )


def closed_on_the_way(program: str, uid: int, groups: Collection[int]) -> str | None:
    """What keeps a user from running a program: a directory on the way to it, or itself; links are followed."""
    for path in (os.path.abspath(program), os.path.realpath(program)):
        parts = path.split(os.sep)
        for count in range(1, len(parts) + 1):
            part = os.sep.join(parts[:count]) or os.sep
            if not _may(0o1, part, uid, groups):
                return part
    return None


def _may(wanted: int, path: str, uid: int, groups: Collection[int]) -> bool:
    facts = os.stat(path)
    shift = 6 if facts.st_uid == uid else 3 if facts.st_gid in groups else 0
    return (facts.st_mode >> shift) & wanted == wanted


def _wanted_owner(request: RestoreRequest) -> tuple[int, int] | None:
    """Only root can give files away, and must."""
    if request.owner is not None:
        return _account(request.owner)
    if os.geteuid() != 0:
        return None
    try:
        existing = os.stat(request.destination)
    except FileNotFoundError:
        raise UsageError(
            f"{request.destination!r} does not exist, and root must not own a cluster",
            "say whom it belongs to with --owner postgres, or make the directory first",
        ) from None
    return existing.st_uid, existing.st_gid


def _account(name: str) -> tuple[int, int]:
    if os.geteuid() != 0:
        raise UsageError("--owner needs root", "leave it out: the files will belong to you")
    try:
        entry = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except KeyError:
        raise UsageError(f"there is no user {name!r} on this machine", "name PostgreSQL's user") from None
    return entry.pw_uid, entry.pw_gid
