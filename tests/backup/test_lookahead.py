"""The lookahead in a data directory whose server is any process of ours; commands run as PostgreSQL runs them."""

import contextlib
import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path as Directory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.filed_wal import name, new_repository, segment_bytes, store
from support.modules import ROOT
from support.protection import wait_until
from support.values import MB, histories, sizes

from backup import lookahead
from backup.fetch import WalSource
from backup.lookahead import Course, Prefetcher
from backup.recovery_conf import RestoreCall, restore_command
from catalog.errors import StorageError
from catalog.timeline import Path
from catalog.walname import Segment
from walstream.ops import postmaster

AHEAD = 3
LAST = name(20)


class Recovering:
    """A data directory, a process that stands for its server, and a repository with segments 1 to 20."""

    def __init__(self, place):
        self.data = place / "data"
        (self.data / "pg_wal").mkdir(parents=True)
        self.repository = new_repository(place / "it's 100% repository")
        self.server = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        (self.data / "postmaster.pid").write_text(f"{self.server.pid}\n{self.data}\n")
        (self.data / "recovery.signal").touch()
        self.store(*((1, number) for number in range(1, 21)))

    def store(self, *segments, codec="zstd"):
        store(self.repository, {name(n, t): segment_bytes(n, t) for t, n in segments}, codec)

    def stored(self, number, timeline=1):
        """The file of a segment."""
        wanted = name(number, timeline)
        return Directory(self.repository.root, "wals", wanted[:16], f"{wanted}.zst")

    def command(self, wal_name, path="1", until=LAST, count=AHEAD, partial=False):
        """What PostgreSQL hands to the shell to get a WAL file."""
        home = self.repository.root
        call = RestoreCall(sys.executable, home, home, path, until, "none", partial=partial, prefetch=count)
        command = restore_command(call).replace("wal-restore", "wal-restore --wait 0")
        return command.replace("%f", wal_name).replace("%p", "pg_wal/RECOVERYXLOG").replace("%%", "%")

    def ask(self, *words, **options):
        """What the shell's end is when PostgreSQL asks; the file that it got is removed again."""
        command = self.command(*words, **options)
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=self.data,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        self.said = done.stderr
        delivered = self.data / "pg_wal" / "RECOVERYXLOG"
        self.got = delivered.read_bytes() if delivered.exists() else None
        delivered.unlink(missing_ok=True)
        return done.returncode

    @property
    def directory(self):
        return self.data / lookahead.DIRECTORY

    def waiting(self):
        with contextlib.suppress(FileNotFoundError):
            return sorted(each for each in os.listdir(self.directory) if len(each) == 24)
        return []

    def wait_for(self, *numbers, timeline=1):
        wait_until(lambda: self.waiting() == [name(number, timeline) for number in numbers])

    @property
    def pid(self):
        """The prefetcher, as its lock tells."""
        wait_until(lambda: self._signed().endswith("\n"))
        return int(self._signed())

    def _signed(self):
        with contextlib.suppress(FileNotFoundError):
            return (self.directory / lookahead.LOCK).read_text()
        return ""

    def end(self):
        self.server.kill()
        self.server.communicate()


@pytest.fixture
def recovering(tmp_path):
    made = Recovering(tmp_path)
    yield made
    made.end()
    wait_until(lambda: not made.directory.exists())


def test_behind_a_delivered_segment_so_many_wait_and_no_more(recovering):
    assert recovering.ask(name(4)) == 0
    assert recovering.got == segment_bytes(4)
    recovering.wait_for(5, 6, 7)
    assert (recovering.directory / name(5)).read_bytes() == segment_bytes(5)
    assert sorted(os.listdir(recovering.directory)) == [*recovering.waiting(), "lock"]


def test_what_is_taken_is_replaced_by_what_follows(recovering):
    assert recovering.ask(name(4)) == 0
    for number in range(5, 12):
        recovering.wait_for(number, number + 1, number + 2)
        assert recovering.ask(name(number)) == 0
        assert recovering.got == segment_bytes(number)


def test_what_waits_is_delivered_without_python_and_without_the_repository(recovering):
    assert recovering.ask(name(4)) == 0
    recovering.wait_for(5, 6, 7)
    shutil.rmtree(recovering.repository.root)
    for number in (5, 6, 7):
        assert recovering.ask(name(number)) == 0
        assert (recovering.got, recovering.said) == (segment_bytes(number), "")
    assert recovering.ask(name(8)) == 255
    assert "holds no repository" in recovering.said


