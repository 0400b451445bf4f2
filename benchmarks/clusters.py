"""Does a large cluster, or one of very many files, need more memory than a small one?

    python -m benchmarks.clusters --size 20 --files 100000

Three clusters, one after the other: as initdb makes it, with ``--size`` GB in files of 1 GB as tables have them,
and with ``--files`` files of one page. Each is backed up, verified, and restored; see benchmarks/README.md. What
is added belongs to no table: the server sends it all the same, and a restore lays it down. Half of each page is
noise.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.measure import Failed, Run, run_program
from benchmarks.programs import configured
from benchmarks.tables import table
from catalog.errors import WalstreamError
from walstream.ops import unprivileged
from walstream.ops.throwaway import ThrowawayServer, find_binaries

GIGABYTE = 10**9
HEADINGS = ("cluster", "files", "GB", "work", "seconds", "MB/s", "CPU s", "peak MiB")
BELOW = "base/1"  # where every cluster has a database
FIRST = 9_000_000  # a number that initdb gives to no file
PAGE = 8192
PAGES = 128  # written at once
TABLE_FILE = 1 << 30
# What was counted must not change while it is backed up.
SETTINGS = {"max_wal_size": "1GB", "autovacuum": "off"}


@dataclass(frozen=True, slots=True)
class Kind:
    """A cluster: what is added to a directory of what initdb made, and how many bytes that will be."""

    what: str
    nbytes: int
    add: Callable[[Path], None]


def main() -> int:
    options = _parser().parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    place = Path(tempfile.mkdtemp(prefix="walstream-clusters-", dir=options.directory))
    try:
        nbytes = round(options.size * GIGABYTE)
        kinds = [
            Kind("small", 0, lambda directory: None),
            Kind(f"{options.size:g} GB", nbytes, partial(_add_large, nbytes)),
            Kind(f"{options.files} files", options.files * PAGE, partial(_add_many, options.files)),
        ]
        most = max(kind.nbytes for kind in kinds)
        if shutil.disk_usage(place).free < most * 2 + GIGABYTE:
            raise Failed(f"{place} lacks room: {(most * 2 + GIGABYTE) / GIGABYTE:.1f} GB, see --directory")
        place.chmod(0o711)
        unprivileged.way().give(str(place))
        print(table(HEADINGS, [line for kind in kinds for line in _measure(kind, place, options)]))
        return 0
    except (Failed, WalstreamError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.clusters", description=__doc__)
    parser.add_argument("--size", type=float, default=1.0, help="GB of the large one (default: 1)")
    parser.add_argument("--files", type=int, default=10_000, help="of the one with many (default: 10000)")
    parser.add_argument("--codec", default="zstd", help="of the backups: none, gzip, lz4, zstd (default)")
    parser.add_argument("--pg", type=int, default=17, help="version of the server (default: 17)")
    parser.add_argument(
        "--directory", type=Path, default=Path(tempfile.gettempdir()),
        help="where it is made: needs room for twice the size",
    )  # fmt: skip
    return parser


def _measure(kind: Kind, place: Path, options: argparse.Namespace) -> Iterator[tuple[str, ...]]:
    """Lines of the table; the cluster goes as soon as it is backed up, and all of it at the end."""
    _say(f"{kind.what}: making it")
    data, home, restored = place / "pg", place / "ours", place / "restored"
    with ThrowawayServer(find_binaries(options.pg), str(data), SETTINGS) as server:
        server.init(checksums=False)  # pages of noise have none that are right
        kind.add(data / BELOW)
        nfiles, nbytes = _content(data)
        server.start()
        words = configured(server.conninfo(), home, "clusters", options.codec)
        _say(f"{kind.what}: backup")
        runs = {"backup": run_program([*words, "backup", "main", "--immediate-checkpoint"])}
    shutil.rmtree(data)
    _say(f"{kind.what}: verify-backup")
    runs["verify-backup"] = run_program([*words, "verify-backup", "main", "latest"])
    restored.mkdir(mode=0o700)
    _say(f"{kind.what}: restore")
    runs["restore"] = run_program([*words, "restore", "main", "latest", str(restored)])
    again = _content(restored)[1]
    if again != nbytes:
        raise Failed(f"{again} bytes below {BELOW} were restored instead of {nbytes}")
    _say("")
    for path in (home, restored):
        shutil.rmtree(path)
    for work, run in runs.items():
        yield kind.what, str(nfiles), f"{nbytes / GIGABYTE:.2f}", work, *_figures(run, nbytes)


def _figures(run: Run, nbytes: int) -> tuple[str, ...]:
    speed = f"{nbytes / run.seconds / 1e6:.0f}"
    return f"{run.seconds:.1f}", speed, f"{run.cpu:.1f}", f"{run.rss / 2**20:.0f}"


def _content(data: Path) -> tuple[int, int]:
    """How many files there are where files were added, and their bytes."""
    sizes = [path.stat().st_size for path in (data / BELOW).iterdir()]
    return len(sizes), sum(sizes)


def _add_large(nbytes: int, directory: Path) -> None:
    pieces = _noise()
    for number, at in enumerate(range(0, nbytes, TABLE_FILE)):
        name = f"{FIRST}.{number}" if number else f"{FIRST}"
        left = min(TABLE_FILE, nbytes - at) // PAGE * PAGE
        with open(directory / name, "wb", buffering=0) as file:
            while left:
                piece = next(pieces)[:left]
                file.write(piece)
                left -= len(piece)


def _add_many(nfiles: int, directory: Path) -> None:
    pages = (piece[at : at + PAGE] for piece in _noise() for at in range(0, len(piece), PAGE))
    for number in range(nfiles):
        (directory / str(FIRST + number)).write_bytes(next(pages))


def _noise() -> Iterator[memoryview]:
    """Pages of which one half is noise and the other zeros, without end; the same in every run."""
    source, half = random.Random(1), PAGE // 2
    zeros = bytes(half)
    while True:
        noise = source.randbytes(PAGES * half)
        halves = (noise[at : at + half] for at in range(0, len(noise), half))
        yield memoryview(b"".join(part for each in halves for part in (each, zeros)))


def _say(text: str) -> None:
    now = time.strftime("%H:%M:%S ") if text else ""
    print(f"\r{now + text:60}\r", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
