"""The only module that talks to PostgreSQL: run commands, stream copies, on what ``connecting`` opened.

A thin floor over ``psycopg.pq`` without policy: it knows no WAL and no backups. Nothing here blocks
inside libpq, because that would hold the interpreter's lock: every wait is a ``poll`` on the socket
(and on a wake-up descriptor), in which other threads run and signals are seen. libpq's errors become
the project's own, with a hint; a connection string never appears in them.
"""

from __future__ import annotations

import contextlib
import select
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType

import psycopg
from psycopg import pq

from catalog.errors import ConnectionFailed, ConnectionLost, ProtocolError, ServerRefused
from walstream.commands import OLDEST_SUPPORTED, Row
from walstream.connecting import Libpq, connected, hint_for, host_of

ROWS = "rows"
OK = "ok"
COPY_OUT = "copy out"
COPY_IN = "copy in"
COPY_BOTH = "copy both"

_LOOK = 200  # milliseconds between two looks at whether an answer is still wanted

_KINDS = {
    pq.ExecStatus.TUPLES_OK: ROWS,
    pq.ExecStatus.COMMAND_OK: OK,
    pq.ExecStatus.EMPTY_QUERY: OK,
    pq.ExecStatus.COPY_OUT: COPY_OUT,
    pq.ExecStatus.COPY_IN: COPY_IN,
    pq.ExecStatus.COPY_BOTH: COPY_BOTH,
}


@dataclass(frozen=True, slots=True)
class Result:
    """One result of a command: its kind (one of the constants) and, for ``ROWS``, the rows."""

    kind: str
    rows: tuple[Row, ...] = ()