def test_the_command_itself_takes_what_waits_too(recovering, monkeypatch):
    assert recovering.ask(name(4)) == 0
    recovering.wait_for(5, 6, 7)
    monkeypatch.chdir(recovering.data)
    assert lookahead.take(name(5), "pg_wal/RECOVERYXLOG")
    assert not lookahead.take(name(9), "pg_wal/RECOVERYXLOG")
    assert Directory("pg_wal/RECOVERYXLOG").read_bytes() == segment_bytes(5)


def test_a_recovery_that_begins_again_further_back_is_followed(recovering):
    assert recovering.ask(name(14)) == 0
    recovering.wait_for(15, 16, 17)
    assert recovering.ask(name(4)) == 0
    recovering.wait_for(5, 6, 7)


def test_a_recovery_that_has_passed_the_prefetcher_is_followed(recovering):
    assert recovering.ask(name(4)) == 0
    recovering.wait_for(5, 6, 7)
    assert recovering.ask(name(10)) == 0
    recovering.wait_for(11, 12, 13)


def test_one_that_is_a_little_further_back_keeps_what_is_still_of_use(recovering):
    assert recovering.ask(name(14)) == 0
    recovering.wait_for(15, 16, 17)
    kept = (recovering.directory / name(15)).stat().st_ino
    assert recovering.ask(name(12)) == 0
    recovering.wait_for(13, 14, 15)
    assert (recovering.directory / name(15)).stat().st_ino == kept


def test_nothing_behind_the_plan_is_fetched_and_the_prefetcher_ends_with_it(recovering):
    assert recovering.ask(name(4), until=name(6)) == 0
    recovering.wait_for(5, 6)
    pid = recovering.pid
    assert recovering.ask(name(5), until=name(6)) == 0
    assert recovering.ask(name(6), until=name(6)) == 0
    wait_until(lambda: not recovering.directory.exists())
    wait_until(lambda: postmaster.is_gone(pid))


def test_the_last_segment_of_the_plan_starts_none(recovering):
    assert recovering.ask(name(6), until=name(6)) == 0
    assert not recovering.directory.exists()


def test_at_a_switch_it_goes_on_with_the_timeline_that_postgresql_asks_for(recovering):
    recovering.store((2, 6), (2, 7), (1, 6), (1, 7))
    path = "1@0/640000,2"
    assert recovering.ask(name(4), path=path, until=name(9, 2)) == 0
    wait_until(lambda: recovering.waiting() == [name(5), name(6, 2), name(7, 2)])
    assert recovering.ask(name(6), path=path, until=name(9, 2)) == 1


@given(histories(), sizes, st.integers(0, 1 << 20))
def test_along_a_path_only_the_copies_that_count_are_named(history, size, number):
    path = Path.of(history)
    found = Course(path, None, AHEAD).name(number, 1, size)
    assert path.counts(Segment.parse(found, size), size)


@given(st.integers(0, 100), st.integers(0, 100), sizes)
def test_up_to_the_last_segment_of_the_plan_all_are_named_and_none_behind(number, last, size):
    until = Segment(2, last).name(size)
    course = Course(Path.parse("1@0/1000,2"), until, AHEAD)
    assert (course.name(number, 2, size) is not None) == (number <= last)
    assert course.ends_with(Segment(2, number).name(size)) == (number >= last)


def test_without_a_path_it_follows_the_timeline_that_is_asked_for(recovering):
    recovering.store((2, 5), (2, 6), (2, 7), (2, 8))
    command = ["wal-restore", "--prefetch", str(AHEAD), recovering.repository.root]

    def ask(wal_name):
        words = [sys.executable, "-m", "walstream", *command, wal_name, "pg_wal/RECOVERYXLOG"]
        subprocess.run(words, cwd=recovering.data, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True)

    ask(name(4))
    recovering.wait_for(5, 6, 7)
    ask(name(5, 2))
    recovering.wait_for(6, 7, 8, timeline=2)


def test_a_segment_that_is_only_partial_is_left_to_the_command(recovering):
    spool = Directory(recovering.repository.root, "streaming")
    spool.mkdir()
    recovering.stored(6).unlink()
    (spool / f"{name(6)}.partial").write_bytes(segment_bytes(6))
    assert recovering.ask(name(4), partial=True) == 0
    recovering.wait_for(5)
    assert recovering.ask(name(5), partial=True) == 0
    wait_until(lambda: not recovering.directory.exists())
    assert recovering.ask(name(6), partial=True) == 0
    recovering.wait_for(7, 8, 9)


def test_a_history_starts_none(recovering):
    recovering.repository.storage.put("wals/00000002.history", b"1\t0/640000\tx\n")
    assert recovering.ask("00000002.history", path="1@0/640000,2", until=name(9, 2)) == 0
    assert not recovering.directory.exists()


