"""WAL that the server has removed, from another host of the connection string.

A standby, or the primary before a failover, may still have what is missing. Each host is asked by itself, whatever
role it has; what it has is streamed into the same target, without a slot and without a flushed position: nothing
is acknowledged to a host that only helps.
"""

from __future__ import annotations

import logging
import time

from catalog.errors import (
    ConnectionFailed,
    Malformed,
    RepositoryError,
    ServerError,
    ServerRefused,
    StreamRefused,
)
from catalog.lsn import LSN
from catalog.timeline import Path
from catalog.units import duration
from walstream.connecting import single_hosts
from walstream.connection import COPY_BOTH, Connection
from walstream.continuity import require_continuation
from walstream.control import Control
from walstream.facts import ServerFacts, read_end_of_timeline, server_facts
from walstream.gap import is_removed_segment
from walstream.outage import Outage
from walstream.receiving import COMMAND_PATIENCE, Connect, ReceiveOptions, Target
from walstream.resume import Start
from walstream.session import Session, SessionOptions
from walstream.standing import STREAMING, WAITING, Standing
from walstream.streaming import Destination, Streaming, Surroundings, Unwatched, begin_stream

log = logging.getLogger("walstream.receiver")

PAUSE = 2.0


class Elsewhere:
    """The other hosts of ``options.conninfo``; ``target`` gets what they have."""

    def __init__(self, options: ReceiveOptions, target: Target, control: Control, connect: Connect) -> None:
        self._options = options
        self._target = target
        self._control = control
        self._connect = connect
        self._outage = Outage()

    def fill(self, asked: str, start: Start, end: LSN) -> bool:
        """Get WAL from ``start`` on, at most up to ``end``; whether any came.

        ``asked`` is the host (as a connection string) that does not have it. A host that cannot be asked
        is tried again for ``gap_patience`` seconds; one that has removed the WAL too is not asked again.
        Raises ``ConnectionFailed`` when the receiver is stopped first: that nobody has it is not known then.
        """
        hosts = [host for host in single_hosts(self._options.conninfo) if host != asked]
        give_up = time.monotonic() + self._options.gap_patience
        while hosts and not self._control.stopping:
            silent = []
            for host in hosts:
                try:
                    if self._fill_from(host, start, end):
                        return True
                except (StreamRefused, RepositoryError, Malformed) as refusal:
                    self._target.raise_error()
                    log.warning("another host of the connection string is of no help: %s", refusal)
                except ServerError as error:
                    if isinstance(error, ServerRefused) and is_removed_segment(error):
                        log.info("another host does not have WAL from %s either: %s", start.position, error)
                        continue
                    self._say(f"another host may have WAL from {start.position}: {error}")
                    silent.append(host)
            hosts = silent if time.monotonic() < give_up else []
            if hosts:
                self._control.sleep(PAUSE)
        if self._control.stopping:
            raise ConnectionFailed("stopped before every host was asked")
        return False

    def _say(self, trouble: str) -> None:
        standing = Standing(None)
        standing.enter(WAITING, trouble)
        self._target.note(standing)
        if self._outage.failed(trouble, time.monotonic()):
            log.warning("%s; asked again for up to %s", trouble, duration(self._options.gap_patience))

    def _fill_from(self, host: str, start: Start, end: LSN) -> bool:
        options, control = self._options, self._control
        with self._connect(
            host,
            application_name=options.application_name,
            wakeup=control.wakeup.fileno(),
            patience=COMMAND_PATIENCE,
            unless=lambda: control.stopping,
        ) as connection:
            facts = server_facts(connection)
            self._target.require(facts)
            end = min(end, _last_boundary(facts, start.timeline))
            if end <= start.position:
                return False
            require_continuation(connection, self._target, start)
            destination = self._target.open(start, False, control.wakeup.set)
            try:
                self._stream(connection, start, end, destination)
            finally:
                destination.close()
            return facts.size.floor(destination.flushed) > start.position

    def _stream(self, connection: Connection, start: Start, end: LSN, destination: Destination) -> None:
        if begin_stream(connection, start, None).kind != COPY_BOTH:
            return
        log.info("asking %s for WAL from %s to %s", connection.host, start.position, end)
        session = Session(start.position, SessionOptions(report_flush=False), time.monotonic())
        standing = Standing(None)
        standing.enter(STREAMING, f"filling a hole up to {end}")
        standing.host, standing.timeline, standing.session = connection.host, start.timeline, session
        surroundings = Surroundings(self._control, self._target, standing, self._options.flush_interval)
        try:
            if not Streaming(connection, session, destination, Unwatched(), surroundings, end).run():
                read_end_of_timeline(connection, None)  # an error that ended the copy is raised by this
        except ServerRefused:
            if destination.written <= start.position:
                raise  # else what has come counts, and the rest is asked for again


def _last_boundary(facts: ServerFacts, timeline: int) -> LSN:
    """The end of the last segment that a server can have whole of a timeline; 0/0 when it is not on its path."""
    for leg in Path.of(facts.history).legs:
        if leg.timeline == timeline:
            return facts.size.floor(leg.end or facts.system.position)
    return LSN(0)
