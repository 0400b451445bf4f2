"""Rows of the table about the way back: restores, WAL handed out, and a recovery."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from backup import lookahead
from backup.recovery_conf import RestoreCall, restore_command
from benchmarks.chains import INCREMENTS, combining, stored_chain
from benchmarks.limits import decompressed, segment_decompressed
from benchmarks.measure import Side, run_program
from benchmarks.programs import configured, walstream
from benchmarks.replay import Replay
from benchmarks.row import IN_MEMORY, SEGMENT, Place, Row
from benchmarks.scene import Scene

CONTROL = "global/pg_control"


def restore_row(scene: Scene) -> Row:
    stored = _stored_backup(scene)
    (archive,) = stored.glob("base/*/base.tar.zst")
    ours, theirs = Place(scene, scene.memory, "ours"), Place(scene, scene.memory, "theirs")

    def our_command() -> list[str]:
        path = ours.renew()
        path.mkdir(mode=0o700)  # root may restore only into what is there: it must not own a cluster
        return walstream("-q", "restore", str(stored), "latest", str(path))

    def their_command() -> list[str]:
        path = theirs.renew()
        path.mkdir()
        return ["sh", "-c", f"zstd -dc {archive} | tar -x -C {path}"]

    return Row(
        "restore-zstd",
        "restore, zstd",
        "zstd -dc | tar -x",
        IN_MEMORY,
        1.0,
        scene.cluster_bytes(),
        Side("walstream restore", our_command, ours.complaint(CONTROL), ours.clear),
        Side("tar", their_command, theirs.complaint(CONTROL), theirs.clear),
        limits=(decompressed(scene, archive),),
    )


def restore_chain_row(scene: Scene) -> Row:
    stored = stored_chain(scene)
    ours, theirs = Place(scene, scene.memory, "ours"), Place(scene, scene.memory, "theirs")

    def our_command() -> list[str]:
        path = ours.renew()
        path.mkdir(mode=0o700)
        return walstream("-q", "restore", str(stored), "latest", str(path))

    def their_command() -> list[str]:
        path = theirs.renew()
        path.mkdir()
        return ["sh", "-c", combining(scene, stored, path)]

    return Row(
        "restore-chain",
        f"restore, a chain of {INCREMENTS + 1}",
        "zstd -dc | tar -x, pg_combinebackup",
        IN_MEMORY,
        1.5,
        scene.cluster_bytes(),
        Side("walstream restore", our_command, ours.complaint(CONTROL), ours.clear),
        Side("pg_combinebackup", their_command, theirs.complaint(f"combined/{CONTROL}"), theirs.clear),
    )


def get_wal_row(scene: Scene) -> Row:
    stored = _stored_backup(scene)
    name = _full_segment(stored).name.removesuffix(".zst")
    target = scene.memory / "segment"

    def check() -> str | None:
        nbytes = target.stat().st_size
        return None if nbytes == SEGMENT else f"{nbytes} bytes"

    command = walstream("get-wal", str(stored), name, "-o", str(target))
    return Row(
        "get-wal",
        "get-wal, one zstd segment",
        "python -c pass",
        IN_MEMORY,
        1 / 6,
        SEGMENT,
        Side("walstream get-wal", lambda: command, check, lambda: target.unlink(missing_ok=True)),
        Side("python", lambda: [sys.executable, "-c", "pass"]),
        runs=5,
        limits=(segment_decompressed(_full_segment(stored), target),),
    )


def wal_restore_row(scene: Scene) -> Row:
    """As PostgreSQL runs it: by the shell, in the data directory."""
    stored = _stored_backup(scene)
    archived = _full_segment(stored)
    name = archived.name.removesuffix(".zst")
    data = scene.memory / "data"
    plain, waiting, wanted = data / name, data / lookahead.DIRECTORY / name, data / "pg_wal" / "RECOVERYXLOG"
    call = RestoreCall(sys.executable, str(stored), str(stored), "1", name, "none", prefetch=8)
    ours = restore_command(call).replace("%f", name).replace("%p", "pg_wal/RECOVERYXLOG")

    def shell(command: str) -> list[str]:
        waiting.parent.mkdir(parents=True, exist_ok=True)
        if not plain.exists():
            run_program(["zstd", "-dq", str(archived), "-o", str(plain)])
        shutil.copyfile(plain, waiting)
        return ["sh", "-c", f"cd {data} && {command}"]

    def check() -> str | None:
        nbytes = wanted.stat().st_size
        return None if nbytes == SEGMENT else f"{nbytes} bytes"

    def clear() -> None:
        wanted.unlink(missing_ok=True)

    return Row(
        "wal-restore",
        "wal-restore, from the lookahead",
        "cp",
        IN_MEMORY,
        3.0,
        SEGMENT,
        Side("restore_command", lambda: shell(ours), check, clear),
        Side("cp", lambda: shell(f"cp {plain} pg_wal/RECOVERYXLOG"), check, clear),
        runs=5,
    )


def replay_row(replay: Replay, scene: Scene) -> Row:
    ours, theirs = Place(scene, scene.memory, "ours"), Place(scene, scene.memory, "theirs")
    return Row(
        "replay",
        f"replay of {replay.segments} zstd segments",
        "restore_command zstd -dc",
        IN_MEMORY,
        1.3,
        replay.segments * SEGMENT,
        Side(
            "wal-restore",
            lambda: replay.recovery(ours.renew(), ours=True),
            lambda: replay.complaint(ours.path),
            ours.clear,
        ),
        Side(
            "zstd",
            lambda: replay.recovery(theirs.renew(), ours=False),
            lambda: replay.complaint(theirs.path),
            theirs.clear,
        ),
    )


def _stored_backup(scene: Scene) -> Path:
    """A repository with one zstd backup, all the WAL that it needs, and a full segment behind that; made once."""
    home = scene.memory / "stored"
    if not home.exists():
        words = configured(scene.conninfo, home, "bench_stored", "zstd")
        run_program([*words, "backup", "main", "--immediate-checkpoint"])
        scene.sql(
            "INSERT INTO pgbench_history SELECT i % 10, i % 100, i, 7, now() FROM generate_series(1, 500000) i"
        )
        run_program([*words, "receive-wal", "main", "--endpos", str(scene.position())])
        scene.drop_slot("bench_stored")
    return home / "main"


def _full_segment(stored: Path) -> Path:
    """The file that holds most: others end with zeros, which cost nothing to decompress and to copy."""
    return max(stored.glob("wals/*/*.zst"), key=lambda path: path.stat().st_size)