def test_at_a_damaged_segment_it_stops_and_the_command_says_what_is_wrong(recovering):
    recovering.stored(6).write_bytes(b"spoilt")
    assert recovering.ask(name(4)) == 0
    recovering.wait_for(5)
    assert recovering.ask(name(5)) == 0
    wait_until(lambda: not recovering.directory.exists())
    assert recovering.ask(name(6)) == 255
    assert "damaged" in recovering.said and recovering.got is None


def test_a_segment_of_another_cluster_never_waits(recovering):
    data = bytearray(segment_bytes(6))
    data[24] ^= 1
    recovering.stored(6).unlink()
    recovering.repository.storage.put(f"wals/{name(6)[:16]}/{name(6)}", bytes(data))
    assert recovering.ask(name(4)) == 0
    recovering.wait_for(5)
    assert recovering.ask(name(5)) == 0
    wait_until(lambda: not recovering.directory.exists())


def test_one_prefetcher_serves_all_the_commands(recovering):
    assert recovering.ask(name(4)) == 0
    recovering.wait_for(5, 6, 7)
    pid = recovering.pid
    assert recovering.ask(name(9)) == 0
    recovering.wait_for(10, 11, 12)
    assert recovering.pid == pid
    assert processes_of(recovering) == [pid]


def opened_by(pid):
    found = set()
    for path in Directory(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.add(os.readlink(path))
    return found


def test_it_has_a_session_of_its_own_and_nothing_open_but_its_lock(recovering):
    assert recovering.ask(name(4)) == 0
    recovering.wait_for(5, 6, 7)
    pid = recovering.pid
    wait_until(
        lambda: opened_by(pid) == {os.devnull, str(recovering.directory / "lock")}
    )  # it may be looking
    assert os.getsid(pid) == pid != os.getsid(0)
    assert Directory(f"/proc/{pid}/cwd").readlink() == recovering.data


def test_it_ends_with_its_server_and_leaves_nothing(recovering):
    assert recovering.ask(name(4)) == 0
    recovering.wait_for(5, 6, 7)
    pid = recovering.pid
    recovering.end()
    wait_until(lambda: not recovering.directory.exists())
    wait_until(lambda: postmaster.is_gone(pid))
    assert sorted(os.listdir(recovering.data / "pg_wal")) == []


@pytest.mark.parametrize(
    "over",
    [
        lambda data: (data / "recovery.signal").unlink(),
        lambda data: (data / "postmaster.pid").unlink(),
        lambda data: (data / "postmaster.pid").write_text(f"{os.getpid()}\n"),
        lambda data: (data / "postmaster.pid").write_text("nonsense\n"),
    ],
    ids=["promoted", "shut down", "started anew", "unreadable"],
)
def test_it_ends_when_the_recovery_is_over(recovering, over):
    assert recovering.ask(name(4)) == 0
    recovering.wait_for(5, 6, 7)
    pid = recovering.pid
    over(recovering.data)
    wait_until(lambda: not recovering.directory.exists())
    wait_until(lambda: postmaster.is_gone(pid))


def test_a_standby_keeps_it(recovering):
    (recovering.data / "recovery.signal").rename(recovering.data / "standby.signal")
    assert recovering.ask(name(4)) == 0
    recovering.wait_for(5, 6, 7)


@pytest.mark.parametrize("count, pid", [(0, None), (AHEAD, ""), (AHEAD, "nonsense\n")])
def test_without_a_number_or_a_server_that_can_be_watched_there_is_none(recovering, count, pid):
    if pid is not None:
        (recovering.data / "postmaster.pid").write_text(pid)
    assert recovering.ask(name(4), count=count) == 0
    assert recovering.got == segment_bytes(4)
    assert not recovering.directory.exists()


def test_what_a_killed_one_left_is_removed_by_the_next_command(recovering):
    assert recovering.ask(name(4)) == 0
    recovering.wait_for(5, 6, 7)
    pid = recovering.pid
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: postmaster.is_gone(pid))
    (recovering.directory / f"{name(8)}.walstream-tmp.1-00").write_bytes(b"half")
    (recovering.directory / f"{name(3)}.asked").touch()
    (recovering.data / "recovery.signal").unlink()
    assert recovering.ask("00000009.history") == 1
    assert not recovering.directory.exists()


def test_what_a_killed_one_left_is_still_taken_and_then_a_new_one_starts(recovering):
    assert recovering.ask(name(4)) == 0
    recovering.wait_for(5, 6, 7)
    killed = recovering.pid
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: postmaster.is_gone(killed))
    for number in (5, 6, 7):
        assert (recovering.ask(name(number)), recovering.got) == (0, segment_bytes(number))
    assert (recovering.ask(name(8)), recovering.got) == (0, segment_bytes(8))
    recovering.wait_for(9, 10, 11)
    assert recovering.pid != killed


