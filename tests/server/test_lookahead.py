"""Recoveries that fetch ahead, on real servers: what they take from the lookahead, and what trouble does to them.

One story for each version: the origin writes timeline 1; a successor, restored to a moment in the middle, goes its
own way on timeline 2. A recovery is stopped where a test wants it by a gate in front of its restore_command.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.clusters import Cluster, fingerprint, pg_tool, short_directory
from support.protection import ROOT, Protection, decompressed, wait_until

from backup import lookahead
from catalog.errors import ServerError
from catalog.lsn import LSN, SegmentSize
from catalog.timeline import History
from catalog.timeline import Path as Timelines
from catalog.walname import Segment
from walstream.ops import postmaster

pytestmark = pytest.mark.timeout(300)

QUIET = {"autovacuum": "off", "bgwriter_delay": "10s", "checkpoint_timeout": "1h"}
MB = SegmentSize(1 << 20)
AHEAD = 8


@dataclass
class Story:
    """The repository of two timelines: ``fork`` is where the second begins, ``content`` what each ends with."""

    version: int
    place: Path
    protection: Protection
    fork: LSN = field(default_factory=lambda: LSN(0))
    before: dict[str, tuple[int, str]] = field(default_factory=dict)
    content: dict[int, dict[str, tuple[int, str]]] = field(default_factory=dict)

    @property
    def repository(self):
        return self.protection.home()

    def stored(self, name):
        """The file of a segment."""
        return self.protection.stored()[name]

    @property
    def path(self):
        """The timelines that lead to the second."""
        return Timelines.of(History.parse(2, self.stored("00000002.history").read_bytes()))


@pytest.fixture(scope="module")
def stories():
    told = {}
    with short_directory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", ROOT)
        yield told, Path(directory)


@pytest.fixture
def story(stories, pg_version):
    told, directory = stories
    if pg_version not in told:
        told[pg_version] = tell(pg_version, directory / f"pg{pg_version}")
    return told[pg_version]


def tell(version, place):
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
    """A restored cluster whose requests for WAL can be held up at a segment."""

    def __init__(self, story, *words):
        self.story = story
        self.cluster = Cluster(story.version, str(story.place / f"restored-{os.urandom(4).hex()}"), QUIET)
        self.data = Path(self.cluster.directory)
        self.plan = story.protection.restore(
            self.data, "auto", str(self.data), *words, server=str(story.repository)
        )
        self.command = self.plan["settings"]["restore_command"]
        self.asked = self.data.with_name(f"{self.data.name}.asked")
        self._gate = self.data.with_name(f"{self.data.name}.gate")

    def start(self, gate=None, patience=600):
        """Start it; the request for ``gate`` waits until ``open_gate``, and the commands wait for ``patience``."""
        command = self.command.replace("wal-restore", f"wal-restore --wait {patience}")
        if gate is not None:
            self._gate.touch()
            held = f"while [ -e {self._gate} ]; do sleep 0.02; done"
            command = f"case %f in {gate}) touch {self.asked}; {held};; esac; {command}"
        self.cluster.settings["restore_command"] = command
        self.cluster.start(wait=False)
        if gate is not None:
            wait_until(lambda: self.asked.exists() or self.cluster.pid is None)

    def open_gate(self):
        self._gate.unlink()

    @property
    def directory(self):
        return self.data / lookahead.DIRECTORY

    def waiting(self):
        """The whole segments in the lookahead."""
        with contextlib.suppress(FileNotFoundError):
            return sorted(name for name in os.listdir(self.directory) if len(name) == 24)
        return []

    def prefetcher(self):
        """The process id of the prefetcher that holds the lock, or did."""
        with contextlib.suppress(FileNotFoundError):
            text = (self.directory / lookahead.LOCK).read_text()
            return int(text) if text.endswith("\n") else None
        return None

    def has_left_nothing(self):
        return not self.directory.exists() and not processes_in(self.data)


def processes_in(directory):
    """The processes of ours, PostgreSQL's aside, whose working directory this is."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            program = os.path.basename((path / "cmdline").read_bytes().split(b"\0")[0])
            if os.readlink(path / "cwd") == str(directory) and program.startswith(b"python"):
                found.append(int(path.name))
    return [pid for pid in found if not postmaster.is_gone(pid)]


