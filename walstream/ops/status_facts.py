"""What ``status`` shows, as values, and the part of it that is stored. Offline."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime

from catalog.coverage import carries, restorable
from catalog.errors import Absent, WalstreamError
from catalog.gaps import Gap
from catalog.inventory import Run
from catalog.lsn import SegmentSize
from catalog.reach import Branch, Window, windows
from catalog.record import INCREMENTAL, BackupRecord
from catalog.repository import Repository
from walstream.ops.held_wal import HeldWal, held_wal
from walstream.ops.last_time import last_time
from walstream.ops.left_branches import left_branches
from walstream.ops.receiver_facts import ReceiverFacts, receiver_facts
from walstream.ops.stored import repository_at
from walstream.ops.window_ends import with_partial_ends

TYPE_CHECKING = False
if TYPE_CHECKING:
    # What asks a server loads psycopg.
    from walstream.ops.survey import Survey
    from walstream.settings.server import ServerSettings


@dataclass(frozen=True, slots=True)
class LastSegment:
    """The newest complete segment in the repository, and since when it is there (Unix time), if that is known."""

    name: str
    since: float | None


@dataclass(frozen=True, slots=True)
class StoredStatus:
    """What is stored: ``backups`` are those that can be restored, ``missing`` holes that nobody recorded.

    ``counting``: how many of the backups count for ``minimum_redundancy``.

    ``windows`` are along ``timeline``, the server's or else the newest, ``branches`` what was left on the way.
    ``last_time`` is when the last transaction in the newest window ended, None when none did near its end.
    ``problems`` say what does not count because it cannot be read.
    """

    size: SegmentSize
    backups: tuple[BackupRecord, ...]
    counting: int
    last: LastSegment | None
    gaps: tuple[Gap, ...]
    open_gaps: tuple[Gap, ...]
    missing: tuple[Run, ...]
    timeline: int
    windows: tuple[Window, ...]
    branches: tuple[Branch, ...]
    problems: tuple[str, ...]
    last_time: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatus:
    """All that was found out about one server.

    ``settings``, ``cluster`` and ``wal`` (the node that WAL is streamed from) are None for one given as a path;
    the latter two also when it is inactive. ``named``: its ``synchronous_standby_names`` names our receiver, None
    when that is not known. ``errors`` say what could not be found out.
    """

    name: str
    settings: ServerSettings | None = None
    cluster: Survey | None = None
    wal: Survey | None = None
    named: bool | None = None
    receiver: ReceiverFacts | None = None
    stored: StoredStatus | None = None
    errors: tuple[WalstreamError, ...] = ()

    @property
    def is_known(self) -> bool:
        """Whether the server answered, or there is a repository."""
        asked = self.cluster is not None and self.cluster.cluster is not None
        return asked or self.stored is not None


def local_status(
    name: str, root: str, home: str, timeline: int | None = None, settings: ServerSettings | None = None
) -> ServerStatus:
    """What can be said without the server; ``timeline`` is the server's, if it is known."""
    receiver, stored = None, None
    errors: list[WalstreamError] = []
    try:
        receiver = receiver_facts(home)
    except WalstreamError as error:
        errors.append(error)
    try:
        stored = stored_status(repository_at(root, name, home), home, timeline)
    except WalstreamError as error:
        errors.append(error)
    return ServerStatus(name=name, settings=settings, receiver=receiver, stored=stored, errors=tuple(errors))


def stored_status(repository: Repository, home: str, timeline: int | None = None) -> StoredStatus:
    """Look at backups and WAL."""
    held = held_wal(repository, home)
    path = held.newest_path(timeline)
    found = with_partial_ends(repository, home, held, path, windows(path, held.all))
    backups = tuple(
        each for each in held.all.records if restorable(each, held.stored) and not each.checksum_errors
    )
    return StoredStatus(
        size=held.all.size,
        backups=backups,
        counting=sum(each.type != INCREMENTAL and carries(path, each) for each in backups),
        last=_last_segment(repository, held, timeline or path.timeline),
        gaps=held.gaps,
        open_gaps=held.open_gaps(path),
        missing=held.missing,
        timeline=path.timeline,
        windows=found,
        branches=left_branches(repository, home, held, path),
        problems=held.problems,
        last_time=last_time(repository, home, held, path, found),
    )


def _last_segment(repository: Repository, held: HeldWal, timeline: int) -> LastSegment | None:
    """The newest on a timeline, or else on the one that came before it."""
    inventory = held.stored.inventory
    known = sorted((each for each in inventory.runs if each <= timeline), reverse=True)
    newest = inventory.newest(known[0]) if known else None
    if newest is None:
        return None
    name = newest.name(held.all.size)
    try:
        key, reader = repository.wal.find(name)
        reader.close()
        return LastSegment(name, os.stat(repository.storage.path(key)).st_mtime)
    except (Absent, OSError):
        return LastSegment(name, None)