def test_a_stranger_in_the_directory_is_left_alone(recovering):
    recovering.directory.mkdir()
    stranger = recovering.directory / "notes.txt"
    stranger.write_text("mine")
    assert recovering.ask(name(4), until=name(5)) == 0
    recovering.wait_for(5)
    assert recovering.ask(name(5), until=name(5)) == 0
    wait_until(lambda: os.listdir(recovering.directory) == ["notes.txt"])
    assert stranger.read_text() == "mine"
    shutil.rmtree(recovering.directory)


def test_a_directory_that_cannot_be_made_costs_only_time(recovering):
    recovering.directory.write_text("in the way")
    assert (recovering.ask(name(4)), recovering.got) == (0, segment_bytes(4))
    assert (recovering.ask(name(5)), recovering.got) == (0, segment_bytes(5))
    recovering.directory.unlink()


INHERITS = """
import ctypes, os, subprocess, sys
assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0  # PR_SET_CHILD_SUBREAPER: orphans become our children
subprocess.run(["sh", "-c", sys.argv[1]], check=True)
pid, status = os.wait()
print(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process inherit orphans")
@pytest.mark.parametrize("spoilt", [False, True])
def test_whoever_inherits_it_sees_it_end_with_0(recovering, spoilt):
    if spoilt:
        Directory(recovering.repository.root, "identity.json").write_text("spoilt")
    command = recovering.command(name(4), until=name(5)) + f"; rm {recovering.data}/recovery.signal"
    argv = [sys.executable, "-c", INHERITS, command]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        argv, cwd=recovering.data, env=environment, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.returncode) == ("0\n", 0)


# Inside one process: what only the operating system can bring about.


@pytest.fixture
def prefetching(recovering, monkeypatch):
    """What a prefetcher is given; this process is in the data directory, and has no lock."""
    monkeypatch.chdir(recovering.data)
    recovering.directory.mkdir()
    source = WalSource(recovering.repository.root, recovering.repository.root)
    return source, name(4), Course(Path.parse("1"), LAST, AHEAD), recovering.server.pid


def test_room_that_the_server_may_need_is_left_to_it(recovering, prefetching, monkeypatch):
    class Narrow:
        f_frsize = 4096
        f_bavail = AHEAD * MB.nbytes // 4096 - 1

    real, seen = os.statvfs, []

    def sleep(seconds):
        seen.append(recovering.waiting())
        monkeypatch.setattr(os, "statvfs", real)
        if len(seen) == 2:
            (recovering.data / "recovery.signal").unlink()

    monkeypatch.setattr(os, "statvfs", lambda path: Narrow)
    monkeypatch.setattr(time, "sleep", sleep)
    Prefetcher(*prefetching).run()
    assert seen == [[], [name(5), name(6), name(7)]]
    shutil.rmtree(recovering.directory)


def test_it_sleeps_longer_the_longer_nothing_is_taken_and_gives_up_in_the_end(
    recovering, prefetching, monkeypatch
):
    now, pauses = [100.0], []

    def sleep(seconds):
        assert recovering.waiting() == [name(5), name(6), name(7)]
        pauses.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", sleep)
    Prefetcher(*prefetching).run()
    shutil.rmtree(recovering.directory)
    assert pauses[0] < 0.1 and pauses[-1] == 1.0 and pauses == sorted(pauses)
    assert 600 < sum(pauses) < 602


def test_a_full_disk_gets_back_all_the_room(recovering, prefetching, monkeypatch):
    real, waited = os.fsync, []

    def fsync(fd):
        waited.append(recovering.waiting())
        if len(waited) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(StorageError, match="no space left"):  # with which it ends, and removes everything
        Prefetcher(*prefetching).run()
    assert waited == [[], [name(5)], [name(5), name(6)]]
    shutil.rmtree(recovering.directory)


@pytest.mark.parametrize("module, call", [(fcntl, "flock"), (os, "fork")])
def test_without_locks_or_processes_there_is_no_lookahead_and_nothing_is_left(
    recovering, prefetching, monkeypatch, module, call
):
    def fails(*words):
        raise OSError(errno.EAGAIN if call == "fork" else errno.ENOLCK, "not available")

    source, delivered, course, _ = prefetching
    monkeypatch.setattr(module, call, fails)
    lookahead.go_on(source, delivered, course)
    assert not recovering.directory.exists()


def processes_of(recovering):
    """The processes of ours whose working directory is the data directory."""
    found = []
    for path in Directory("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if path.joinpath("cwd").readlink() == recovering.data:
                found.append(int(path.name))
    return [pid for pid in found if not postmaster.is_gone(pid)]
