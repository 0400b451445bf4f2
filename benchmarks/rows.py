"""The rows of the table: what is compared with what, and how each side is set up."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from benchmarks import limits
from benchmarks.commits import CLIENTS, OURS, THEIRS, Commits, Standby
from benchmarks.measure import Side
from benchmarks.programs import configured
from benchmarks.replay import Replay
from benchmarks.row import IN_MEMORY, ON_DISK, SEGMENT, Place, Row
from benchmarks.rows_back import get_wal_row, replay_row, restore_chain_row, restore_row, wal_restore_row
from benchmarks.scene import Scene

FIRST_WITH_CHAINS = 17


def all_rows(scene: Scene, seconds: int, segments: int) -> dict[str, Callable[[], Row]]:
    """Every row there is, by its key and in the order of the table; what it needs is made when it is called.

    ``seconds`` for each run under a load, ``segments`` to be replayed by each recovery.
    """
    commits = Commits(scene, seconds)
    rows: dict[str, Callable[[], Row]] = {
        "receive-plain": lambda: _receive(scene, "receive-plain", "none", [], 1.0),
        "receive-plain-sync": lambda: _receive(scene, "receive-plain-sync", "none", [], 1.0, disk=True),
        "receive-zstd": lambda: _receive(scene, "receive-zstd", "zstd", ["--compress=lz4"], 1.2),
        "receive-lz4": lambda: _receive(scene, "receive-lz4", "lz4", ["--compress=lz4"], 1.2),
        "receive-gzip": lambda: _receive(scene, "receive-gzip", "gzip", ["--compress=gzip:1"], 3.0),
        "backup-plain": lambda: _backup(scene, "backup-plain", "none", [], 1.0),
        "backup-plain-sync": lambda: _backup(scene, "backup-plain-sync", "none", [], 1.0, disk=True),
        "backup-zstd": lambda: _backup(scene, "backup-zstd", "zstd", ["--compress=client-zstd:1"], 1.2),
        "backup-zstd-sync": lambda: _backup(
            scene, "backup-zstd-sync", "zstd", ["--compress=client-zstd:1"], 1.2, disk=True
        ),
        "restore-zstd": lambda: restore_row(scene),
        "restore-chain": lambda: restore_chain_row(scene),
        "get-wal": lambda: get_wal_row(scene),
        "wal-restore": lambda: wal_restore_row(scene),
        "replay": lambda: replay_row(Replay(scene, segments), scene),
        **{f"commits-{clients}": partial(_commits, commits, clients) for clients in CLIENTS},
    }
    if scene.version < FIRST_WITH_CHAINS:
        del rows["restore-chain"]
    return rows


def _receive(scene: Scene, key: str, codec: str, options: list[str], goal: float, disk: bool = False) -> Row:
    parent = scene.disk if disk else scene.memory
    ours, theirs = Place(scene, parent, "ours"), Place(scene, parent, "theirs")
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

    def check(place: Place, pattern: str) -> Callable[[], str | None]:
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
        limits=(
            limits.wal_to_nowhere(scene),
            *([limits.wal_compressed(scene, codec)] if codec != "none" else []),
            *([limits.wal_written(scene)] if disk else []),
        ),
    )


def _backup(scene: Scene, key: str, codec: str, options: list[str], goal: float, disk: bool = False) -> Row:
    parent = scene.disk if disk else scene.memory
    ours, theirs = Place(scene, parent, "ours"), Place(scene, parent, "theirs")
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

    def check(place: Place, pattern: str) -> Callable[[], str | None]:
        return lambda: None if list(place.path.glob(pattern)) else f"there is no {pattern}"

    sums = (limits.hashed(scene, "sha256", "SHA-256"), limits.hashed(scene, "crc32c", "CRC-32C"))
    return Row(
        key,
        f"base backup, {codec if codec != 'none' else 'plain'}",
        " ".join(["pg_basebackup -Ft -X none", *sync, *options]),
        ON_DISK if disk else IN_MEMORY,
        goal,
        scene.cluster_bytes(),
        Side("walstream backup", our_command, check(ours, "main/base/*/record.json"), clear_ours),
        Side("pg_basebackup", their_command, check(theirs, "base.tar*"), theirs.clear),
        limits=(
            limits.backup_to_nowhere(scene),
            *(sums if codec == "none" else (limits.cluster_compressed(scene, codec),)),
            *([limits.cluster_written(scene)] if disk and codec == "none" else []),
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
        limits=(limits.floor(commits, clients),),
    )