class Connection:
    """One connection to a server; a context manager that closes it.

    ``on_warning`` may be set to a function that is told each warning the server sends; it must not raise.
    """

    def __init__(
        self,
        connection: Libpq,
        conninfo: str,
        wakeup: int | None,
        patience: float | None,
        unless: Callable[[], bool] | None = None,
    ) -> None:
        self._connection = connection
        self._conninfo = conninfo
        self._pg = connection.pgconn
        self._poll = select.poll()
        self._socket = self._pg.socket
        self._patience = patience
        self._unless = unless
        self._poll.register(self._socket, select.POLLIN)
        self._server_only = select.poll()
        self._server_only.register(self._socket, select.POLLIN)
        if wakeup is not None:
            self._poll.register(wakeup, select.POLLIN)
        self.on_warning: Callable[[str], None] = lambda message: None
        self._pg.notice_handler = self._note

    @classmethod
    def open(
        cls,
        conninfo: str,
        *,
        application_name: str,
        replication: bool = True,
        wakeup: int | None = None,
        connect_timeout: int = 30,
        patience: float | None = None,
        unless: Callable[[], bool] | None = None,
    ) -> Connection:
        """Connect; physical replication, or ordinary SQL with ``replication=False``.

        ``wakeup`` is a descriptor that ends any ``wait`` when it becomes readable; ``patience`` is how many
        seconds to wait for the answer to a command before the connection counts as lost. Connecting, and
        waiting for an answer, is given up once ``unless`` says so. Raises ``ConnectionFailed``, or ``UsageError``
        for a connection string that libpq does not accept.
        """
        connection = connected(
            conninfo,
            application_name=application_name,
            replication=replication,
            timeout=connect_timeout,
            unless=unless,
        )
        if connection.pgconn.server_version < OLDEST_SUPPORTED:
            version = connection.pgconn.server_version // 10000
            connection.close()
            raise ConnectionFailed(f"the server is PostgreSQL {version}", "walstream needs 13 or later")
        return cls(connection, conninfo, wakeup, patience, unless)

    @property
    def server_version(self) -> int:
        """The server's version as libpq numbers it: 150018 for 15.18."""
        return self._pg.server_version

    @property
    def backend_pid(self) -> int:
        """The process id of the server's side."""
        return self._pg.backend_pid

    def parameter(self, name: str) -> str | None:
        """What the server says of itself without being asked: ``in_hot_standby`` (14 and later), for instance."""
        value = self._pg.parameter_status(name.encode())
        return None if value is None else value.decode()

    @property
    def host(self) -> str:
        """Which server this is: host (or directory of its socket) and port."""
        host = self._pg.host.decode()
        shown = f"[{host}]" if ":" in host else host
        return f"{shown}:{self._pg.port.decode()}"

    @property
    def conninfo(self) -> str:
        """A connection string for this very server, which may be one of several hosts."""
        return host_of(self._conninfo, self._pg.host.decode(), self._pg.port.decode())

    def take_leave(self, patience: float) -> None:
        """From here on wait for an answer for so many seconds at most, and whatever ``unless`` says."""
        self._unless, self._patience = None, patience

    def close(self) -> None:
        """Say good-bye; the server's side ends at once."""
        self._pg.notice_handler = None
        self._connection.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # commands

    def query(self, command: str) -> tuple[Row, ...]:
        """Run a command to its end and return the rows of its last result that had any."""
        rows: tuple[Row, ...] = ()
        self.send(command)
        while (result := self.result()) is not None:
            if result.kind == ROWS:
                rows = result.rows
            elif result.kind != OK:
                raise ProtocolError(f"unexpected {result.kind} after {command.split()[0]}")
        return rows

    def row(self, command: str) -> Row:
        """Run a command that answers with exactly one row."""
        rows = self.query(command)
        if len(rows) != 1:
            raise ProtocolError(f"{len(rows)} rows in answer to {command.split()[0]}")
        return rows[0]

    def send(self, command: str) -> None:
        """Send a command (simple query protocol) without waiting for its results."""
        with _LOST_ON_ERROR:
            self._pg.send_query(command.encode())
            self._flush()

    def result(self) -> Result | None:
        """Wait for the next result of the command sent last; None when there are no more.

        A result that is an error raises ``ServerRefused``; the connection can be used again once
        the remaining results have been read, which this does. Raises ``ConnectionLost``.
        """
        with _LOST_ON_ERROR:
            while self._pg.is_busy():
                self._wait_for_server()
            result = self._pg.get_result()
        if result is None:
            return None
        kind = _KINDS.get(pq.ExecStatus(result.status))
        if kind is None:
            self._raise_refusal(result)
        rows: tuple[Row, ...] = ()
        if kind == ROWS:
            columns = range(result.nfields)
            rows = tuple(tuple(result.get_value(r, c) for c in columns) for r in range(result.ntuples))
        return Result(str(kind), rows)

    # copies

    def copied(self) -> memoryview | None:
        """The next message of a copy if it has arrived, or None; ``EndOfCopy`` at its end.

        The memory stays valid for as long as the view, or a slice of it, is kept.
        """
        # Looking at the socket again here, and not only behind a ``wait``, halves the work per message.
        try:
            nbytes, data = self._pg.get_copy_data(1)
            if nbytes == 0:
                self._pg.consume_input()
                nbytes, data = self._pg.get_copy_data(1)
        except psycopg.Error as error:
            raise _lost(error) from None
        if nbytes > 0:
            return memoryview(data)
        if nbytes == 0:
            return None
        raise EndOfCopy

    def messages(self) -> Iterator[memoryview]:
        """All messages of a copy-out, waiting for each, until the copy ends."""
        while True:
            try:
                message = self.copied()
            except EndOfCopy:
                return
            if message is None:
                with _LOST_ON_ERROR:
                    self._wait_for_server()
            else:
                yield message

    def put(self, data: bytes) -> None:
        """Send one message of a copy."""
        try:
            self._pg.put_copy_data(data)
            self._flush()
        except psycopg.Error as error:
            raise _lost(error) from None

    def end_copy(self) -> None:
        """Tell the server that our side of the copy is over."""
        with _LOST_ON_ERROR:
            self._pg.put_copy_end()
            self._flush()

    def upload(self, command: str, pieces: Iterable[bytes]) -> None:
        """Run a command to its end that takes a copy of ours, and send it."""
        self.send(command)
        result = self.result()
        if result is None or result.kind != COPY_IN:
            raise ProtocolError(f"the server did not ask for the content of {command.split()[0]}")
        for piece in pieces:
            self.put(piece)
        self.end_copy()
        while (result := self.result()) is not None:
            if result.kind != OK:
                raise ProtocolError(f"unexpected {result.kind} after {command.split()[0]}")

    def wait(self, timeout: float | None) -> bool:
        """Sleep until the server has sent something, the wake-up descriptor calls, or time is up.

        True when there is something from the server; what has arrived is taken in. Seconds.
        """
        ready = self._poll.poll(None if timeout is None else max(0.0, timeout) * 1000)
        heard = self._socket in dict(ready)
        if heard:
            try:
                self._pg.consume_input()
            except psycopg.Error as error:
                raise _lost(error) from None
        return heard

    # inside

    def _wait_for_server(self) -> None:
        # Not for the wake-up descriptor, which stays readable: the answer to a command is always waited for.
        give_up = None if self._patience is None else time.monotonic() + self._patience
        while not self._server_only.poll(_LOOK):
            if give_up is not None and time.monotonic() > give_up:
                raise ConnectionLost(f"the server has not answered for {self._patience:.0f} seconds")
            if self._unless is not None and self._unless():
                raise ConnectionLost("the server's answer was not waited for")
        self._pg.consume_input()

    def _flush(self) -> None:
        while self._pg.flush() == 1:
            self._server_only.modify(self._socket, select.POLLIN | select.POLLOUT)
            try:
                for _, event in self._server_only.poll():
                    if event & ~select.POLLOUT:
                        self._pg.consume_input()
            finally:
                self._server_only.modify(self._socket, select.POLLIN)

    def _raise_refusal(self, result: pq.abc.PGresult) -> None:
        def field(which: pq.DiagnosticField) -> str:
            return (result.error_field(which) or b"").decode("utf-8", "replace")

        sqlstate = field(pq.DiagnosticField.SQLSTATE)
        message = field(pq.DiagnosticField.MESSAGE_PRIMARY)
        if not sqlstate:
            lost = " ".join(result.error_message.decode("utf-8", "replace").split())
            raise ConnectionLost(f"the connection to the server was lost: {lost}")
        detail = field(pq.DiagnosticField.MESSAGE_DETAIL)
        if detail:
            message = f"{message} ({detail})"
        self._drain()
        hint = field(pq.DiagnosticField.MESSAGE_HINT) or hint_for(message)
        raise ServerRefused(f"the server refused: {message}", hint, sqlstate)

    def _drain(self) -> None:
        # What follows an error says nothing new; a connection that ends here is noticed at its next use.
        with contextlib.suppress(psycopg.Error):
            give_up = time.monotonic() + 5
            while time.monotonic() < give_up:
                while self._pg.is_busy():
                    if not self._server_only.poll(1000) and time.monotonic() > give_up:
                        return
                    self._pg.consume_input()
                if self._pg.get_result() is None:
                    return

    def _note(self, result: pq.abc.PGresult) -> None:
        severity = (result.error_field(pq.DiagnosticField.SEVERITY_NONLOCALIZED) or b"").decode()
        message = (result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"").decode("utf-8", "replace")
        if severity == "WARNING":
            self.on_warning(message)


class EndOfCopy(Exception):
    """The server ended the copy; what comes next is read with ``Connection.result``."""


class _LostOnError:
    """Turns libpq's errors into ``ConnectionLost``; a class, because a generator costs more than some calls."""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, psycopg.Error):
            raise _lost(error) from None


_LOST_ON_ERROR = _LostOnError()


def _lost(error: psycopg.Error) -> ConnectionLost:
    message = " ".join(str(error).split())
    return ConnectionLost(f"the connection to the server was lost: {message}")
