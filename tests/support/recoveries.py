"""Recoveries from a repository of two timelines, held up where a test wants it, and trouble for them.

The origin writes timeline 1; a successor, restored to a moment in the middle, goes its own way on timeline 2.
Both are stopped then, so that their story can be recovered from any number of times.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from support.clusters import Cluster, fingerprint
from support.protection import Protection, wait_until

from backup import lookahead
from catalog.lsn import LSN, SegmentSize
from catalog.timeline import History
from catalog.timeline import Path as Timelines
from catalog.walname import Segment
from walstream.ops import postmaster

QUIET = {"autovacuum": "off", "bgwriter_delay": "10s", "checkpoint_timeout": "1h"}
MB = SegmentSize(1 << 20)
AHEAD = 8

Content = dict[str, tuple[int, str]]


@dataclass
class Story:
    """``fork`` is a moment of timeline 1 (``before`` its content), ``content`` what each timeline ends with."""

    version: int
    place: Path
    protection: Protection
    fork: LSN = field(default_factory=lambda: LSN(0))
    before: Content = field(default_factory=dict)
    content: dict[int, Content] = field(default_factory=dict)

    @property
    def repository(self) -> Path:
        return self.protection.home()

    def stored(self, name: str) -> Path:
        """The file of a segment or history."""
        return self.protection.stored()[name]

    @property
    def path(self) -> Timelines:
        """The timelines that lead to the second."""
        return Timelines.of(History.parse(2, self.stored("00000002.history").read_bytes()))


def tell(version: int, place: Path) -> Story:
    """Make the story of one version below a new directory."""
    place.mkdir()
    origin = Cluster(version, str(place / "origin"), QUIET)
    successor = Cluster(version, str(place / "successor"), QUIET)
    origin.init(segment_megabytes=1)
    origin.start()
    story = Story(version, place, Protection(str(place), origin))
    ours = story.protection
    with contextlib.closing(origin), contextlib.closing(successor):
        with ours.receiving():
            ours.backup()
            origin.load(rows=100_000)
            story.fork = LSN.parse(origin.one("SELECT pg_current_wal_insert_lsn()::text"))
            story.before = fingerprint(origin)
            origin.load(rows=100_000)
            story.content[1] = fingerprint(origin)
            origin.switch_wal()
            ours.catch_up()
            origin.stop()
        words = ("--target-lsn", str(story.fork), "--target-action", "promote")
        ours.restore(Path(successor.directory), "auto", successor.directory, *words)
        successor.socket_directory = origin.socket_directory
        successor.start()
        assert successor.wait_for_recovery() == "ended"
        ours.cluster = successor
        with ours.receiving():
            successor.load(rows=100_000, table="other")
            story.content[2] = fingerprint(successor)
            successor.switch_wal()
            ours.catch_up()
            successor.stop()
    assert len([name for name in ours.stored() if len(name) == 24]) > 50
    return story


class Recovery:
    """A restored cluster whose requests for certain segments wait at a gate."""

    def __init__(self, story: Story, *words: str) -> None:
        self.story = story
        self.cluster = Cluster(story.version, str(story.place / f"restored-{os.urandom(4).hex()}"), QUIET)
        self.data = Path(self.cluster.directory)
        self.plan = story.protection.restore(
            self.data, "auto", str(self.data), *words, server=str(story.repository)
        )
        self.command: str = self.plan["settings"]["restore_command"]
        self._gates = self.data.with_name(f"{self.data.name}.gates")
        self._gates.mkdir()

    def start(self, *gates: str, patience: int = 600) -> None:
        """Start it; requests for ``gates`` wait until they are opened, and commands ``patience`` seconds.

        It has come to the first gate on return.
        """
        for name in gates:
            (self._gates / name).touch()
        gate = f"{shlex.quote(str(self._gates))}/%f"
        held = f"while [ -e {gate} ]; do touch {gate}.asked; sleep 0.02; done"
        self.cluster.settings["restore_command"] = f"{held}; {self.patient(patience)}"
        self.cluster.start(wait=False)
        if gates:
            self.wait_at(gates[0])

    def patient(self, seconds: int) -> str:
        """The command with other patience in trouble."""
        return self.command.replace("wal-restore", f"wal-restore --wait {seconds}")

    def wait_at(self, gate: str) -> None:
        """Wait until the segment of a gate is asked for."""
        wait_until(lambda: self.is_at(gate) or self.cluster.pid is None, timeout=120)
        assert self.cluster.pid is not None, self.cluster.log_text()

    def is_at(self, gate: str) -> bool:
        """Whether the segment of a gate has been asked for."""
        return (self._gates / f"{gate}.asked").exists()

    def open(self) -> None:
        """Open the gate that it has come to."""
        (gate,) = [path for path in self._gates.iterdir() if path.with_name(f"{path.name}.asked").exists()]
        gate.unlink()

    @property
    def directory(self) -> Path:
        return self.data / lookahead.DIRECTORY

    def waiting(self) -> list[str]:
        """The whole segments in the lookahead."""
        with contextlib.suppress(FileNotFoundError):
            return sorted(name for name in os.listdir(self.directory) if len(name) == 24)
        return []

    def prefetcher(self) -> int | None:
        """The process id of the prefetcher that holds the lock, or did."""
        with contextlib.suppress(FileNotFoundError):
            text = (self.directory / lookahead.LOCK).read_text()
            return int(text) if text.endswith("\n") else None
        return None

    def has_left_nothing(self) -> bool:
        """Whether nothing of ours is in the data directory, neither files nor processes."""
        return not self.directory.exists() and not processes_in(self.data)


def processes_in(directory: Path) -> list[int]:
    """The processes of ours, PostgreSQL's aside, whose working directory this is."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            program = os.path.basename((path / "cmdline").read_bytes().split(b"\0")[0])
            if os.readlink(path / "cwd") == str(directory) and program.startswith(b"python"):
                found.append(int(path.name))
    return [pid for pid in found if not postmaster.is_gone(pid)]


def end_of(cluster: Cluster, how: str) -> None:
    """Shut a server down, or kill it with all its processes."""
    if how == "killed":
        cluster.kill()
    else:
        cluster.stop("fast" if how == "fast" else "immediate")


@contextlib.contextmanager
def unmounted(story: Story) -> Iterator[None]:
    """The repository is not there."""
    away = story.repository.with_name("unmounted")
    story.repository.rename(away)
    try:
        yield
    finally:
        away.rename(story.repository)


@contextlib.contextmanager
def replaced(path: Path, content: bytes | None) -> Iterator[None]:
    """A file has other content, or is missing."""
    kept = path.read_bytes()
    path.unlink()
    try:
        if content is not None:
            path.write_bytes(content)
        yield
    finally:
        path.write_bytes(kept)


def names(timeline: int, *numbers: int) -> list[str]:
    """The names of segments."""
    return [Segment(timeline, number).name(MB) for number in numbers]


def middle(story: Story) -> int:
    """The number of a segment in the middle between the backup and the fork."""
    return MB.number_at(story.fork) // 2 + 1


def following(number: int) -> list[str]:
    """The names of as many segments of timeline 1 as are decoded ahead, from ``number`` on."""
    return names(1, *range(number, number + AHEAD))
