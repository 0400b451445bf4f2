"""What the benchmarks work on: a server with a cluster of a given size, and as much WAL that it still keeps.

The cluster is pgbench's. The WAL is that of making it, and then, behind a checkpoint, of updates all over the
accounts, so that about half of it is page images. A slot at its beginning (``START``) keeps it; every run
gets a copy of that slot, and streams up to ``end``.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from benchmarks.measure import run_program
from catalog.lsn import LSN
from walstream.connection import Connection
from walstream.ops import unprivileged
from walstream.ops.installation import find_binaries, version_text
from walstream.ops.throwaway import ThrowawayServer

START = "backlog"
BRANCH = 15_000_000  # bytes of cluster for each of pgbench's branches

SETTINGS = {
    "fsync": "off",
    "autovacuum": "off",
    "shared_buffers": "256MB",
    "max_wal_size": "64GB",
    "checkpoint_timeout": "1h",
    "max_replication_slots": "20",
    "maintenance_work_mem": "256MB",
    "bgwriter_lru_maxpages": "0",
}


class Scene:
    """A running server, and fresh places for what the programs write.

    ``memory`` is a directory in memory, where syncing costs nothing; ``disk`` one on a real disk.
    """

    def __init__(self, server: ThrowawayServer, memory: Path, disk: Path) -> None:
        self.server = server
        self.bin = Path(server.bin_dir)
        self.memory = memory
        self.disk = disk
        self.begin = LSN(0)
        self.end = LSN(0)
        self._numbers = itertools.count(1)
        self._stack = ExitStack()

    @property
    def version(self) -> int:
        """The server's major version."""
        return int(version_text(self.server.bin_dir).split(".")[0])

    @property
    def conninfo(self) -> str:
        return self.server.conninfo()

    @property
    def wal_bytes(self) -> int:
        """How much WAL lies between the slot and the end."""
        return self.end - self.begin

    def at_end(self, call: Callable[[], None]) -> None:
        """Have something called when the scene ends, before its directories are removed."""
        self._stack.callback(call)

    def close(self) -> None:
        self._stack.close()

    def sql(self, *statements: str, conninfo: str | None = None) -> str:
        """Run statements, here or on another server; the first column of the last row of the last one."""
        value = None
        where = conninfo or self.conninfo
        with Connection.open(where, application_name="benchmarks", replication=False) as connection:
            for statement in statements:
                rows = connection.query(statement)
                value = rows[-1][0] if rows else None
        return (value or b"").decode()

    def fill(self, nbytes: int) -> None:
        """Make a cluster of about ``nbytes``, and about as much WAL."""
        scale = max(1, nbytes // BRANCH)
        self.sql(f"SELECT pg_create_physical_replication_slot('{START}', true)")
        self.begin = LSN.parse(
            self.sql(f"SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = '{START}'")
        )
        run_program([str(self.bin / "pgbench"), "-i", "-q", "-I", "dtgp", "-s", str(scale), self.conninfo])
        self.sql(
            "CHECKPOINT",
            "UPDATE pgbench_accounts SET abalance = (random() * 10000)::int - 5000 WHERE random() < 0.02",
            "INSERT INTO pgbench_history SELECT i % 10, i % 100, i, 7, now() FROM generate_series(1, 100000) i",
        )
        self.end = self.position()
        self.sql("SELECT pg_switch_wal()", "CREATE TABLE behind_the_end ()", "CHECKPOINT")

    def position(self) -> LSN:
        """Where the server's WAL ends."""
        return LSN.parse(self.sql("SELECT pg_current_wal_flush_lsn()"))

    def warm(self) -> None:
        """Read the cluster and its WAL once, so that no run pays for the disk."""
        for path in Path(self.server.directory).rglob("*"):
            if path.is_file():
                with open(path, "rb", buffering=0) as file:
                    while file.read(1 << 20):
                        pass

    def cluster_bytes(self) -> int:
        """The size of the cluster, without WAL."""
        root = Path(self.server.directory)
        wal = root / "pg_wal"
        return sum(
            path.stat().st_size for path in root.rglob("*") if path.is_file() and wal not in path.parents
        )

    def fresh(self, place: Path, name: str) -> Path:
        """A new directory's path below ``place``; not made."""
        return place / f"{name}-{next(self._numbers)}"

    def new_slot(self) -> str:
        """A slot that stands at the beginning of the WAL."""
        name = f"run_{next(self._numbers)}"
        self.sql(f"SELECT pg_copy_physical_replication_slot('{START}', '{name}')")
        return name

    def drop_slot(self, name: str) -> None:
        self.sql(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "
            f"WHERE slot_name = '{name}' AND NOT active"
        )


@contextmanager
def scene(nbytes: int, version: int, memory: Path, disk: Path) -> Iterator[Scene]:
    """A scene with a cluster of about ``nbytes``, below the two directories; gone at the end."""
    places = [place / f"walstream-bench-{os.getpid()}" for place in (memory, disk)]
    try:
        for place in places:
            place.mkdir(mode=0o711)
        unprivileged.way().give(str(places[1]))
        with ThrowawayServer(find_binaries(version), str(places[1] / "pg"), SETTINGS) as server:
            server.init(checksums=True)
            server.start()
            with closing(Scene(server, *places)) as made:
                made.fill(nbytes)
                made.warm()
                yield made
    finally:
        for place in places:
            shutil.rmtree(place, ignore_errors=True)
