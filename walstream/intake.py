"""The repository as a receiver's target: the spool in front, the archiver behind, histories first.

Knows what is held (repository and spool together) and therefore where to begin; keeps the leftover of an
old timeline as ``.partial``; publishes the receiver's state for ``status`` and for backups that wait.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from catalog import durable, layout
from catalog.coverage import missing
from catalog.errors import Conflict, Malformed, StreamRefused
from catalog.filing import Filing
from catalog.gaps import Gap, as_inventory, open_gaps, read_gaps, record_gap
from catalog.inventory import Inventory
from catalog.local_storage import failed
from catalog.lsn import LSN
from catalog.repository import Repository, stored_holdings
from catalog.sink import Reader
from catalog.state import ReceiverState, write_receiver_state
from catalog.timeline import History, Path, contradicts
from catalog.walname import Segment, history_name, timeline_in
from walstream.archiver import Archiver, complete_segments, log, open_file
from walstream.facts import ServerFacts
from walstream.receiver import Destination
from walstream.resume import Start, find_start
from walstream.segment import partials_in
from walstream.session import Session
from walstream.spool import Spool, SpoolOptions

PUBLISH_EVERY = 0.25
PUBLISH_SETTLED = 0.02


@dataclass(frozen=True, slots=True)
class IntakeOptions:
    """``home`` holds the spool and the state; ``unsynced_limit`` in bytes."""

    home: str
    unsynced_limit: int = 64 << 20


class Intake:
    """Fills a repository; one per receiver, and the receiver's and the archive lock are the caller's."""

    durable = True
    whole_segments = False

    def __init__(self, repository: Repository, filing: Filing, options: IntakeOptions) -> None:
        self._repository = repository
        self._filing = filing
        self._options = options
        self._directory = os.path.join(options.home, layout.STREAMING)
        self._published = -PUBLISH_EVERY
        self._published_flush: LSN | None = None
        self._noted_flush: LSN | None = None
        try:
            durable.make_directories(self._directory)
            self._sync_leftovers()
        except OSError as error:
            raise failed("write", self._directory, error) from error
        repository.wal.remove_leftovers()
        self._archiver = Archiver(self._directory, filing.put)

    @property
    def archiver(self) -> Archiver:
        """The thread that empties the spool."""
        return self._archiver

    def begin(self, facts: ServerFacts, slot_position: LSN | None) -> Start:
        """Check that this is our cluster, and find where to begin; ``StreamRefused`` when we cannot."""
        identity = self._repository.identity
        identity.require(facts.system.system_identifier)
        if facts.size != identity.wal_segment_size:
            raise StreamRefused(
                f"the server's WAL segments have {facts.size.nbytes} bytes, those of the repository "
                f"{identity.wal_segment_size.nbytes}",
                "protect the server under a new name, and take a new backup there",
            )
        for timeline, known in self._repository.histories().items():
            if contradicts(known, facts.history):
                raise StreamRefused(
                    f"the server's history of timeline {facts.history.timeline} contradicts the stored one of "
                    f"timeline {timeline}",
                    "two servers made the same timeline: protect one of them under a new name",
                )
        self._take_leftovers()
        size = identity.wal_segment_size
        begins = self._backup_begins()
        start = find_start(facts, self._held(), begins, slot_position, size)
        self._retire_partials(start, facts.history)
        return start

    def keep_history(self, timeline: int, content: bytes) -> None:
        """Store a history file (timeline 1 has none), before any WAL of its timeline."""
        if content:
            self._filing.put(history_name(timeline), lambda: _BytesReader(content))

    def open(self, start: Start, synchronous: bool, on_flush: Callable[[], None]) -> Destination:
        """The spool for one timeline's stream."""
        identity = self._repository.identity
        options = SpoolOptions(
            self._directory,
            identity.wal_segment_size,
            identity.system_identifier,
            self._options.unsynced_limit,
            synchronous,
        )
        return Spool(options, start.timeline, start.position, self._archiver.submit, on_flush)

    def end_of_timeline(self, timeline: int, switch: LSN) -> None:
        """Store what the old timeline leaves incomplete as ``.partial``.

        That need not be the segment with the switch: the beginning of a record may have been sent beyond it.
        """
        for name in partials_in(self._directory):
            if timeline_in(name) == timeline:
                self._retire(name)

    def note_progress(self, timeline: int, session: Session) -> None:
        """Publish the receiver's state a few times a second, and whenever flushed has come to rest.

        While it moves with every commit that is not worth more: it takes as long as a commit.
        """
        now = time.monotonic()
        at_rest, self._noted_flush = session.flushed == self._noted_flush, session.flushed
        news = at_rest and session.flushed != self._published_flush
        if now - self._published < (PUBLISH_SETTLED if news else PUBLISH_EVERY):
            return
        self._published, self._published_flush = now, session.flushed
        state = ReceiverState(
            pid=os.getpid(),
            at=time.time(),
            timeline=timeline,
            written=session.written,
            flushed=session.flushed,
            server=session.server_end,
            last_archived=self._archiver.last_archived,
            waiting=self._archiver.waiting,
        )
        try:
            write_receiver_state(self._options.home, state)
        except OSError as error:
            log.warning("%s; receiving goes on", failed("write", self._options.home, error))

    def accept_gap(self, path: Path, start: LSN, end: LSN) -> None:
        """Record that what is not held between ``start`` and ``end`` cannot be had any more."""
        size = self._repository.identity.wal_segment_size
        reason = "the server had removed these segments before they were received"
        lost = missing(path, self._held(), size.number_at(start), size.number_before(end), size)
        for run in lost:
            record_gap(self._options.home, Gap(run, datetime.now(UTC), reason), size)

    def has_open_gap(self) -> bool:
        """Whether there is a gap behind which no restorable backup begins yet."""
        gaps = read_gaps(self._options.home, self._repository.identity.wal_segment_size)
        return bool(gaps) and bool(open_gaps(gaps, stored_holdings(self._repository)))

    def raise_error(self) -> None:
        """Raise what ended the archiver, if anything did."""
        self._archiver.raise_error()

    def close(self) -> None:
        """Archive what is complete, and end."""
        self._archiver.close()

    def _held(self) -> Inventory:
        """What need not be received: the spool first, because segments travel from there to the repository."""
        size = self._repository.identity.wal_segment_size
        spooled = Inventory.from_names(complete_segments(self._directory), size)
        return spooled | self._repository.inventory() | as_inventory(read_gaps(self._options.home, size))

    def _take_leftovers(self) -> None:
        """Make what an earlier stream completed durable, before it counts, and have it archived."""
        try:
            self._sync_leftovers()
        except OSError as error:
            raise failed("sync", self._directory, error) from error
        for name in complete_segments(self._directory):
            self._archiver.submit(name)

    def _backup_begins(self) -> list[Segment]:
        """The first segments of all backups, those that are running included."""
        shelf, size = self._repository.backups, self._repository.identity.wal_segment_size
        begins = []
        for backup_id in shelf.ids():
            try:
                record, mark = shelf.find(backup_id), shelf.started(backup_id)
            except Malformed as damage:
                log.error("backup %s does not count for where to begin: %s", backup_id, damage)
                continue
            if record is not None:
                begins.append(record.first_segment)
            if mark is not None and mark.begin is not None:
                begins.append(Segment.at(mark.begin.timeline, mark.begin.lsn, size))
        return begins

    def _sync_leftovers(self) -> None:
        for name in os.listdir(self._directory):
            path = os.path.join(self._directory, name)
            try:
                if durable.is_temporary(name):
                    os.unlink(path)
                elif os.path.isfile(path):
                    durable.sync_file(path)
            except FileNotFoundError:
                continue  # the archiver was faster
        durable.sync_directory(self._directory)

    def _retire_partials(self, start: Start, history: History) -> None:
        """Store the partial segments of timelines that will not be streamed any more."""
        size = self._repository.identity.wal_segment_size
        ancestors = {switch.timeline for switch in history.switches}
        for name in partials_in(self._directory):
            timeline = Segment.parse(name, size).timeline
            if timeline < start.timeline and timeline in ancestors:
                self._retire(name)

    def _retire(self, name: str) -> None:
        path = os.path.join(self._directory, f"{name}.partial")
        if not os.path.exists(path):
            return

        def open_partial() -> Reader:
            return open_file(path)

        try:
            self._filing.put(f"{name}.partial", open_partial)
        except Conflict as conflict:
            log.warning("%s; %s stays where it is", conflict, path)
            return
        try:
            durable.remove(path)
        except OSError as error:
            raise failed("remove", path, error) from error


class _BytesReader:
    """A reader of bytes in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, n: int, /) -> bytes:
        piece, self._data = self._data[:n], self._data[n:]
        return piece

    def close(self) -> None:
        self._data = b""
