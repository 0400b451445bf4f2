"""The repository as a receiver's target: the spool in front, the archiver behind, histories first.

Finds where to begin by what is held already (``walstream.held``); keeps the leftover of an old timeline as
``.partial``; publishes the receiver's state for ``status`` and for backups that wait.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO

from catalog import durable, layout, units
from catalog.coverage import missing, names
from catalog.errors import ConnectionFailed, SpoolFull, StreamRefused
from catalog.filing import Filing
from catalog.gaps import Gap, record_gap
from catalog.incoming import Incoming, Put
from catalog.local_storage import failed
from catalog.lsn import LSN
from catalog.repository import Repository
from catalog.sink import Reader
from catalog.timeline import History, Path, contradicts
from catalog.walname import Segment, history_name, timeline_in
from walstream.archiver import Archiver, complete_segments, log
from walstream.delivered import Delivered
from walstream.facts import ServerFacts
from walstream.held import Held
from walstream.leftovers import Leftovers
from walstream.publisher import Publisher
from walstream.resume import Start, find_start
from walstream.segment import partials_in
from walstream.spool import Spool, SpoolOptions
from walstream.standing import Standing
from walstream.streaming import Destination
from walstream.tail import tail

FIRST_TURN = 10.0
CLOSING_PATIENCE = 60.0
# Whoever supervises does not wait for ever, and commits may wait for the next receiver.
SCRIPT_PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class IntakeOptions:
    """``home`` holds the spool and the state; limits in bytes, ``spool_limit`` None for none.

    ``hook(put, is_over)`` is put around what files segments, for scripts before and after; they are not waited for
    any longer when ``is_over``.
    """

    home: str
    unsynced_limit: int = 64 << 20
    spool_limit: int | None = None
    hook: Callable[[Put, Callable[[], bool]], Put] = lambda put, is_over: put


class Intake:
    """Fills a repository; one per receiver, and the receiver's and the archive lock are the caller's."""

    durable = True
    whole_segments = False

    def __init__(self, repository: Repository, filing: Filing, options: IntakeOptions) -> None:
        self._repository = repository
        self._filing = filing
        self._options = options
        self._directory = os.path.join(options.home, layout.STREAMING)
        self._full = self._closing = False
        self._scripts_end = float("inf")
        self._path: Path | None = None
        self._said: set[str] = set()
        self._one_at_a_time = threading.Lock()
        try:
            durable.make_directories(self._directory)
        except OSError as error:
            raise failed("write", self._directory, error) from error
        self._held = Held(repository, options.home, self._say_once)
        self._leftovers = Leftovers(self._directory, repository.wal, self._put)
        self._leftovers.sync()
        repository.wal.remove_leftovers()
        size, system_identifier = repository.identity.wal_segment_size, repository.identity.system_identifier
        self._incoming = Incoming(options.home, size, system_identifier)
        put = options.hook(self._put, lambda: time.monotonic() > self._scripts_end)
        self._delivered = Delivered(self._incoming, put, lambda: not self._closing)
        self._archiver = Archiver(self._directory, put, beside=self._delivered)
        # Before anybody asks what is held: what is filed in time need not be received.
        self._delivered.first_turn.wait(FIRST_TURN)
        self._publisher = Publisher(options.home, self._archiver, size.nbytes)

    @property
    def archiver(self) -> Archiver:
        """The thread that empties the spool."""
        return self._archiver

    def require(self, facts: ServerFacts) -> None:
        """``WrongServer`` or ``StreamRefused`` unless this is our cluster, and its history ours."""
        identity = self._repository.identity
        identity.require(facts.system.system_identifier)
        if facts.size != identity.wal_segment_size:
            raise StreamRefused(
                f"the server's WAL segments have {units.size(facts.size.nbytes)}, those of the repository "
                f"{units.size(identity.wal_segment_size.nbytes)}",
                "protect the server under a new name, and take a new backup there",
            )
        self._refuse_contradiction(facts.history)

    def begin(self, facts: ServerFacts, slot_position: LSN | None) -> Start:
        """Find where to begin; ``StreamRefused`` when what is held says that we cannot."""
        self._repository.require_present()
        self._take_leftovers()
        self._path = Path.of(facts.history)
        size = self._repository.identity.wal_segment_size
        begun = [Segment.parse(name, size) for name in partials_in(self._directory)]
        held = self._held.inventory()
        self._warn_of_newer(facts.history.timeline, {*held.runs} | {each.timeline for each in held.partials})
        start = find_start(facts, held, self._held.backup_begins(), slot_position, size, begun)
        self._retire_partials(start, facts.history)
        return start

    def tail(self, start: Start) -> tuple[LSN, Callable[[bytes], bool]] | None:
        """Where the last page with anything in it of the segment before ``start`` is, if that is held.

        And what tells whether the bytes that the server has there are the same.
        """
        return tail(self._repository, self._leftovers, start, self._say_once)

    def lacks_history(self, timeline: int) -> bool:
        """Whether the history of a timeline is not stored yet."""
        return not self._repository.wal.holds(history_name(timeline))

    def keep_history(self, timeline: int, content: bytes) -> None:
        """Store a history file, before any WAL of its timeline."""
        self._refuse_contradiction(History.parse(timeline, content))
        self._put(history_name(timeline), lambda: BytesIO(content))

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
                self._leftovers.retire(name)

    def note(self, standing: Standing) -> None:
        """Publish where the receiver stands."""
        self._publisher.publish(standing)

    def require_room(self) -> None:
        """``SpoolFull`` while more waits to be archived than the spool may hold."""
        limit = self._options.spool_limit
        if limit is None:
            return
        waiting = self._archiver.waiting * self._repository.identity.wal_segment_size.nbytes
        if waiting > (limit // 2 if self._full else limit):
            self._full = True
            trouble = self._archiver.trouble
            why = f": {trouble}" if trouble is not None else ", and comes in faster than it can be archived"
            raise SpoolFull(
                f"{units.size(waiting)} of WAL wait in {self._directory!r}, the spool_limit is "
                f"{units.size(limit)}{why}",
                "receiving goes on by itself when half of it is archived; the server keeps the WAL until then",
            )
        self._full = False

    def accept_gap(self, path: Path, start: LSN, end: LSN, is_given_up: Callable[[], bool]) -> None:
        """Record that what is not held between ``start`` and ``end`` cannot be had any more."""

        def look() -> None:
            self._archiver.raise_error()
            if is_given_up():
                raise ConnectionFailed("stopped before what was delivered was filed")

        self._delivered.wait(look)  # it may be what is missing
        size = self._repository.identity.wal_segment_size
        reason = "the server had removed these segments before they were received"
        lost = missing(path, self._held.inventory(), size.number_at(start), size.number_before(end), size)
        for run in lost:
            record_gap(self._options.home, Gap(run, datetime.now(UTC), reason), size)
        if lost:
            first, end = size.start(lost[0].first), size.start(lost[-1].last + 1)
            about = {"timeline": lost[0].timeline, "position": first}
            text = "a gap from %s to %s: %s, %s. Take a new backup now"
            log.error(text, first, end, names(lost, size), reason, extra=about)

    def has_open_gap(self) -> bool:
        """Whether there is a gap behind which no restorable backup begins yet."""
        return self._held.has_open_gap(self._path)

    def raise_error(self) -> None:
        """Raise what ended the archiver, if anything did."""
        self._archiver.raise_error()

    def close(self, patience: float = CLOSING_PATIENCE) -> None:
        """Archive what is complete, for at most ``patience`` seconds, and end; the rest waits for the next start.

        A script that does not end within ``SCRIPT_PATIENCE`` is killed, and called again for the same segment then.
        """
        self._closing = True
        self._scripts_end = time.monotonic() + SCRIPT_PATIENCE
        self._archiver.close(patience)

    def _refuse_contradiction(self, history: History) -> None:
        for timeline, known in self._repository.histories().items():
            if contradicts(known, history):
                raise StreamRefused(
                    f"the server's history of timeline {history.timeline} contradicts the stored one of "
                    f"timeline {timeline}",
                    "two servers made the same timeline: protect one of them under a new name",
                )

    def _take_leftovers(self) -> None:
        """Make what an earlier stream completed durable, before it counts, and have it archived."""
        self._leftovers.sync()
        for name in complete_segments(self._directory):
            self._archiver.submit(name)

    def _warn_of_newer(self, timeline: int, held: set[int]) -> None:
        newest = max(held, default=timeline)
        if newest > timeline:
            self._say_once(
                f"the server is on timeline {timeline}, which is older than timeline {newest}, of which WAL is "
                "held: a former primary, or a standby that did not follow the new one? If timeline "
                f"{newest} counts, receive from its server again (walstream config-switch, or conninfo)",
                logging.WARNING,
            )

    def _say_once(self, trouble: str, level: int = logging.ERROR) -> None:
        """Log what will be found again at each connection, or every few seconds."""
        if trouble not in self._said:
            log.log(level, "%s", trouble)
        self._said.add(trouble)

    def _put(self, name: str, open_raw: Callable[[], Reader], path: str | None = None) -> bool:
        # At a promotion the archiver has a history and a partial segment that were delivered, the stream its own.
        with self._one_at_a_time:
            self._repository.require_present()
            return self._filing.put(name, open_raw, path)

    def _retire_partials(self, start: Start, history: History) -> None:
        """Store the partial segments that the stream will not come to: behind it, or of other timelines."""
        size = self._repository.identity.wal_segment_size
        ahead = {leg.timeline for leg in Path.of(history).legs if leg.timeline >= start.timeline}
        for name in partials_in(self._directory):
            segment = Segment.parse(name, size)
            passed = segment.timeline == start.timeline and segment.number < size.number_at(start.position)
            if passed or segment.timeline not in ahead:
                self._leftovers.retire(name)
