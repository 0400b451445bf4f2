"""The rows of the table: what is compared with what, and how each side is set up."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from backup import lookahead
from backup.recovery_conf import RestoreCall, restore_command
from benchmarks.chains import INCREMENTS, combining, stored_chain
from benchmarks.commits import CLIENTS, OURS, THEIRS, Commits, Standby
from benchmarks.measure import Contender, Side, run_program
from benchmarks.programs import configured, walstream
from benchmarks.replay import Replay
from benchmarks.scene import Scene

IN_MEMORY = "neither (memory)"
ON_DISK = "both (disk)"
SEGMENT = 16 << 20
FIRST_WITH_CHAINS = 17


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison; ``sync`` is who syncs, ``goal`` the ratio to reach, ``runs`` for one of the others.

    ``nbytes`` is what one piece of work handles; 0 where the pieces themselves are counted.
    """

    key: str
    what: str
    against: str
    sync: str
    goal: float
    nbytes: int
    ours: Contender
    theirs: Contender
    runs: int = 1


def all_rows(scene: Scene, seconds: int, segments: int) -> list[Row]:
    """Every row there is, in the order of the table.

    ``seconds`` for each run under a load, ``segments`` to be replayed by each recovery.
    """
    commits = Commits(scene, seconds)
    return [
        _receive(scene, "receive-plain", "none", [], 1.0),
        _receive(scene, "receive-plain-sync", "none", [], 1.0, disk=True),
        _receive(scene, "receive-zstd", "zstd", ["--compress=lz4"], 1.2),
        _receive(scene, "receive-lz4", "lz4", ["--compress=lz4"], 1.2),
        _receive(scene, "receive-gzip", "gzip", ["--compress=gzip:1"], 3.0),
        _backup(scene, "backup-plain", "none", [], 1.0),
        _backup(scene, "backup-plain-sync", "none", [], 1.0, disk=True),
        _backup(scene, "backup-zstd", "zstd", ["--compress=client-zstd:1"], 1.2),
        _backup(scene, "backup-zstd-sync", "zstd", ["--compress=client-zstd:1"], 1.2, disk=True),
        _restore(scene),
        *([_restore_chain(scene)] if scene.version >= FIRST_WITH_CHAINS else []),
        _get_wal(scene),
        _wal_restore(scene),
        _replay(Replay(scene, segments), scene),
        *(_commits(commits, clients) for clients in CLIENTS),
    ]


