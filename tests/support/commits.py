"""Clients that commit, and remember which commits they were told about; servers and receivers killed under them.

A commit counts as told when its statement has returned without a warning: a server that gives up
waiting for a standby says so in one, and the commit is only local then.
"""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from support.clusters import Cluster
from support.protection import (
    RECEIVER,
    Process,
    Protection,
    assert_same_wal,
    segment_size,
    stop,
    wait_until,
)

from catalog.lsn import LSN, SegmentSize

SYNCHRONOUS = {"synchronous_standby_names": RECEIVER}
NOT_WAITING = {"options": "-c synchronous_commit=local"}
TABLE = "CREATE TABLE told (client text, number int, body text, PRIMARY KEY (client, number))"
INSERT = (
    "INSERT INTO told VALUES (%s, %s, repeat(md5(%s::text), 1 + %s %% 40)) "
    "RETURNING pg_current_wal_insert_lsn()::text"
)
COMMIT_NBYTES = 34  # the shortest record of a commit
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"

Row = tuple[str, int]


class Clients:
    """So many connections, each with one commit after the other; a connection that is lost is made again.

    A context manager: at its end every client has stopped, which takes a server that lets it commit, or none.
    """

    def __init__(self, cluster: Cluster, name: str = "c", count: int = 4) -> None:
        self._cluster = cluster
        self._told: dict[str, list[int]] = {f"{name}{number}": [] for number in range(count)}
        self._numbers = dict.fromkeys(self._told, 0)
        self._positions = dict.fromkeys(self._told, LSN(0))
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=[client]) for client in self._told]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        if error is not None:
            self._cluster.kill()  # a commit that waits for ever would hide what went wrong
        for thread in self._threads:
            thread.join(60)
        assert error is not None or not any(thread.is_alive() for thread in self._threads)

    def __len__(self) -> int:
        """How many commits were told so far."""
        return sum(map(len, self._told.values()))

    @property
    def told(self) -> set[Row]:
        """The rows whose commits were told so far."""
        return {(client, number) for client, numbers in self._told.items() for number in list(numbers)}

    @property
    def position(self) -> LSN:
        """Everything before it must be held: the newest commit that was told ends there, or behind it."""
        newest = max(self._positions.values())
        return newest + COMMIT_NBYTES if newest else newest

    def wait_for_commits(self, count: int = 1, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Wait until every client was told about so many more; ``meanwhile`` is called again and again."""
        wanted = {client: len(numbers) + count for client, numbers in self._told.items()}

        def are_told() -> bool:
            meanwhile()
            return all(len(self._told[client]) >= many for client, many in wanted.items())

        wait_until(are_told, 120)

    def _run(self, client: str) -> None:
        while not self._done.is_set():
            try:
                with self._cluster.connect() as connection:
                    self._commit(client, connection)
            except psycopg.Error:
                self._done.wait(0.02)

    def _commit(self, client: str, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        warnings: list[object] = []
        connection.add_notice_handler(warnings.append)
        while not self._done.is_set():
            self._numbers[client] += 1
            number = self._numbers[client]
            cursor = connection.execute(INSERT, [client, number, number, number])
            if warnings:
                return
            self._told[client].append(number)
            ((before_commit,),) = cursor.fetchall()
            self._positions[client] = LSN.parse(str(before_commit))


def wait_until_all_wait(cluster: Cluster, count: int) -> None:
    """Wait until so many commits wait for a standby."""
    wait_until(lambda: bool(cluster.one(WAITING) == count))


def wait_until_nobody_streams(cluster: Cluster) -> None:
    """Wait until the server has noticed that its receiver is gone, and has read what that had reported."""
    wait_until(lambda: cluster.one("SELECT count(*) FROM pg_stat_replication") == 0)


def load_without_waiting(cluster: Cluster, megabytes: int) -> None:
    """Write about so much WAL, by commits that wait for nobody."""
    with cluster.connect(**NOT_WAITING) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS bulk (id bigserial, body text)")
        for _ in range(megabytes):
            connection.execute(
                "INSERT INTO bulk (body) SELECT repeat(md5(i::text), 20) FROM generate_series(1, 1400) i"
            )


class Pair:
    """A server and its receiver, which are killed and started again; ``kills`` counts by victim."""

    def __init__(self, cluster: Cluster, ours: Protection) -> None:
        self.cluster = cluster
        self.ours = ours
        self.kills = {"receiver": 0, "server": 0, "both": 0}
        self._size: SegmentSize = segment_size(cluster)
        self._held = LSN(0)
        self._receiver: Process | None = None
        self._backup: Process | None = None
        self._may_have_ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in (self._receiver, self._backup):
            if process is not None:
                stop(process, signal.SIGKILL)

    @property
    def is_backing_up(self) -> bool:
        """Whether a backup runs."""
        return self._backup is not None and self._backup.poll() is None

    def back_up(self) -> None:
        """Begin a backup in the background, unless one runs; it may fail, or receive WAL in a receiver's place."""
        if not self.is_backing_up:
            self._backup = self.ours.start("backup", "main")
            self._may_have_ended = True

    def receive(self, *, wait: bool = True) -> None:
        """Start the receiver; ``wait`` until it streams."""
        self._receiver = self.ours.start("receive-wal", "main")
        self._may_have_ended = self.is_backing_up
        if wait:
            self.ours.wait_for_stream(self._receiver)

    def kill(self, victim: str) -> None:
        """SIGKILL for the ``receiver``, the ``server`` with all its processes, or ``both``."""
        self.kills[victim] += 1
        if victim in ("server", "both"):
            self.kill_server()
        if victim in ("receiver", "both"):
            self.kill_receiver()

    def die_at_call(self, number: int) -> None:
        """Have the receiver, begun anew, die before the call of that number that changes a file."""
        self.kills["receiver"] += 1
        self.kill_receiver()
        refused = self.is_backing_up
        process = self.ours.start("receive-wal", "main", dies_at=number)
        assert process.wait(120) == -signal.SIGKILL or refused, self.ours.log.read_text()

    def kill_server(self) -> None:
        """Kill it, if it runs. A receiver that has not begun to stream may end by itself then.

        So it may when a backup receives WAL itself, because no receiver ran when it looked.
        """
        self.cluster.kill()
        self._may_have_ended = True

    def kill_receiver(self) -> None:
        """Kill it, if it runs."""
        if self._receiver is not None and not self._has_ended():
            stop(self._receiver, signal.SIGKILL)
        self._receiver = None

    def keep_running(self) -> None:
        """Start what does not run, as a supervisor does."""
        if self.cluster.pid is None:
            self.cluster.start()
        if self._receiver is None or self._has_ended():
            self.receive(wait=False)

    def follow(self, standby: Cluster) -> None:
        """Begin the receiver anew, with a connection string that leads to the standby once it takes over."""
        hosts = f"{self.cluster.socket_directory},{standby.socket_directory}"
        conninfo = self.cluster.conninfo(host=hosts, target_session_attrs="read-write")
        self.ours.configure({"main": {"conninfo": conninfo}})
        self.kill_receiver()
        self.receive()

    def move_to(self, standby: Cluster) -> None:
        """Say that the standby has taken over."""
        self.cluster = self.ours.cluster = standby

    def assert_held(self, position: LSN) -> None:
        """All WAL before the position is held, and what the server has; from the last such look on."""
        if position > self._held > LSN(0):
            assert_same_wal(self.ours, position, self._size.number_before(self._held), size=self._size)
        self._held = max(self._held, position)

    def wait_for_stream(self) -> None:
        """Wait until the server streams to a receiver, which may have received nothing yet."""

        def streams() -> bool:
            self.keep_running()
            return self.ours.streams()

        wait_until(streams, 120)

    def _has_ended(self) -> bool:
        assert self._receiver is not None
        ended = self._receiver.poll() is not None
        assert not ended or self._may_have_ended, f"the receiver ended: {self.ours.log.read_text()}"
        return ended


def assert_restored(ours: Protection, place: str, wanted: set[Row], *words: str) -> set[Row]:
    """A restore from the repository's path starts and holds these rows, at least; all it holds.

    The words are those of ``restore``, without the destination.
    """
    backup, *options = words or ("auto",)
    with Cluster(ours.cluster.version, place) as copy:
        ours.restore(Path(place), backup, place, *options)
        copy.start()
        assert copy.wait_for_recovery(900) in ("ended", "paused")
        rows = rows_of(copy)
    shutil.rmtree(place)
    lost = wanted - rows
    assert not lost, f"{len(lost)} of {len(wanted)} commits are lost, such as {sorted(lost)[:5]}"
    return rows


def rows_of(cluster: Cluster) -> set[Row]:
    """The rows of all clients that a server has."""
    return {(client, number) for client, number in cluster.sql("SELECT client, number FROM told")}
