"""Commits per second with one receiver as the only synchronous standby: every commit waits for its fsync.

Each run starts a receiver anew, waits until the server counts it as synchronous, and has pgbench insert
single rows for some seconds. The server is one of its own, which syncs as PostgreSQL does, on the same disk.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks.measure import Failed, Run, environment
from benchmarks.programs import configured
from benchmarks.scene import Scene
from benchmarks.service import Service
from walstream.ops.throwaway import ThrowawayServer

CLIENTS = (1, 8, 32)
WARM_UP = 1  # seconds, in which ours makes the first blank segments; theirs has done so before it streams
OURS, THEIRS, FLOOR = "walstream_receive_wal", "pg_receivewal", "python_floor"
SETTINGS = {
    "synchronous_standby_names": f"{OURS}, {THEIRS}, {FLOOR}",
    "synchronous_commit": "on",
    "autovacuum": "off",
    "checkpoint_timeout": "1h",
    "max_wal_size": "4GB",
}


class Commits:
    """A server that waits for its receiver, and the load; the server starts with the first run."""

    def __init__(self, scene: Scene, seconds: int) -> None:
        self.scene = scene
        self.seconds = seconds

    @cached_property
    def server(self) -> ThrowawayServer:
        """The running server; the scene closes it."""
        scene = self.scene
        server = ThrowawayServer(scene.server.bin_dir, str(scene.disk / "commits"), SETTINGS)
        scene.at_end(server.close)
        server.init(checksums=True)
        server.start()
        scene.sql(
            "SET synchronous_commit = local",
            "CREATE TABLE commits (client int, at timestamptz DEFAULT now())",
            conninfo=server.conninfo(),
        )
        (scene.disk / "insert.sql").write_text("INSERT INTO commits VALUES (:client_id);\n", encoding="utf-8")
        return server

    def sql(self, *statements: str) -> str:
        """Run statements without waiting for a receiver; the last one's value."""
        return self.scene.sql("SET synchronous_commit = local", *statements, conninfo=self.server.conninfo())

    def begin(self, slot: str) -> None:
        """The same state before every run: an empty table, nothing to write back, one slot, at the end."""
        self.sql(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active",
            "TRUNCATE commits",
            "CHECKPOINT",
            f"SELECT pg_create_physical_replication_slot('{slot}', true)",
        )

    def waits_for(self, name: str) -> bool:
        """Whether commits wait for the receiver of this name."""
        found = self.sql(
            "SELECT count(*) FROM pg_stat_replication "
            f"WHERE application_name = '{name}' AND state = 'streaming' AND sync_state = 'sync'"
        )
        return found == "1"

    def load(self, clients: int, duration: int) -> tuple[int, float]:
        """Commit for some seconds; how many were made, in how many seconds."""
        argv = [
            *(str(self.scene.bin / "pgbench"), "-n", "-M", "prepared", "-f", str(self.scene.disk / "insert.sql")),
            *("-c", str(clients), "-j", str(min(clients, 2)), "-T", str(duration)),
            self.server.conninfo(),
        ]  # fmt: skip
        ended = subprocess.run(argv, env=environment(), capture_output=True, text=True)
        made = re.search(r"actually processed: (\d+)", ended.stdout)
        speed = re.search(r"tps = ([\d.]+)", ended.stdout)
        if ended.returncode or made is None or speed is None or not int(made[1]):
            raise Failed(f"{' '.join(argv)}\n{ended.stdout}{ended.stderr}")
        return int(made[1]), int(made[1]) / float(speed[1])


@dataclass(frozen=True, slots=True)
class Standby:
    """One side, or the floor: a receiver by the name with which it connects, under a load of so many clients.

    ``wrap`` changes the command line with which it is started.
    """

    commits: Commits
    name: str
    clients: int
    wrap: Callable[[Sequence[str]], Sequence[str]] = lambda argv: argv

    def run(self) -> Run:
        commits = self.commits
        place = commits.scene.fresh(commits.scene.disk, self.name)
        slot = place.name.replace("-", "_")
        commits.begin(slot)
        try:
            with Service(self.wrap(self._command(place, slot))) as receiver:
                receiver.wait_for(lambda: commits.waits_for(self.name), "be the synchronous standby")
                commits.load(self.clients, WARM_UP)
                cpu = receiver.cpu()
                made, seconds = commits.load(self.clients, commits.seconds)
                run = Run(seconds, receiver.cpu() - cpu, receiver.peak(), made, seconds * self.clients / made)
                if not commits.waits_for(self.name):
                    raise Failed(f"{self.name} was not the synchronous standby at the end")
                receiver.stop()
        finally:
            shutil.rmtree(place, ignore_errors=True)
        return run

    def _command(self, place: Path, slot: str) -> Sequence[str]:
        conninfo = self.commits.server.conninfo()
        if self.name == OURS:
            return [*configured(conninfo, place, slot), "receive-wal", "main"]
        place.mkdir()
        if self.name == FLOOR:
            return [sys.executable, "-m", "benchmarks.floor", conninfo, slot, str(place)]
        program = str(self.commits.scene.bin / "pg_receivewal")
        return [program, "-d", conninfo, "-D", str(place), "-S", slot, "--synchronous", "--no-loop"]
