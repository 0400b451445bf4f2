"""Latencies of a bench: the sync of the spool's disk, and a commit as clients of the server see it.

A commit is made of a message in the WAL (``pg_logical_emit_message``) that touches no table and that nobody
reads who did not ask for it. The server's settings stay as they are.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable

from catalog import durable
from catalog.errors import ConnectionLost, ServerError, ServerRefused
from catalog.local_storage import failed
from walstream.commands import show, text
from walstream.connection import Connection
from walstream.ops.bench_measures import COMMIT, ROUND_TRIP, Latency
from walstream.ops.bench_streams import APPLICATION_NAME

MOST = 5000
_FILE = 16 << 20
_BLOCK = b"w" * 8192
_PATIENCE = 30.0
_MESSAGE = "SELECT pg_catalog.pg_logical_emit_message({transactional}, 'walstream bench', {content})"
_COMMIT = _MESSAGE.format(transactional="true", content="'commit'")
# Hexadecimal digits of no pattern, about a megabyte: they are compressed to a half, as much WAL is.
_LOAD = _MESSAGE.format(
    transactional="false",
    content="(SELECT pg_catalog.string_agg(pg_catalog.md5(pg_catalog.random()::text), '') "
    "FROM pg_catalog.generate_series(1, 32768))",
)


def fsync_latency(directory: str, seconds: float) -> Latency:
    """How long a sync of 8 KiB takes that were written into a file of zeros, as the spool's is."""
    path = durable.temporary_name(os.path.join(directory, "fsync"))
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, durable.FILE_MODE)
        try:
            durable.write_all(fd, bytes(_FILE))
            os.fsync(fd)
            return _timed(_syncs(fd), seconds)
        finally:
            os.close(fd)
            durable.remove_if_present(path)
    except OSError as error:
        raise failed("sync", path, error) from error


def _syncs(fd: int) -> Callable[[], None]:
    offset = 0

    def sync() -> None:
        nonlocal offset
        os.pwrite(fd, _BLOCK, offset)
        os.fdatasync(fd)
        offset = (offset + len(_BLOCK)) % _FILE

    return sync


def commit_latencies(conninfo: str, seconds: float) -> tuple[dict[str, Latency], dict[str, str]]:
    """A question that writes nothing, and a commit; and the settings that the latter depends on.

    ``ServerRefused`` when a commit is not let go for half a minute; it is waited for no longer then.
    """
    connection = Connection.open(
        conninfo, application_name=APPLICATION_NAME, replication=False, patience=_PATIENCE
    )
    with connection:
        settings = {
            name: text(connection.row(show(name))[0], name)
            for name in ("synchronous_commit", "synchronous_standby_names")
        }
        try:
            found = {
                ROUND_TRIP: _timed(lambda: connection.query("SELECT 1"), seconds),
                COMMIT: _timed(lambda: connection.query(_COMMIT), seconds),
            }
        except ConnectionLost as error:
            _end(conninfo, connection.backend_pid)
            raise ServerRefused(
                f"a commit was not let go within {_PATIENCE:.0f} seconds ({error})",
                "see which standby the server waits for: walstream replication-status",
            ) from error
        except BaseException:
            _end(conninfo, connection.backend_pid)
            raise
    return found, settings


def make_wal(conninfo: str, nbytes: int, done: Callable[[int], None] = lambda nbytes: None) -> None:
    """Have the server write about so much WAL that means nothing."""
    with Connection.open(
        conninfo, application_name=APPLICATION_NAME, replication=False, patience=_PATIENCE
    ) as connection:
        for written in range(0, nbytes, 1 << 20):
            connection.query(_LOAD)
            done(written)
        connection.query(_COMMIT)


def _end(conninfo: str, pid: int) -> None:
    """Have a commit that waits for a standby wait no longer: it would, long after we have gone."""
    with (
        contextlib.suppress(ServerError),
        Connection.open(
            conninfo, application_name=APPLICATION_NAME, replication=False, patience=5
        ) as connection,
    ):
        connection.query(f"SELECT pg_catalog.pg_cancel_backend({pid:d})")


def _timed(action: Callable[[], object], seconds: float) -> Latency:
    times: list[float] = []
    until = time.perf_counter() + seconds
    while not times or (len(times) < MOST and time.perf_counter() < until):
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return Latency.of(times)