def is_ready(cluster):
    """Whether a server takes connections."""
    return postmaster.status(cluster.directory, cluster.pid) == "ready"


@pytest.fixture
def recovery(story):
    """``recovery(*words)``: restored, not yet started; stopped at the end, when nothing of it may be left."""
    made = []

    def make(*words):
        made.append(Recovery(story, *words))
        return made[-1]

    yield make
    for each in made:
        each.cluster.close()
    for each in made:
        wait_until(lambda each=each: each.has_left_nothing())


@contextlib.contextmanager
def unmounted(story):
    """The repository is not there."""
    away = story.repository.with_name("unmounted")
    story.repository.rename(away)
    try:
        yield
    finally:
        away.rename(story.repository)


@contextlib.contextmanager
def replaced(path, content):
    """A file has other content, or is missing."""
    kept = path.read_bytes()
    path.unlink()
    try:
        if content is not None:
            path.write_bytes(content)
        yield
    finally:
        path.write_bytes(kept)


def end_of(cluster, how):
    """Shut a server down, or kill it with all its processes."""
    if how == "killed":
        cluster.kill()
    else:
        cluster.stop(how)


def names(timeline, *numbers):
    return [Segment(timeline, number).name(MB) for number in numbers]


def middle(story):
    """A segment of timeline 1 in the middle between the backup and the fork."""
    return MB.number_at(story.fork) // 2 + 1


def following(number):
    return names(1, *range(number, number + AHEAD))


def test_at_most_so_many_segments_are_decoded_ahead_and_in_the_end_nothing_is_left(story, recovery):
    ours = recovery("--target-tli", "1")
    number = middle(story)
    ours.start(gate=following(number)[0])
    wait_until(lambda: ours.waiting() == following(number))
    pid = ours.prefetcher()
    for name in following(number):
        assert (ours.directory / name).read_bytes() == decompressed(story.stored(name))
    assert sorted(os.listdir(ours.directory)) == [*following(number), lookahead.LOCK]
    ours.open_gate()
    assert ours.cluster.wait_for_recovery() == "ended"
    assert fingerprint(ours.cluster) == story.content[1]
    wait_until(ours.has_left_nothing)
    assert postmaster.is_gone(pid)


def test_a_repository_that_is_gone_for_a_while_is_lived_on_the_lookahead_and_then_waited_for(story, recovery):
    ours = recovery("--target-tli", "1")
    number = middle(story)
    ours.start(gate=following(number)[0])
    wait_until(lambda: ours.waiting() == following(number))
    with unmounted(story):
        ours.open_gate()
        wait_until(lambda: "trying again" in ours.cluster.log_text())
        restored = [line for line in ours.cluster.log_text().splitlines() if "restored log file" in line]
        assert all(any(name in line for line in restored) for name in following(number))
        wait_until(lambda: ours.prefetcher() is None)
    assert ours.cluster.wait_for_recovery() == "ended"
    assert fingerprint(ours.cluster) == story.content[1]


def hole(story):
    return replaced(story.stored(following(middle(story))[2]), None)


def damage(story):
    return replaced(story.stored(following(middle(story))[2]), b"spoilt")


@pytest.mark.parametrize(
    ("trouble", "said"),
    [(hole, "the recovery needs it"), (damage, "damaged"), (unmounted, "holds no repository")],
)
def test_trouble_in_front_of_the_end_stops_the_recovery_which_goes_on_when_it_is_over(
    story, recovery, trouble, said
):
    ours = recovery("--target-tli", "1")
    with trouble(story):
        ours.start(patience=1)
        with pytest.raises(ServerError):
            ours.cluster.wait_for_recovery()
        assert said in ours.cluster.log_text() and "FATAL" in ours.cluster.log_text()
        ours.cluster.close()
        wait_until(ours.has_left_nothing)
    ours.start()
    assert ours.cluster.wait_for_recovery() == "ended"
    assert fingerprint(ours.cluster) == story.content[1]


