"""``check``, the part that needs no server: directories, receiver, spool, WAL archive, backups, disk.

Only reads. What cannot be read is a failure of its item, and the other items are answered all the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache

from catalog import durable, layout
from catalog.errors import Absent, WalstreamError
from catalog.local_storage import LocalStorage, failed
from catalog.lock import is_held
from catalog.record import BackupRecord
from catalog.repository import Repository, refuse_foreign
from catalog.repository_identity import read_identity
from catalog.retention import satisfies
from catalog.state import live_receiver_state, read_receiver_state, receiver_lock_path
from catalog.statuses import FAILED, FIND_RELATION, bad_pages
from catalog.survey import Survey, survey
from catalog.units import size
from walstream.ops import wiring
from walstream.ops.archive import incoming_of
from walstream.ops.check_limits import BACKUP_AGE, Newest, limit_items, newest_of
from walstream.ops.check_receiver import RUNNING, SPOOL, running_item, spool_item
from walstream.ops.check_wal import (
    OLD_BRANCHES,
    WAL_ARCHIVE,
    WAL_GAPS,
    archive_item,
    branches_item,
    gaps_item,
)
from walstream.ops.held_wal import HeldWal, held_wal
from walstream.ops.items import Item, at_local_time, failure, fine, judged
from walstream.ops.left_branches import left_branches
from walstream.ops.local import rules_of
from walstream.ops.receiver_facts import receiver_facts
from walstream.ops.requirements import Lack
from walstream.ops.retain import judge_all
from walstream.ops.timetable import last_failure
from walstream.settings.server import ServerSettings

REDUNDANCY = "minimum redundancy requirements"
DISK = "disk space"
SPOOL_DISK = "disk space of walstream_home"
LEAST_SEGMENTS = 4
LARGE_SEGMENT = 16 << 20


def stored_items(settings: ServerSettings, now: float) -> tuple[list[Item], Repository | None]:
    """The items, and the repository when it can be opened."""
    home = settings.home
    directories, repository = _directories(settings)
    items = [directories]
    if repository is not None:
        stored = repository
        surveyed = cache(lambda: survey(stored))
        items.append(_guarded("failed backups", lambda label: _failed_backups(label, settings, surveyed())))
        items.append(_guarded("suspect backups", lambda label: _suspect_backups(label, stored)))
        items.append(_guarded(REDUNDANCY, lambda label: _redundancy(label, settings, stored, surveyed())))
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
        items.append(_guarded(OLD_BRANCHES, lambda _: _old_branches(stored, home, held(), timeline)))
        items += _limit_items(settings, repository, surveyed, now)
    items += _disk_items(settings, repository)
    return items, repository


def figures(
    settings: ServerSettings, repository: Repository | None, now: float
) -> dict[str, tuple[float, str]]:
    """What monitoring draws, each with its unit; what cannot be read is left out."""
    found: dict[str, tuple[float, str]] = {}
    with suppress(WalstreamError, OSError):
        newest = newest_of(_sound(survey(repository))) if repository is not None else None
        if newest is not None:
            found["backup_age"] = (max(0.0, now - newest.end.time.timestamp()), "s")
            found["backup_size"] = (newest.cluster_size, "B")
        state = live_receiver_state(settings.home)
        if state is not None:
            found["receiver_lag"] = (max(0, state.server - state.flushed), "B")
    return found


def _limit_items(
    settings: ServerSettings, repository: Repository, surveyed: Callable[[], Survey], now: float
) -> list[Item]:
    try:
        found = surveyed()
        newest = Newest(
            newest_of(_sound(found)),
            _newest_wal_at(settings, repository),
            len(incoming_of(settings, repository).names()),
        )
    except WalstreamError as error:
        if settings.last_backup_maximum_age is None:
            return []  # the item about failed backups says what cannot be read
        return [judged(BACKUP_AGE, Lack(error.message, error.hint or "see what the message names"))]
    return limit_items(settings, newest, now)


def _sound(found: Survey) -> list[BackupRecord]:
    """The backups of which nothing bad is known."""
    return [each.record for each in found.backups if each.record is not None and each.status.word != FAILED]


def _newest_wal_at(settings: ServerSettings, repository: Repository) -> float | None:
    """When the newest WAL came: as the live receiver says, or as the newest file's time tells."""
    directories = [os.path.join(settings.home, layout.STREAMING)]
    directories += [
        os.path.join(repository.root, layout.WALS, name) for name in repository.wal.directories()[-1:]
    ]
    times = [os.stat(os.path.join(path, name)).st_mtime for path in directories for name in _listed(path)]
    return max(times, default=None)