class _Place:
    """A directory that every run of a side gets anew, with a slot if it asks for one."""

    def __init__(self, scene: Scene, parent: Path, name: str) -> None:
        self._scene = scene
        self._parent = parent
        self._name = name
        self.path = parent
        self.slot = ""

    def renew(self) -> Path:
        self.path = self._scene.fresh(self._parent, self._name)
        return self.path

    def new_slot(self) -> str:
        self.slot = self._scene.new_slot()
        return self.slot

    def clear(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        if self.slot:
            self._scene.drop_slot(self.slot)


def _receive(scene: Scene, key: str, codec: str, options: list[str], goal: float, disk: bool = False) -> Row:
    parent = scene.disk if disk else scene.memory
    ours, theirs = _Place(scene, parent, "ours"), _Place(scene, parent, "theirs")
    # A segment counts once it is complete; the one in which the end lies need not be.
    expected = scene.end.value // SEGMENT - scene.begin.value // SEGMENT
    sync = [] if disk else ["--no-sync"]

    def our_command() -> list[str]:
        words = configured(scene.conninfo, ours.renew(), ours.new_slot(), codec)
        return [*words, "receive-wal", "main", "--endpos", str(scene.end)]

    def their_command() -> list[str]:
        path = theirs.renew()
        path.mkdir()
        words = [str(scene.bin / "pg_receivewal"), "-d", scene.conninfo, "-D", str(path)]
        return [*words, "-S", theirs.new_slot(), "-E", str(scene.end), "--no-loop", *sync, *options]

    def check(place: _Place, pattern: str) -> Callable[[], str | None]:
        def count() -> str | None:
            found = sum(1 for path in place.path.rglob(pattern) if "partial" not in path.name)
            return None if found >= expected else f"{found} segments instead of {expected}"

        return count

    return Row(
        key,
        f"receive WAL, {codec if codec != 'none' else 'plain'}",
        " ".join(["pg_receivewal", *sync, *options]),
        ON_DISK if disk else IN_MEMORY,
        goal,
        scene.wal_bytes,
        Side("walstream receive-wal", our_command, check(ours, "wals/*/" + "0" * 7 + "*"), ours.clear),
        Side("pg_receivewal", their_command, check(theirs, "0" * 7 + "*"), theirs.clear),
    )


def _backup(scene: Scene, key: str, codec: str, options: list[str], goal: float, disk: bool = False) -> Row:
    parent = scene.disk if disk else scene.memory
    ours, theirs = _Place(scene, parent, "ours"), _Place(scene, parent, "theirs")
    sync = [] if disk else ["--no-sync"]

    def our_command() -> list[str]:
        words = configured(scene.conninfo, ours.renew(), "bench_backup", codec)
        return [*words, "backup", "main", "--immediate-checkpoint", "--no-wait"]

    def their_command() -> list[str]:
        words = [str(scene.bin / "pg_basebackup"), "-d", scene.conninfo, "-D", str(theirs.renew())]
        return [*words, "-Ft", "-X", "none", "-c", "fast", *sync, *options]

    def clear_ours() -> None:
        ours.clear()
        scene.drop_slot("bench_backup")

    def check(place: _Place, pattern: str) -> Callable[[], str | None]:
        return lambda: None if list(place.path.glob(pattern)) else f"there is no {pattern}"

    return Row(
        key,
        f"base backup, {codec if codec != 'none' else 'plain'}",
        " ".join(["pg_basebackup -Ft -X none", *sync, *options]),
        ON_DISK if disk else IN_MEMORY,
        goal,
        scene.cluster_bytes(),
        Side("walstream backup", our_command, check(ours, "main/base/*/record.json"), clear_ours),
        Side("pg_basebackup", their_command, check(theirs, "base.tar*"), theirs.clear),
    )


def _restore(scene: Scene) -> Row:
    stored = _stored_backup(scene)
    (archive,) = stored.glob("base/*/base.tar.zst")
    ours, theirs = _Place(scene, scene.memory, "ours"), _Place(scene, scene.memory, "theirs")

    def our_command() -> list[str]:
        path = ours.renew()
        path.mkdir(mode=0o700)  # root may restore only into what is there: it must not own a cluster
        return walstream("-q", "restore", str(stored), "latest", str(path))

    def their_command() -> list[str]:
        path = theirs.renew()
        path.mkdir()
        return ["sh", "-c", f"zstd -dc {archive} | tar -x -C {path}"]

    def check(place: _Place) -> Callable[[], str | None]:
        return lambda: None if (place.path / "global" / "pg_control").exists() else "there is no pg_control"

    return Row(
        "restore-zstd",
        "restore, zstd",
        "zstd -dc | tar -x",
        IN_MEMORY,
        1.0,
        scene.cluster_bytes(),
        Side("walstream restore", our_command, check(ours), ours.clear),
        Side("tar", their_command, check(theirs), theirs.clear),
    )


def _restore_chain(scene: Scene) -> Row:
    stored = stored_chain(scene)
    ours, theirs = _Place(scene, scene.memory, "ours"), _Place(scene, scene.memory, "theirs")

    def our_command() -> list[str]:
        path = ours.renew()
        path.mkdir(mode=0o700)
        return walstream("-q", "restore", str(stored), "latest", str(path))

    def their_command() -> list[str]:
        path = theirs.renew()
        path.mkdir()
        return ["sh", "-c", combining(scene, stored, path)]

    def check(place: _Place, below: str) -> Callable[[], str | None]:
        def look() -> str | None:
            there = (place.path / below / "global" / "pg_control").exists()
            return None if there else "there is no pg_control"

        return look

    return Row(
        "restore-chain",
        f"restore, a chain of {INCREMENTS + 1}",
        "zstd -dc | tar -x, pg_combinebackup",
        IN_MEMORY,
        1.5,
        scene.cluster_bytes(),
        Side("walstream restore", our_command, check(ours, "."), ours.clear),
        Side("pg_combinebackup", their_command, check(theirs, "combined"), theirs.clear),
    )


def _get_wal(scene: Scene) -> Row:
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
    )


def _wal_restore(scene: Scene) -> Row:
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


def _replay(replay: Replay, scene: Scene) -> Row:
    ours, theirs = _Place(scene, scene.memory, "ours"), _Place(scene, scene.memory, "theirs")
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


def _commits(commits: Commits, clients: int) -> Row:
    return Row(
        f"commits-{clients}",
        f"commits, {clients} client{'s' if clients > 1 else ''}",
        "pg_receivewal --synchronous",
        ON_DISK,
        1.0,
        0,
        Standby(commits, OURS, clients),
        Standby(commits, THEIRS, clients),
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
