"""``check``, the part that needs no server: directories, receiver, spool, WAL archive, backups, disk.

Only reads. What cannot be read is a failure of its item, and the other items are answered all the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from catalog import coverage, layout
from catalog.errors import Absent, WalstreamError
from catalog.gaps import open_gaps, read_gaps
from catalog.inventory import Inventory, Run
from catalog.local_storage import LocalStorage, failed
from catalog.lock import is_held
from catalog.repository import Repository, refuse_foreign, stored_holdings
from catalog.repository_identity import read_identity
from catalog.state import receiver_lock_path
from walstream.archiver import complete_segments
from walstream.ops import wiring
from walstream.ops.items import Item, failure, fine, in_units, judged
from walstream.ops.requirements import Lack
from walstream.settings.server import ServerSettings

LONGEST_WAIT = 300.0


def stored_items(
    settings: ServerSettings, receiving: bool, now: float
) -> tuple[list[Item], Repository | None]:
    """The items, and the repository when it can be opened."""
    home = settings.home
    directories, repository = _directories(settings)
    items = [directories]
    if repository is not None:
        stored = repository
        items.append(_guarded("failed backups", lambda label: _failed_backups(label, stored)))
        items.append(_guarded("suspect backups", lambda label: _suspect_backups(label, stored)))
    if settings.streaming_archiver and settings.active:
        items.append(_guarded("receive-wal running", lambda label: _receiver(label, settings)))
    spool = os.path.join(home, layout.STREAMING)
    items.append(
        _guarded("streaming WALs directory", lambda label: _spool(label, settings, spool, receiving, now))
    )
    errors = os.path.join(home, layout.ERRORS)
    items.append(_guarded("archiver errors", lambda label: _refused_files(label, errors)))
    if repository is not None:
        items.append(_guarded("WAL archive", lambda label: _wal_archive(label, settings, stored, spool)))
        items.append(_guarded("disk space", lambda label: _disk_space(label, stored.root)))
    return items, repository


def is_receiving(settings: ServerSettings) -> bool:
    """Whether a receiver of this server runs, on this host."""
    return is_held(receiver_lock_path(settings.home))


def _guarded(label: str, look: Callable[[str], Item]) -> Item:
    try:
        return look(label)
    except OSError as error:
        trouble: WalstreamError = failed("read", str(error.filename), error)
    except WalstreamError as error:
        trouble = error
    return judged(label, Lack(trouble.message, trouble.hint or "see what the message names"))


def _directories(settings: ServerSettings) -> tuple[Item, Repository | None]:
    opened: list[Repository] = []

    def look(label: str) -> Item:
        repository = wiring.stored_repository(settings)
        opened.append(repository)
        if os.path.abspath(settings.home) != repository.root:
            _check_home(settings.home, repository)
        beneath = [os.path.join(repository.root, each) for each in (layout.BASE, layout.WALS, layout.LOCKS)]
        own = (layout.STREAMING, layout.INCOMING, layout.ERRORS, layout.STATE)
        local = [os.path.join(settings.home, each) for each in own]
        for path in (repository.root, *beneath, settings.home, *local):
            if os.path.lexists(path) and not os.access(path, os.R_OK | os.W_OK | os.X_OK):
                who = "run as the user that owns the repository, or give this user access; see that the file "
                return failure(label, f"{path} cannot be written", f"{who}system is mounted for writing")
        return fine(label)

    return _guarded("directories", look), opened[0] if opened else None


def _check_home(home: str, repository: Repository) -> None:
    try:
        read_identity(LocalStorage(home)).require(repository.identity.system_identifier)
    except Absent:
        refuse_foreign(home)


def _failed_backups(label: str, repository: Repository) -> Item:
    shelf = repository.backups
    running = is_held(repository.lock_path(layout.BACKUP_LOCK))
    failures = [
        each
        for each in shelf.ids()
        if shelf.find(each) is None and (shelf.failed(each) is not None or not running)
    ]
    if not failures:
        return fine(label)
    path = os.path.join(repository.root, layout.BASE, failures[-1])
    return failure(
        label,
        f"there are {len(failures)}, the last of them {failures[-1]}",
        f"see why in {os.path.join(path, layout.FAILED)}, then remove it: rm -r '{path}'",
    )


def _suspect_backups(label: str, repository: Repository) -> Item:
    """Backups during which the server reported bad pages."""
    shelf = repository.backups
    suspect = [each for each in shelf.ids() if (record := shelf.find(each)) and record.checksum_errors]
    if not suspect:
        return fine(label)
    return failure(
        label,
        f"the server found bad page checksums during {len(suspect)}, the last of them {suspect[-1]}",
        "check the server's disks (its log names the files), and take a new backup",
    )


def _receiver(label: str, settings: ServerSettings) -> Item:
    if is_receiving(settings):
        return fine(label)
    return failure(label, "no receiver runs: WAL is not protected", f"walstream receive-wal {settings.name}")


def _spool(label: str, settings: ServerSettings, spool: str, receiving: bool, now: float) -> Item:
    """Segments that were received and are not yet in the repository."""
    waiting = complete_segments(spool) if os.path.isdir(spool) else []
    if not waiting:
        return fine(label)
    hint = f"{len(waiting)} segments wait to be archived"
    if not receiving:
        return failure(label, f"{hint}, and no receiver runs", f"run: walstream receive-wal {settings.name}")
    try:
        waited = now - os.stat(os.path.join(spool, waiting[0])).st_mtime
    except FileNotFoundError:
        return fine(label, hint)
    if waited > LONGEST_WAIT:
        return failure(
            label,
            f"{hint}, the oldest for {waited / 60:.0f} minutes",
            "see the receiver's log for what keeps it from writing to the repository",
        )
    return fine(label, hint)


def _refused_files(label: str, errors: str) -> Item:
    names = os.listdir(errors) if os.path.isdir(errors) else []
    refused = sorted(name for name in names if not name.endswith(".why"))
    if not refused:
        return fine(label)
    return failure(
        label,
        f"{len(refused)} files were refused, the last of them {refused[-1]}",
        f"read the .why beside each in {errors}; remove both when it is settled",
    )


def _wal_archive(label: str, settings: ServerSettings, repository: Repository, spool: str) -> Item:
    """Gaps behind the oldest backup, along every path of timelines that a backup can be recovered on.

    And those that the receiver had to accept: behind them there may be no complete segment yet.
    """
    holdings = stored_holdings(repository)
    inventory = holdings.inventory
    if os.path.isdir(spool):
        inventory |= Inventory.from_names(complete_segments(spool), holdings.size)
    followed: set[str] = set()
    gaps: set[Run] = set()
    for timeline, path in holdings.paths().items():
        records = [record for record in holdings.records if coverage.carries(path, record)]
        if not coverage.holds_wal_of(timeline, inventory):
            records = [record for record in records if record.end.timeline == timeline]
        records = [record for record in records if record.id not in followed]
        if not records:
            continue
        followed |= {record.id for record in records}
        first = min(record.first_segment.number for record in records)
        newest = coverage.newest(path, inventory, holdings.size)
        last = max(*(record.last_segment.number for record in records), newest.number if newest else 0)
        held = inventory | Inventory.of(
            each for record in records for each in holdings.own.get(record.id, ())
        )
        gaps.update(coverage.missing(path, held, first, last, holdings.size))
    for gap in open_gaps(read_gaps(settings.home, holdings.size), holdings):
        gaps.update(inventory.missing(gap.run.timeline, gap.run.first, gap.run.last))
    if gaps:
        named = coverage.names(tuple(sorted(gaps)), holdings.size)
        return failure(
            label,
            f"missing since the oldest backup: {named}",
            f"a restore cannot pass that: take a new backup (walstream backup {settings.name}), or copy the "
            "segments here from another archive",
        )
    if not holdings.records:
        return fine(label, f"no backup yet: walstream backup {settings.name}")
    return fine(label)


def _disk_space(label: str, root: str) -> Item:
    status = os.statvfs(root)
    left, total = status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize
    text = f"{in_units(left)} of {in_units(total)} free"
    if left < total // 100:
        return failure(label, text, "make room, or move the repository to a larger disk")
    return fine(label, text)
