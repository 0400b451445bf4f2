"""Recoveries from a zstd archive of so many segments: a restored cluster that replays them and shuts down.

The archive is made once: a backup of the scene's cluster, then updates and checkpoints until there are segments
enough behind it, received like any others. Every run gets a cluster restored anew; all that differs is its
restore_command.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from backup.recovery_conf import conf_quoted
from benchmarks.measure import Failed, environment, run_program
from benchmarks.programs import configured, walstream
from benchmarks.scene import Scene
from catalog.lsn import LSN, SegmentSize
from walstream.ops import unprivileged

SEGMENT = SegmentSize(16 << 20)
ZSTD = "f=%f; zstd -dcq {wals}/${{f%%%%????????}}/$f.zst >%p"
_MINIMUM = re.compile(r"Minimum recovery ending location: +(\S+)")


class Replay:
    """A repository whose newest backup has ``segments`` behind it, and clusters that recover from there."""

    def __init__(self, scene: Scene, segments: int) -> None:
        self.scene = scene
        self.segments = segments

    @cached_property
    def archive(self) -> tuple[Path, LSN]:
        """The server's directory in the repository, and the position at which the segments end."""
        scene = self.scene
        home = scene.memory / "replay"
        words = configured(scene.conninfo, home, "bench_replay", "zstd")
        run_program([*words, "backup", "main", "--immediate-checkpoint"])
        end = LSN(scene.position().value + self.segments * SEGMENT.nbytes)
        while scene.position() < end:
            scene.sql(
                "CHECKPOINT",
                "UPDATE pgbench_accounts SET abalance = (random() * 10000)::int - 5000 WHERE random() < 0.02",
                "INSERT INTO pgbench_history SELECT i % 10, i % 100, i, 7, now() FROM generate_series(1, 100000) i",
            )
        scene.sql("SELECT pg_switch_wal()", "CREATE TABLE behind_the_replay ()", "CHECKPOINT")
        run_program([*words, "receive-wal", "main", "--endpos", str(scene.position())])
        scene.drop_slot("bench_replay")
        return home / "main", end

    def recovery(self, place: Path, *, ours: bool) -> Sequence[str]:
        """Restore a cluster to ``place``; the command line of the server that recovers it and then ends."""
        stored, end = self.archive
        place.mkdir(mode=0o700)
        target = ("--target-lsn", str(end), "--target-action", "shutdown")
        run_program(walstream("-q", "restore", str(stored), "latest", str(place), *target))
        if not ours:
            command = ZSTD.format(wals=shlex.quote(str(stored / "wals")))
            with open(place / "postgresql.auto.conf", "a", encoding="utf-8") as file:
                file.write(f"restore_command = {conf_quoted(command)}\n")
        way = unprivileged.way()
        way.give(str(place))
        settings = {"listen_addresses": "", "unix_socket_directories": str(place), "shared_buffers": "256MB"}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        argv = [str(self.scene.bin / "postgres"), "-D", str(place), "-c", "hot_standby=off", *options]
        return shlex.split(way.shown(argv))

    def complaint(self, place: Path) -> str | None:
        """What is wrong with a cluster that should have replayed everything."""
        argv = [str(self.scene.bin / "pg_controldata"), str(place)]
        said = subprocess.run(argv, env=environment(), capture_output=True, text=True).stdout
        found = _MINIMUM.search(said)
        if found is None:
            raise Failed(f"{' '.join(argv)}\n{said}")
        return None if LSN.parse(found[1]) >= self.archive[1] else f"it recovered only to {found[1]}"
