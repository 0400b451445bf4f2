"""The rows without a goal: what the server sends to nowhere, what sums, codecs and the disk do by themselves.

Each is measured beside the rows that it bounds, in the same rounds, so that a row can state how much of it
is reached.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.commits import FLOOR, Commits, Standby
from benchmarks.measure import Probe, Side
from benchmarks.row import SEGMENT, Limit
from benchmarks.scene import Scene
from catalog.lsn import SegmentSize
from catalog.walname import Segment

PROBES = (sys.executable, "-m", "benchmarks.probes")
SIZE = SegmentSize(SEGMENT)


def wal_to_nowhere(scene: Scene) -> Limit:
    """The server's one walsender, and a connection that takes what it sends."""
    argv = [*PROBES, "wal", scene.conninfo, str(scene.begin), str(scene.end)]
    return Limit("wal-nowhere", "WAL received to nowhere", scene.wal_bytes, Probe(argv, scene.wal_bytes))


def wal_written(scene: Scene) -> Limit:
    """The disk: as many bytes as the server sends, into files as long as segments that are synced one by one."""
    what = "as much as the WAL, written and synced"
    return Limit("disk-wal", what, scene.wal_bytes, _written(scene, scene.wal_bytes, SEGMENT))


def cluster_written(scene: Scene) -> Limit:
    """The disk: as many bytes as the cluster has, into one file that is synced at its end."""
    nbytes = scene.cluster_bytes()
    what = "as much as the cluster, written and synced"
    return Limit("disk-cluster", what, nbytes, _written(scene, nbytes, nbytes))


def wal_compressed(scene: Scene, codec: str) -> Limit:
    """The codec over the same WAL, on one core; a receiver has the others for the rest of its work."""
    directory = Path(scene.server.directory) / "pg_wal"
    numbers = range(SIZE.number_at(scene.begin), SIZE.number_at(scene.end) + 1)
    paths = [directory / Segment(1, number).name(SIZE) for number in numbers]
    nbytes = scene.wal_bytes
    return Limit(f"wal-{codec}", f"{codec} over the same WAL, one core", nbytes, _codec(codec, paths, nbytes))


def backup_to_nowhere(scene: Scene) -> Limit:
    """The server's one walsender, which also sums up each file for the manifest."""
    nbytes, program = scene.cluster_bytes(), scene.bin / "pg_basebackup"
    options = "-D - -Ft -X none -c fast --no-sync >/dev/null"
    command = ["sh", "-c", f"{program} -d {shlex.quote(scene.conninfo)} {options}"]
    return Limit("backup-nowhere", "base backup to nowhere", nbytes, Side("pg_basebackup", lambda: command))


def hashed(scene: Scene, algorithm: str, name: str) -> Limit:
    """As many bytes as the cluster has, through one checksum, on one core."""
    nbytes = scene.cluster_bytes()
    argv = [*PROBES, "hash", algorithm, str(nbytes)]
    return Limit(algorithm, f"{name} of as many bytes, one core", nbytes, Probe(argv, nbytes))


def cluster_compressed(scene: Scene, codec: str) -> Limit:
    """The codec over the cluster's largest files, on one core."""
    files = [path for path in (Path(scene.server.directory) / "base").rglob("*") if path.is_file()]
    files.sort(key=lambda path: path.stat().st_size, reverse=True)
    nbytes = scene.cluster_bytes()
    what = f"{codec} over the same cluster, one core"
    return Limit(f"cluster-{codec}", what, nbytes, _codec(codec, files[:100], nbytes))


def decompressed(scene: Scene, archive: Path) -> Limit:
    """What whoever restores must do first, in C."""
    command = ["sh", "-c", f"zstd -dc {shlex.quote(str(archive))} >/dev/null"]
    return Limit("unzstd", "zstd -dc to nowhere", scene.cluster_bytes(), Side("zstd", lambda: command))


def segment_decompressed(archived: Path, target: Path) -> Limit:
    """What a cold ``get-wal`` must do at least: an interpreter, the codec's library, one segment in, one out."""
    library = "compression" if sys.version_info >= (3, 14) else "backports"
    code = (
        f"from {library} import zstd\n"
        f"source, target = zstd.open({str(archived)!r}), open({str(target)!r}, 'wb', 0)\n"
        "while piece := source.read(1 << 18): target.write(piece)"
    )
    argv = [sys.executable, "-c", code]
    return Limit(
        "script",
        "a segment decompressed by a script",
        SEGMENT,
        Side("python", lambda: argv, clear=lambda: target.unlink(missing_ok=True)),
    )


def floor(commits: Commits, clients: int) -> Limit:
    """The calls that every receiver in Python makes (``benchmarks.floor``)."""
    who = f"{clients} client{'s' if clients > 1 else ''}"
    return Limit(
        f"floor-{clients}", f"commits, {who}: the floor of Python", 0, Standby(commits, FLOOR, clients)
    )


def _written(scene: Scene, nbytes: int, length: int) -> Probe:
    place = scene.fresh(scene.disk, "written")
    place.mkdir()

    def clear() -> None:
        for path in place.iterdir():
            path.unlink()

    return Probe([*PROBES, "write", str(place), str(nbytes), str(length)], nbytes, clear)


def _codec(name: str, paths: Sequence[Path], nbytes: int) -> Probe:
    return Probe([*PROBES, "compress", name, *map(str, paths)], nbytes)
