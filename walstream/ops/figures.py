"""What monitoring is told of a server, as values: its receiver, what is stored, the last check. Offline.

Made to be asked several times a minute: of the WAL that is stored only what the figures rest on is listed, and
nothing is read twice that never changes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from catalog import layout
from catalog.decoding import split_suffix
from catalog.gaps import open_gaps, read_gaps
from catalog.local_storage import failed
from catalog.lsn import LSN
from catalog.record import BackupRecord
from catalog.repository import Repository, span_holdings
from catalog.state import read_receiver_state
from catalog.statuses import DONE, FAILED, STARTED, SUSPECT, WAITING_FOR_WALS
from catalog.survey import Surveyed, survey
from catalog.usage import Usage, wal_usage
from catalog.walname import SEGMENT, kind_of
from walstream.ops.local import stored_repository
from walstream.ops.receiver_facts import ReceiverFacts, lag_of
from walstream.settings.server import ServerSettings
from walstream.standing import STREAMING

TYPE_CHECKING = False
if TYPE_CHECKING:
    # What asks a server loads psycopg.
    from walstream.ops.check import Report

STATUSES = (DONE, WAITING_FOR_WALS, SUSPECT, FAILED, STARTED)


@dataclass(frozen=True, slots=True)
class LastBackup:
    """The newest backup of a status: when (Unix time) it ended, or failed, or began while it runs.

    ``size`` is of the cluster's data, ``stored`` what the backup's own files take, both in bytes, and ``seconds``
    how long the copy took: None where there is no record.
    """

    at: float
    size: int | None = None
    stored: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class StoredFigures:
    """What is stored. ``recoverable_since`` is the end of the oldest backup that can be restored (Unix time).

    ``archived_at`` is when the newest complete segment came to the repository. ``free`` and ``room`` are bytes of
    the repository's file system.
    """

    counts: Mapping[str, int]
    last: Mapping[str, LastBackup]
    recoverable_since: float | None
    open_gaps: int
    archived_at: float | None
    wal: Usage
    free: int
    room: int


@dataclass(frozen=True, slots=True)
class Checked:
    """The last check, when it ended (Unix time), and how long it took."""

    report: Report
    at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Position:
    """A server's timeline and what it had flushed of it, or received as a standby, at some time (Unix time)."""

    timeline: int
    lsn: LSN
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFigures:
    """All that is known of one server. ``settings`` is None when its section is wrong: then so is all else.

    ``readable`` says of ``receiver`` and ``repository`` whether it could be read just now; what is asked for
    neither is not in it. ``position`` is what the server has told last, however long ago.
    """

    name: str
    settings: ServerSettings | None = None
    readable: Mapping[str, bool]
    receiver: ReceiverFacts | None = None
    stored: StoredFigures | None = None
    checked: Checked | None = None
    position: Position | None = None


@dataclass(frozen=True, slots=True)
class Exposure:
    """What would be lost if the server were lost now: bytes, if that is known, and for how long it is so."""

    nbytes: int | None
    seconds: float


def stored_figures(settings: ServerSettings, now: float) -> StoredFigures:
    """Look at a server's repository; ``WalstreamError`` when it is not there or cannot be read."""
    repository = stored_repository(settings)
    try:
        return _figures(repository, settings.home, now)
    except OSError as error:
        raise failed("read", str(error.filename), error) from error


def exposure(found: ReceiverFacts, server: Position | None, now: float) -> Exposure | None:
    """How much of a server's WAL is not flushed here; None when nothing was ever received.

    A receiver that streams knows it all. Without a stream, what the server may have written counts as lost, from
    when the stream was lost, or from when the server last told that there was nothing more.
    """
    state = found.state
    if state is None:
        return None
    if found.running and state.phase == STREAMING:
        lag = lag_of(state, None, now)
        return Exposure(lag.nbytes, lag.seconds)
    lost_at = state.at if state.phase == STREAMING else state.since
    if not state.timeline:
        return Exposure(None, max(0.0, now - lost_at))
    if server is None or server.at < lost_at or server.timeline != state.timeline:
        return Exposure(lag_of(state, None, now).nbytes or None, max(0.0, now - lost_at))
    nbytes = lag_of(state, (server.timeline, server.lsn), now).nbytes
    return Exposure(nbytes, max(0.0, now - (lost_at if nbytes else server.at)))


def _figures(repository: Repository, home: str, now: float) -> StoredFigures:
    found = survey(repository)
    counts = dict.fromkeys(STATUSES, 0)
    last: dict[str, LastBackup] = {}
    for each in found.backups:
        word, backup = each.status.word, _backup(each)
        counts[word] += 1
        if word not in last or backup.at >= last[word].at:
            last[word] = backup
    restorable = [each.record for each in found.backups if each.record and each.status.word == DONE]
    disk = os.statvfs(repository.root)
    return StoredFigures(
        counts,
        last,
        min((each.end.time.timestamp() for each in restorable), default=None),
        _open_gaps(repository, home, found.holdings.records),
        _archived_at(repository),
        wal_usage(repository.storage, os.path.join(home, layout.STATE), now).between("", None),
        disk.f_bavail * disk.f_frsize,
        disk.f_blocks * disk.f_frsize,
    )


def _backup(found: Surveyed) -> LastBackup:
    traces, record = found.traces, found.record
    if record is not None:
        stored = sum(each.stored_size for each in (*record.archives, record.manifest))
        return LastBackup(record.end.time.timestamp(), record.cluster_size, stored, record.copy_seconds)
    if traces.failed is not None:
        return LastBackup(traces.failed.ended.timestamp())
    if traces.started is not None:
        return LastBackup(traces.started.started.timestamp())
    return LastBackup(datetime.strptime(found.id, "%Y%m%dT%H%M%S").replace(tzinfo=UTC).timestamp())


def _open_gaps(repository: Repository, home: str, records: Sequence[BackupRecord]) -> int:
    """How many recorded gaps no restorable backup begins behind, on the path that is received, or the newest."""
    gaps = read_gaps(home, repository.identity.wal_segment_size)
    if not gaps:
        return 0
    holdings = span_holdings(repository, records, [gap.run for gap in gaps])
    paths, state = holdings.paths(), read_receiver_state(home)
    known = {record.end.timeline for record in records}
    known |= {int(directory[:8], 16) for directory in repository.wal.directories()}
    if state is not None and state.timeline in paths:
        known = {state.timeline}
    path = next((each for timeline, each in paths.items() if timeline in known), paths[1])
    return len(open_gaps(gaps, holdings, path))


def _archived_at(repository: Repository) -> float | None:
    """When the newest complete segment came; of names, those of the newest timeline are the last."""
    for directory in reversed(repository.wal.directories()):
        names = repository.storage.names(f"{layout.WALS}/{directory}")
        newest = max((name for name in names if kind_of(split_suffix(name)[0]) == SEGMENT), default=None)
        if newest is not None:
            return os.stat(repository.storage.path(f"{layout.WALS}/{directory}/{newest}")).st_mtime
    return None
