"""One base backup from beginning to end: locks, marks, a receiver if none runs, the copy, its WAL, the record.

The order is what makes it safe: WAL is being received before the copy begins; the record is written when
the archives are durable, and DONE is only said when every segment from begin to end is stored. A backup
that is killed leaves a mark (``started.json``) that the next one turns into ``failed.json``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from backup.incoming import Progress
from backup.take import TakeOptions, take
from catalog import layout
from catalog.codec import Codec
from catalog.errors import BackupFailed, HookFailed, Interrupted, StorageError, UsageError, WalstreamError
from catalog.frames import Workers
from catalog.marks import FailedMark, StartedMark
from catalog.record import BackupRecord, Point, backup_id
from catalog.repository import Repository
from catalog.statuses import DONE, WAITING_FOR_WALS
from walstream.connection import Connection
from walstream.facts import server_facts
from walstream.ops.backup_reception import wal_coming
from walstream.ops.backup_wal import BackupWal
from walstream.ops.hooks import BACKUP
from walstream.ops.parent import find_parent
from walstream.ops.place import CODEC_THREADS, Place, connected_repository
from walstream.ops.requirements import lack_of_summaries, lack_of_tablespace_content
from walstream.ops.stored import backup_lock
from walstream.ops.sweep import sweep
from walstream.receiving import ReceiveOptions
from walstream.server import ClusterFacts, cluster_facts


@dataclass(frozen=True, slots=True)
class BackupRequest:
    """What the operator wants; None takes the setting. ``wait_timeout`` in seconds, None for no limit.

    ``incremental`` is an id, a name or a word for the backup to base this one on; None makes it a full one.
    """

    name: str | None = None
    incremental: str | None = None
    fast_checkpoint: bool | None = None
    max_rate: int | None = None
    wait: bool = True
    wait_timeout: float | None = None
    retries: int | None = None
    retry_pause: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupOptions:
    """Everything that taking a backup needs; times in seconds, ``max_rate`` in kB/s.

    No repository is made where the server has the slot ``unless_slot``.
    ``receiving`` is how WAL is received, by this backup itself if nobody else does and ``may_receive``; with
    ``delivered`` nobody does, and the server's archive_command brings it.
    """

    place: Place
    sql_conninfo: str
    conninfo: str
    receiving: ReceiveOptions
    codec: Codec
    may_receive: bool = True
    unless_slot: str | None = None
    delivered: bool = False
    application_name: str = "walstream_backup"
    name: str | None = None
    incremental: str | None = None
    fast_checkpoint: bool = False
    max_rate: int | None = None
    wait: bool = True
    wait_timeout: float | None = None
    retries: int = 0
    retry_pause: float = 30.0
    connect_timeout: int = 30


@dataclass(frozen=True, slots=True)
class BackupOutcome:
    """A backup that exists; ``restorable`` once all its WAL is stored."""

    record: BackupRecord
    restorable: bool
    stored_bytes: int
    seconds: float


def take_backup(
    options: BackupOptions,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    on_retry: Callable[[WalstreamError, float], None] = lambda error, pause: None,
    on_wait: Callable[[str], None] = lambda text: None,
) -> BackupOutcome:
    """Take a backup, wait for its WAL, and say how it went; ``on_wait`` is told what keeps it from beginning.

    Raises when there is no backup, ``UsageError`` when another has its name; a backup whose WAL did not come within
    ``wait_timeout`` exists, and is returned as not restorable yet.
    """
    place = options.place
    with Connection.open(
        options.sql_conninfo,
        application_name="walstream",
        replication=False,
        connect_timeout=options.connect_timeout,
    ) as connection:
        facts = cluster_facts(connection)
    lack = lack_of_tablespace_content(facts)
    if lack is not None:
        raise BackupFailed(lack.message, lack.remedy)
    repository = connected_repository(
        options.receiving.conninfo, place.repository, place.home, options.unless_slot
    )
    with backup_lock(repository, place.name):
        sweep(repository)
        _require_free(options.name, repository, place.name)
        parent = _parent(options, repository, facts)
        for left in range(options.retries, -1, -1):
            attempt = _Attempt(options, repository, facts, parent, on_progress, on_wait)
            try:
                return attempt.run()
            except (Interrupted, HookFailed):
                raise
            except WalstreamError as error:
                if not left or attempt.exists:
                    raise
                on_retry(error, options.retry_pause)
                time.sleep(options.retry_pause)
    raise AssertionError("unreachable")


def _require_free(name: str | None, repository: Repository, server: str) -> None:
    other = repository.backups.called(name) if name is not None else None
    if other is not None:
        raise UsageError(
            f"backup {other} is called {name!r} already, and commands would not know which one is meant",
            f"choose another name, or remove that one first: walstream delete {server} {other}",
        )


def _parent(options: BackupOptions, repository: Repository, facts: ClusterFacts) -> BackupRecord | None:
    """The backup that an incremental one is to be based on."""
    if options.incremental is None:
        return None
    lack = lack_of_summaries(facts)
    if lack is not None:
        raise BackupFailed(lack.message, lack.remedy)
    with Connection.open(
        options.conninfo,
        application_name=options.application_name,
        connect_timeout=options.connect_timeout,
    ) as connection:
        history = server_facts(connection).history
    checksums = facts.settings.get("data_checksums") == "on"
    return find_parent(options.incremental, repository, history, checksums)


class _Attempt:
    """One try at a backup; ``exists`` when it failed only after the backup was there."""

    def __init__(
        self,
        options: BackupOptions,
        repository: Repository,
        facts: ClusterFacts,
        parent: BackupRecord | None,
        on_progress: Callable[[Progress], None],
        on_wait: Callable[[str], None],
    ) -> None:
        self._options = options
        self._parent = parent
        self._home = options.place.home
        self._repository = repository
        self._facts = facts
        self._on_progress = on_progress
        self._on_wait = on_wait
        self._wal = BackupWal(repository, self._home, options.place.codec)
        self._started = datetime.now(UTC)
        self._id = _free_id(repository)
        self.exists = False

    def run(self) -> BackupOutcome:
        """Take the backup, between the operator's scripts."""
        directory = self._repository.storage.path(layout.backup_directory(self._id))
        facts = {"backup_id": self._id, "backup_dir": directory, "backup_name": self._options.name}
        with self._options.place.hooks.around(BACKUP, facts) as later:
            outcome = self._run()
            later |= {
                "status": DONE if outcome.restorable else WAITING_FOR_WALS,
                "size": outcome.stored_bytes,
                "begin_wal": outcome.record.first_segment.name(outcome.record.wal_segment_size),
            }
        return outcome

    def _run(self) -> BackupOutcome:
        began = time.monotonic()
        shelf = self._repository.backups
        shelf.mark_started(self._id, self._mark(None))
        try:
            with self._wal_comes() as receiving, Workers(CODEC_THREADS) as workers:
                record = take(self._take_options(), self._repository, workers, self._begin, self._on_progress)
                deadline = self._deadline()
                if self._options.wait:
                    self._wal.wait_for_end(record, receiving, deadline, workers)
                shelf.commit(record)
                if self._options.wait:
                    self._wal.wait_until_restorable(record, receiving, deadline)
        except BaseException as error:
            self._fail(error)
            raise
        stored = sum(archive.stored_size for archive in (*record.archives, record.manifest))
        done = self._wal.is_restorable(record)
        return BackupOutcome(record, done, stored, time.monotonic() - began)

    def _fail(self, error: BaseException) -> None:
        """Leave nothing but the mark of the failure, unless the backup exists already."""
        shelf = self._repository.backups
        mark = FailedMark(
            started=self._started,
            ended=datetime.now(UTC),
            error=str(error) or type(error).__name__,
            hint=getattr(error, "hint", None),
        )
        # A repository that cannot be written now is swept by the next backup; what went wrong first counts.
        with suppress(StorageError):
            self.exists = shelf.find(self._id) is not None
            if not self.exists:
                shelf.fail(self._id, mark)

    def _mark(self, begin: Point | None) -> StartedMark:
        name, parent = self._options.name, None if self._parent is None else self._parent.id
        return StartedMark(pid=os.getpid(), name=name, started=self._started, parent=parent, begin=begin)

    def _take_options(self) -> TakeOptions:
        options = self._options
        return TakeOptions(
            conninfo=options.conninfo,
            backup_id=self._id,
            server=options.place.name,
            codec=options.codec,
            name=options.name,
            application_name=options.application_name,
            fast_checkpoint=options.fast_checkpoint,
            max_rate=options.max_rate,
            clock_offset=self._facts.clock_offset,
            tablespace_names={space.oid: space.name for space in self._facts.tablespaces},
            parent=self._parent,
        )

    def _begin(self, begin: Point) -> None:
        """Note where the backup begins; stop it when its first WAL can no longer be had."""
        self._repository.backups.mark_started(self._id, self._mark(begin))
        if not self._options.delivered:
            self._wal.require_coming(begin, self._on_wait)

    def _wal_comes(self) -> AbstractContextManager[Callable[[], bool]]:
        options = self._options
        may_receive, delivered = options.may_receive, options.delivered
        return wal_coming(options.place, options.receiving, may_receive=may_receive, delivered=delivered)

    def _deadline(self) -> float | None:
        limit = self._options.wait_timeout
        return None if limit is None else time.monotonic() + limit


def _free_id(repository: Repository) -> str:
    """The next free backup id: ids are seconds, and unique."""
    while True:
        candidate = backup_id(datetime.now(UTC))
        if candidate not in repository.backups.ids():
            return candidate
        time.sleep(0.1)