def test_a_walstream_that_cannot_start_stops_the_recovery_too(story, recovery):
    ours = recovery("--target-tli", "1")
    right = ours.command
    ours.command = right.replace("-m walstream", "-m walstream_is_gone")
    ours.start()
    with pytest.raises(ServerError):
        ours.cluster.wait_for_recovery()
    ours.cluster.close()
    ours.command = right
    ours.start()
    assert ours.cluster.wait_for_recovery() == "ended"
    assert fingerprint(ours.cluster) == story.content[1]


@pytest.mark.parametrize("end", ["fast", "immediate", "killed"])
def test_a_server_that_ends_while_a_command_waits_ends_that_too(story, recovery, end):
    ours = recovery("--target-tli", "1")
    with hole(story):
        ours.start()
        wait_until(lambda: "trying again" in ours.cluster.log_text())
        end_of(ours.cluster, end)
        wait_until(ours.has_left_nothing)
        assert not (ours.data / "pg_wal" / "RECOVERYXLOG").exists()
    ours.start()
    assert ours.cluster.wait_for_recovery() == "ended"
    assert fingerprint(ours.cluster) == story.content[1]


@pytest.mark.parametrize("spoilt", [b"spoilt", None], ids=["damaged", "missing"])
def test_what_lies_behind_a_target_that_is_reached_does_not_matter(story, recovery, spoilt):
    ours = recovery("--target-lsn", str(story.fork), "--target-tli", "1")
    last = Segment.parse(ours.plan["last_needed_wal"], MB)
    assert last == Segment.at(1, story.fork, MB)
    with contextlib.ExitStack() as stack:
        for name in names(1, last.number + 1, last.number + 2):
            stack.enter_context(replaced(story.stored(name), spoilt))
        ours.start()
        assert ours.cluster.wait_for_recovery() == "paused"
        assert fingerprint(ours.cluster) == story.before
        assert not ours.waiting()
        ours.cluster.sql("SELECT pg_wal_replay_resume()")
        wait_until(lambda: not ours.cluster.one("SELECT pg_is_in_recovery()"))


def test_at_the_switch_the_lookahead_goes_on_with_the_next_timeline(story, recovery):
    ours = recovery("--target-tli", "2")
    switch = MB.number_at(story.path.legs[0].end)
    ours.start(gate=names(1, switch - 3)[0])
    expected = [*names(1, switch - 3, switch - 2, switch - 1), *names(2, *range(switch, switch + 5))]
    wait_until(lambda: ours.waiting() == expected)
    ours.open_gate()
    assert ours.cluster.wait_for_recovery() == "ended"
    assert fingerprint(ours.cluster) == story.content[2]


@pytest.mark.parametrize("timeline", [1, 2])
def test_each_branch_gets_its_own_segments(story, recovery, timeline):
    ours = recovery("--target-tli", str(timeline))
    ours.start()
    assert ours.cluster.wait_for_recovery() == "ended"
    assert fingerprint(ours.cluster) == story.content[timeline]


def test_a_prefetcher_that_is_killed_is_replaced_and_what_it_left_is_removed(story, recovery):
    ours = recovery("--target-tli", "1")
    number = middle(story)
    ours.start(gate=following(number)[0])
    wait_until(lambda: ours.waiting() == following(number))
    killed = ours.prefetcher()
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: postmaster.is_gone(killed))
    # What it was in the middle of.
    (ours.directory / f"{following(number + AHEAD)[0]}.walstream-tmp.1-00").write_bytes(b"half")
    ours.open_gate()
    assert ours.cluster.wait_for_recovery() == "ended"
    assert fingerprint(ours.cluster) == story.content[1]
    wait_until(ours.has_left_nothing)


def test_a_prefetcher_that_is_killed_last_leaves_nothing_to_the_new_timeline(story, recovery):
    ours = recovery("--target-lsn", str(story.fork), "--target-tli", "1", "--target-action", "promote")
    last = MB.number_at(story.fork)
    ours.start(gate=names(1, last - 2)[0])
    wait_until(lambda: ours.waiting() == names(1, last - 2, last - 1, last))
    os.kill(ours.prefetcher(), signal.SIGKILL)
    ours.open_gate()
    assert ours.cluster.wait_for_recovery() == "ended"
    assert fingerprint(ours.cluster) == story.before
    wait_until(ours.has_left_nothing)