def _listed(directory: str) -> list[str]:
    try:
        return [name for name in os.listdir(directory) if not durable.is_temporary(name)]
    except FileNotFoundError:
        return []


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


def _failed_backups(label: str, settings: ServerSettings, found: Survey) -> Item:
    """Backups that came to nothing, and those that cannot be restored any more, as far as that is known."""
    failures = [each for each in found.backups if each.status.word == FAILED]
    if not failures:
        return _scheduled_backups(label, settings, found)
    last, name = failures[-1], settings.name
    return failure(
        label,
        f"there are {len(failures)}, the last of them {last.id}: {last.status.error}",
        f"mend that, and take a new backup; what is not needed any more: walstream delete {name} {last.id}",
    )


def _scheduled_backups(label: str, settings: ServerSettings, found: Survey) -> Item:
    """One that failed before it began left nothing in the repository; any later backup makes up for it."""
    last = last_failure(settings.home) if settings.backup_schedule is not None else None
    if last is None or any(each.end.time.timestamp() >= last.at for each in _sound(found)):
        return fine(label)
    return failure(
        label,
        f"the scheduled backup failed at {at_local_time(last.at)}: {last.error}",
        f"mend that, and take a backup: walstream backup {settings.name}",
    )


def _suspect_backups(label: str, repository: Repository) -> Item:
    """Backups during which the server reported bad pages."""
    shelf = repository.backups
    suspect = [record for each in shelf.ids() if (record := shelf.find(each)) and record.checksum_errors]
    if not suspect:
        return fine(label)
    return failure(
        label,
        f"there are {len(suspect)}: the server found {bad_pages(suspect[-1])} during the last of them, "
        f"{suspect[-1].id}",
        f"check the server's disks, and take a new backup; {FIND_RELATION}",
    )


def _redundancy(label: str, settings: ServerSettings, repository: Repository, found: Survey) -> Item:
    """Restorable full backups on the path that counts must be as many as the operator wants at least."""
    judgement = judge_all(found, repository, settings.home, rules_of(settings))
    there, wanted = satisfies(judgement.candidates, judgement.current), settings.minimum_redundancy
    hint = f"have {there} restorable full backups, expected at least {wanted}"
    if there < wanted:
        return failure(label, hint, f"take a backup: walstream backup {settings.name}")
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


def _old_branches(repository: Repository, home: str, held: HeldWal, timeline: int | None) -> Item:
    path = held.newest_path(timeline)
    return branches_item(left_branches(repository, home, held, path), path.timeline)


def _disk_items(settings: ServerSettings, repository: Repository | None) -> list[Item]:
    """One for the repository's file system, and one for the spool's where that is another."""
    spool = os.path.join(settings.home, layout.STREAMING)
    segment = repository.identity.wal_segment_size.nbytes if repository is not None else LARGE_SEGMENT
    items = []
    if repository is not None:
        root, move = repository.root, "make room, or move the repository to a larger disk"
        items.append(_guarded(DISK, lambda label: disk_item(label, os.statvfs(root), segment, move)))
        if not os.path.isdir(spool) or os.stat(root).st_dev == os.stat(spool).st_dev:
            return items
    if os.path.isdir(spool):
        move = "make room, or move walstream_home to a larger disk"
        items.append(_guarded(SPOOL_DISK, lambda label: disk_item(label, os.statvfs(spool), segment, move)))
    return items


def disk_item(label: str, status: os.statvfs_result, segment: int, remedy: str) -> Item:
    """A hundredth of a file system, and room for a few WAL segments of so many bytes, must be free."""
    left, total = status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize
    text = f"{size(left)} of {size(total)} free"
    if left < max(total // 100, LEAST_SEGMENTS * segment):
        return failure(label, text, remedy)
    return fine(label, text)
