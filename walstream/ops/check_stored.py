"""``check``, the part that needs no server: directories, receiver, spool, WAL archive, backups, disk.

Only reads. What cannot be read is a failure of its item, and the other items are answered all the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache

from catalog import layout
from catalog.errors import Absent, WalstreamError
from catalog.local_storage import LocalStorage, failed
from catalog.lock import is_held
from catalog.repository import Repository, refuse_foreign
from catalog.repository_identity import read_identity
from catalog.state import read_receiver_state, receiver_lock_path
from walstream.ops import wiring
from walstream.ops.check_receiver import RUNNING, SPOOL, running_item, spool_item
from walstream.ops.check_wal import WAL_ARCHIVE, WAL_GAPS, archive_item, gaps_item
from walstream.ops.held_wal import held_wal
from walstream.ops.items import Item, failure, fine, in_units, judged
from walstream.ops.receiver_facts import receiver_facts
from walstream.ops.requirements import Lack
from walstream.settings.server import ServerSettings


def stored_items(settings: ServerSettings, now: float) -> tuple[list[Item], Repository | None]:
    """The items, and the repository when it can be opened."""
    home = settings.home
    directories, repository = _directories(settings)
    items = [directories]
    if repository is not None:
        stored = repository
        items.append(_guarded("failed backups", lambda label: _failed_backups(label, stored)))
        items.append(_guarded("suspect backups", lambda label: _suspect_backups(label, stored)))
    if settings.streaming_archiver and settings.active:
        items.append(_guarded(RUNNING, lambda _: running_item(settings, receiver_facts(home), now)))
    items.append(_guarded(SPOOL, lambda _: spool_item(settings, receiver_facts(home), now)))
    errors = os.path.join(home, layout.ERRORS)
    items.append(_guarded("archiver errors", lambda label: _refused_files(label, errors)))
    if repository is not None:
        held = cache(lambda: held_wal(stored, home))
        items.append(_guarded(WAL_ARCHIVE, lambda _: archive_item(settings, held())))
        last = read_receiver_state(home)
        timeline = last.timeline if last is not None else None
        items.append(_guarded(WAL_GAPS, lambda _: gaps_item(settings, held(), timeline)))
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


def _disk_space(label: str, root: str) -> Item:
    status = os.statvfs(root)
    left, total = status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize
    text = f"{in_units(left)} of {in_units(total)} free"
    if left < total // 100:
        return failure(label, text, "make room, or move the repository to a larger disk")
    return fine(label, text)
