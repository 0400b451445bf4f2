"""Something for a server to lose: a table of payments, a thread that goes on paying, and a sum over all rows.

For the demo. Knows SQL and a connection string; what becomes of the WAL is for others to say, except how far
behind the server sees its receiver.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from catalog.lsn import LSN
from walstream.commands import number, text
from walstream.connection import Connection

TABLE = "payment"
ROWS_AT_ONCE = 1000
PAUSE = 0.01

_CREATE = f"""CREATE TABLE {TABLE} (id bigserial PRIMARY KEY, account integer NOT NULL, cents bigint NOT NULL,
    purpose text NOT NULL, paid timestamptz NOT NULL DEFAULT clock_timestamp(), settled timestamptz)"""
_PAY = f"""INSERT INTO {TABLE} (account, cents, purpose)
    SELECT 1 + random() * 9999, random() * 100000, 'invoice ' || md5(random()::text)
    FROM generate_series(1, {ROWS_AT_ONCE});
    UPDATE {TABLE} SET settled = clock_timestamp() WHERE id = ANY (ARRAY(
        SELECT 1 + (random() * currval('{TABLE}_id_seq'))::bigint FROM generate_series(1, 50)))"""
_LOOK = """SELECT pg_current_wal_flush_lsn(),
    greatest(max(pg_wal_lsn_diff(pg_current_wal_flush_lsn(), flush_lsn)), 0)::bigint FROM pg_stat_replication"""
_DIGEST = f"SELECT count(*), coalesce(md5(string_agg(p::text, ',' ORDER BY id)), '') FROM {TABLE} p"


@dataclass(frozen=True, slots=True)
class Digest:
    """What a table holds: equal for equal rows."""

    rows: int
    checksum: str


@dataclass(frozen=True, slots=True)
class Activity:
    """What has been paid so far, and where the WAL then was.

    ``lag_bytes``: the most that no standby or receiver had yet reported as flushed, since the last look.
    """

    rows: int
    position: LSN
    lag_bytes: int = 0


def create(connection: Connection) -> None:
    """Make the table, with nothing in it."""
    connection.query(_CREATE)


def digest(connection: Connection) -> Digest:
    """Count the rows and sum them up."""
    count, checksum = connection.row(_DIGEST)
    return Digest(number(count, "count"), text(checksum, "md5"))


def drop(connection: Connection) -> None:
    """The accident."""
    connection.query(f"DROP TABLE {TABLE}")


def position(connection: Connection) -> LSN:
    """How far the server's WAL is written and synced."""
    return LSN.parse(text(connection.row("SELECT pg_current_wal_flush_lsn()")[0], "position"))


class Payer:
    """Pays until the block is left, on a thread and a connection of its own."""

    def __init__(self, conninfo: str) -> None:
        self._connection = Connection.open(conninfo, application_name="payments", replication=False)
        self._stopping = threading.Event()
        self._changed = threading.Lock()
        self._error: BaseException | None = None
        self._rows = 0
        self._seen = Activity(0, position(self._connection))
        self._thread = threading.Thread(target=self._run, name="payments", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Let the payment that is being made come to its end; no other follows."""
        self._stopping.set()
        self._thread.join()
        self._connection.close()

    def activity(self) -> Activity:
        """What has been paid so far; raises what ended the paying."""
        with self._changed:
            if self._error is not None:
                raise self._error
            seen = self._seen
            self._seen = Activity(seen.rows, seen.position)
            return seen

    def _run(self) -> None:
        try:
            while not self._stopping.wait(PAUSE):
                self._connection.query(_PAY)
                self._rows += ROWS_AT_ONCE
                self._look()
        except BaseException as error:  # the end of the thread; whoever asks next is told
            with self._changed:
                self._error = error

    def _look(self) -> None:
        where, behind = self._connection.row(_LOOK)
        reached = LSN.parse(text(where, "position"))
        with self._changed:
            lag = max(self._seen.lag_bytes, number(behind, "lag"))
            self._seen = Activity(self._rows, reached, lag)