@pytest.mark.parametrize("end", ["fast", "immediate", "killed"])
def test_the_prefetcher_ends_with_its_server_and_the_next_start_goes_on(story, recovery, end):
    ours = recovery("--target-tli", "1")
    number = middle(story)
    ours.start(gate=following(number)[0])
    wait_until(lambda: ours.waiting() == following(number))
    end_of(ours.cluster, end)
    wait_until(ours.has_left_nothing)
    ours.open_gate()
    ours.start()
    assert ours.cluster.wait_for_recovery() == "ended"
    assert fingerprint(ours.cluster) == story.content[1]


def test_a_data_directory_that_is_removed_takes_the_prefetcher_with_it(story, recovery):
    ours = recovery("--target-tli", "1")
    number = middle(story)
    ours.start(gate=following(number)[0])
    wait_until(lambda: ours.waiting() == following(number))
    pid = ours.prefetcher()
    removed = ours.data.rename(ours.data.with_name("removed"))
    shutil.rmtree(removed, ignore_errors=True)  # the server that still runs may write
    wait_until(lambda: postmaster.is_gone(pid))


def test_a_standby_outlives_all_trouble_and_goes_on_when_it_is_over(story, recovery):
    ours = recovery("--standby-mode", "--target-tli", "1")
    number = middle(story)
    ours.cluster.settings["wal_retrieve_retry_interval"] = "50ms"
    with replaced(story.stored(following(number + AHEAD)[0]), b"spoilt"):
        ours.start(gate=following(number)[0])
        wait_until(lambda: ours.waiting() == following(number))
        with unmounted(story):
            ours.open_gate()
            wait_until(lambda: ours.cluster.log_text().count("holds no repository") > 3)
            assert ours.cluster.one("SELECT pg_is_in_recovery()")
        wait_until(lambda: ours.cluster.log_text().count("damaged") > 3)
        assert ours.cluster.one("SELECT pg_is_in_recovery()")
        wait_until(lambda: not ours.directory.exists())
    wait_until(lambda: fingerprint(ours.cluster) == story.content[1])
    wait_until(lambda: not ours.directory.exists())
    assert ours.cluster.one("SELECT pg_promote()")
    wait_until(ours.has_left_nothing)


def test_a_paused_standby_finds_its_segments_later_and_its_promotion_ends_the_prefetcher(story, recovery):
    ours = recovery("--standby-mode", "--target-tli", "1")
    number = middle(story)
    ours.start(gate=following(number)[0])
    wait_until(lambda: is_ready(ours.cluster))
    ours.cluster.sql("SELECT pg_wal_replay_pause()")
    ours.open_gate()
    wait_until(lambda: ours.waiting() == following(number + 1))
    pid = ours.prefetcher()
    assert ours.cluster.one("SELECT pg_promote(false)")
    wait_until(lambda: not ours.cluster.one("SELECT pg_is_in_recovery()"))
    assert fingerprint(ours.cluster) == story.content[1]
    wait_until(ours.has_left_nothing)
    assert postmaster.is_gone(pid)


def test_neither_a_base_backup_nor_a_restartpoint_minds_the_lookahead(story, recovery, tmp_path):
    ours = recovery("--standby-mode", "--target-tli", "1")
    number = middle(story)
    ours.start(gate=following(number)[0])
    wait_until(lambda: ours.waiting() == following(number))
    cluster = ours.cluster
    wait_until(lambda: is_ready(cluster))
    cluster.sql("CHECKPOINT")
    listed = {name for (name,) in cluster.sql("SELECT name FROM pg_ls_waldir()")}
    assert listed and not any("lookahead" in name for name in listed)
    tool = pg_tool(story.version, "pg_basebackup")
    if tool is not None:
        words = ["-d", cluster.conninfo(), "-D", tmp_path / "copy", "-Ft", "-X", "none", "-c", "fast"]
        subprocess.run([tool, *words], check=True, capture_output=True)
        with tarfile.open(tmp_path / "copy" / "base.tar") as archive:
            inside = [name for name in archive.getnames() if "pg_wal/" in name]
        assert "pg_wal/archive_status" in [name.removeprefix("./") for name in inside]
        assert not any("lookahead" in name for name in inside)
    assert ours.waiting() == following(number)
    assert "lookahead" not in "".join(
        line for line in cluster.log_text().splitlines() if "restore_command" not in line
    )
