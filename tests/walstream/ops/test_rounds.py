"""A maintenance round, without a server: what it does, what it leaves, and that nobody waits for anybody else."""

import math
import os
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support import repositories
from support.configurations import loaded
from support.faults import PowerLoss
from support.published import published
from support.repositories import SIZE, new_repository, segment_bytes, store_wal
from support.streams import Given, drain

from catalog import layout
from catalog.errors import StorageError
from catalog.lock import Lock
from catalog.marks import StartedMark
from catalog.state import mark_stopped, receiver_lock_path, write_receiver_state
from catalog.usage import Usage, wal_usage
from catalog.wal import WalShelf
from catalog.walname import Segment
from walstream.ops import place, rounds
from walstream.ops.archive import Archived, archive_waiting
from walstream.ops.bench_place import bench_directory
from walstream.ops.deliver import deliver
from walstream.ops.expire import carry_out, plan_removal
from walstream.ops.local import rules_of
from walstream.ops.rounds import round_lock_path, run_rounds
from walstream.ops.stored import archive_lock, backup_lock

KILLED = "20260101T000000"


@pytest.fixture
def servers(tmp_path):
    """Two servers with empty repositories."""
    text = f"[walstream]\nwalstream_home = {tmp_path}/home\n"
    configuration = loaded(tmp_path, text + "[one]\nconninfo = host=x\n[two]\nconninfo = host=x\n")
    for settings in configuration.servers.values():
        made = new_repository(os.fspath(tmp_path / "home" / settings.name))
        place.known_repository("host=nowhere", made.root, settings.home)
    return list(configuration.servers.values())


@pytest.fixture
def one(servers):
    return servers[0]


def repository_of(settings):
    return place.known_repository("host=nowhere", settings.repository, settings.home)


def leave_segments(settings, *numbers):
    """What a receiver that was killed leaves in its spool; the files."""
    paths = []
    for number in numbers:
        segment = Segment(1, number)
        paths.append(os.path.join(settings.home, "streaming", segment.name(SIZE)))
        with open(paths[-1], "wb") as file:
            file.write(segment_bytes(segment))
    return paths


def leave_backup(settings):
    mark = StartedMark(pid=1, name=None, started=datetime.now(UTC) - timedelta(hours=1), parent=None)
    shelf = repository_of(settings).backups
    shelf.mark_started(KILLED, mark)
    return shelf


def test_what_was_delivered_is_filed_as_long_as_there_is_time(one):
    incoming = Path(one.home, "incoming")
    for number in (2, 3):
        (incoming / Segment(1, number).name(SIZE)).write_bytes(segment_bytes(Segment(1, number)))
    assert archive_waiting(one, repository_of(one), time.monotonic()) == Archived(0, 0)
    assert len(list(incoming.iterdir())) == 2
    with Lock(receiver_lock_path(one.home), "receiving"):
        assert archive_waiting(one, repository_of(one), math.inf) == Archived(0, 0)
    assert archive_waiting(one, repository_of(one), math.inf) == Archived(0, 2)


def test_a_partial_segment_is_taken_in_also_when_another_end_of_it_is_stored(one):
    """The server's own copy ends elsewhere; a refusal would be repeated until its disk is full."""
    whole, name = segment_bytes(Segment(1, 2)), f"{Segment(1, 2).name(SIZE)}.partial"
    repository = repository_of(one)
    for ours in (whole[: 1 << 19].ljust(len(whole), b"\0"), whole):
        assert deliver(one, repository, name, Given(ours))
        assert archive_waiting(one, repository, math.inf).delivered == 1
    assert drain(repository.wal.open(name)) == whole


def test_segments_that_a_killed_receiver_has_left_are_archived(one):
    paths = leave_segments(one, 2, 3, 4)
    assert run_rounds([one], None) == ([], True)
    assert not any(map(os.path.exists, paths))
    assert sorted(repository_of(one).wal.names()) == [os.path.basename(path) for path in paths]


def test_what_a_killed_bench_has_left_is_removed_and_what_a_living_one_uses_stays(one):
    left = Path(one.home, "bench.walstream-tmp.1-abcd-efgh")
    left.mkdir()
    (left / "segment").write_bytes(b"x")
    with bench_directory(one.home) as directory:
        assert not left.exists()
        left.mkdir()
        assert run_rounds([one], None) == ([], True)
        assert os.path.isdir(directory) and not left.exists()
    assert not os.path.exists(directory)


def test_a_killed_backup_is_swept(one):
    shelf = leave_backup(one)
    assert run_rounds([one], None) == ([], True)
    assert shelf.started(KILLED) is None and shelf.failed(KILLED) is not None


def test_the_retention_policy_is_applied(tmp_path):
    text = f"[walstream]\nwalstream_home = {tmp_path}/home\nretention_policy = REDUNDANCY 1\n"
    settings = loaded(tmp_path, text + "[one]\nconninfo = host=x\n").server("one")
    repository = repositories.new_repository(tmp_path / "home" / "one")
    for day, first in enumerate((3, 7)):
        repositories.store_backup(repository, after=timedelta(days=day), first=first, last=first)
    repositories.store_wal(repository, range(1, 9))
    with backup_lock(repository, "one"):
        assert run_rounds([settings], None) == ([], True)
    assert len(repository.backups.ids()) == 2
    assert run_rounds([settings], None) == ([], True)
    assert len(repository.backups.ids()) == 1 and len(list(repository.wal.names())) == 2


@pytest.mark.parametrize("policy", ["retention_policy = REDUNDANCY 1\n", ""])
def test_wal_that_an_interrupted_removal_has_left_goes_with_the_next_round(tmp_path, monkeypatch, policy):
    text = f"[walstream]\nwalstream_home = {tmp_path}/home\n{policy}"
    settings = loaded(tmp_path, text + "[one]\nconninfo = host=x\n").server("one")
    repository = repositories.new_repository(tmp_path / "home" / "one")
    for day, first in enumerate((3, 7)):
        repositories.store_backup(repository, after=timedelta(days=day), first=first, last=first)
    repositories.store_wal(repository, range(1, 9))
    assert len(list(repository.wal.names())) == 8
    with monkeypatch.context() as patch, pytest.raises(PowerLoss):
        patch.setattr(WalShelf, "remove", lambda *of: (_ for _ in ()).throw(PowerLoss))
        carry_out(plan_removal(repository, settings.home, rules_of(settings), "oldest"), repository)
    assert len(repository.backups.ids()) == 1 and len(list(repository.wal.names())) == 8
    assert run_rounds([settings], None) == ([], True)
    assert len(list(repository.wal.names())) == 2


def test_sizes_of_stored_wal_are_remembered_before_a_listing_asks(one):
    repository = repository_of(one)
    (path,) = store_wal(repository, [2])
    directory = os.path.dirname(path)
    os.utime(directory, (0, 0))  # long ago: what is remembered of a directory that may change does not count
    assert run_rounds([one], None) == ([], True)
    size, times = os.path.getsize(path), os.stat(directory)
    os.truncate(path, 1)
    os.utime(directory, ns=(times.st_atime_ns, times.st_mtime_ns))
    usage = wal_usage(repository.storage, os.path.join(one.home, layout.STATE), time.time())
    assert usage.between("0" * 24, None) == Usage(1, size)


def test_what_somebody_else_has_locked_is_left_to_them(one):
    paths = leave_segments(one, 2)
    shelf = leave_backup(one)
    repository = repository_of(one)
    with archive_lock(repository, "one"), backup_lock(repository, "one"):
        assert run_rounds([one], None) == ([], True)
    assert os.path.exists(paths[0]) and shelf.started(KILLED) is not None


def test_a_receiver_archives_its_own_segments(one):
    paths = leave_segments(one, 2)
    with place.receiver_lock(one.home, "one"):
        assert run_rounds([one], None) == ([], True)
    assert os.path.exists(paths[0])


def test_wrong_bytes_in_the_spool_are_one_problem_and_everything_else_is_done(servers):
    one, two = servers
    (path,) = leave_segments(one, 2)
    store_wal(repository_of(one), [2])
    with open(path, "r+b") as file:
        file.seek(100_000)
        file.write(b"other")
    shelf = leave_backup(one)
    others = leave_segments(two, 2)
    (problem,), ended = run_rounds(servers, None)
    assert ended and problem[0] == "one" and "other bytes" in problem[1]
    assert os.path.exists(path)
    assert shelf.failed(KILLED) is not None
    assert not os.path.exists(others[0])


def test_a_server_from_which_nothing_was_ever_received_gets_no_directories(tmp_path):
    text = f"[walstream]\nwalstream_home = {tmp_path}/home\n[new]\nconninfo = host=x\n"
    settings = loaded(tmp_path, text).servers["new"]
    assert run_rounds([settings], lambda settings: None) == ([], True)
    assert not os.path.exists(tmp_path / "home" / "new")


def test_a_repository_that_is_not_there_any_more_is_a_problem(one):
    os.rename(os.path.join(one.repository, "identity.json"), one.repository + ".away")
    (problem,), ended = run_rounds([one], None)
    assert ended and problem[0] == "one"


def test_a_server_that_hangs_keeps_no_other_waiting(servers):
    release, started = threading.Event(), []

    def start(settings):
        if settings.name == "one":
            release.wait(60)
        started.append(settings.name)

    leave_segments(servers[1], 2)
    problems, ended = run_rounds(servers, start, limit=3.0)
    try:
        assert not ended and started == ["two"]
        assert problems == [("one", "its round has not ended within 3 s")]
        # The next round leaves out the server whose last one has not ended.
        assert run_rounds(servers, start) == ([], True)
        assert started == ["two", "two"]
    finally:
        release.set()


def test_a_script_may_take_the_time_that_it_is_given(one, monkeypatch):
    monkeypatch.setattr(rounds, "LIMIT", 0.2)
    settings = replace(one, scripts={"pre_archive": "sleep 0.5"}, hook_timeout=60.0)
    leave_segments(settings, 2)
    assert run_rounds([settings], None) == ([], True)
    assert repository_of(settings).wal.holds(Segment(1, 2).name(SIZE))


def test_a_round_that_never_ends_is_said_by_those_after_it(one):
    lock = Lock(round_lock_path(one.home, "one"), "a round")
    with lock:
        assert run_rounds([one], None) == ([], True)
        file = Path(lock.path)
        file.write_text(file.read_text().replace('"started": "20', '"started": "19'))
        (problem,), ended = run_rounds([one], None)
    assert ended and "has not ended since 19" in problem[1]


def test_a_receiver_that_cannot_be_started_does_not_keep_the_rest_from_being_done(one):
    def start(settings):
        raise StorageError("no room for another process", "end one")

    paths = leave_segments(one, 2)
    (problem,), ended = run_rounds([one], start)
    assert ended and problem == ("one", "no room for another process (end one)")
    assert not os.path.exists(paths[0])


def publish(settings, **changes):
    """What a receiver of this process publishes."""
    write_receiver_state(settings.home, published(pid=os.getpid(), at=time.time(), **changes))


def leave_receivers_alone(settings):
    """As ``cron`` does where receivers run."""


def test_a_receiver_that_has_had_no_stream_for_a_minute_is_a_problem_for_cron_alone(one):
    with place.receiver_lock(one.home, "one"):
        publish(one, phase="waiting", trouble="no route", since=time.time() - 50)
        assert run_rounds([one], leave_receivers_alone) == ([], True)
        publish(one, phase="waiting", trouble="no route", since=time.time() - 70)
        (problem,), ended = run_rounds([one], leave_receivers_alone)
        assert run_rounds([one], None) == ([], True)
    assert ended and problem[0] == "one"
    assert problem[1].startswith("receive-wal running: not streaming since") and "no route" in problem[1]


def test_a_receiver_that_cannot_archive_is_a_problem(one):
    with place.receiver_lock(one.home, "one"):
        publish(one, since=time.time(), archive_trouble="cannot write: read-only")
        (problem,), _ = run_rounds([one], leave_receivers_alone)
    assert "cannot write: read-only" in problem[1] and "make the repository writable" in problem[1]
    assert "\n" not in problem[1]


def test_what_ended_the_receiver_of_the_last_round_is_a_problem(one):
    publish(one, phase="ended", trouble="another cluster")
    assert run_rounds([one], leave_receivers_alone) == (
        [("one", "the last receiver ended: another cluster")],
        True,
    )
    assert run_rounds([one], None) == ([], True)
    publish(one, phase="ended", trouble=None)
    assert run_rounds([one], leave_receivers_alone) == ([], True)
    write_receiver_state(
        one.home, published(pid=os.getpid(), at=time.time() - 120, phase="ended", trouble="another cluster")
    )
    assert run_rounds([one], leave_receivers_alone) == ([], True)


def test_a_receiver_that_was_stopped_is_no_problem(one):
    mark_stopped(one.home)
    assert run_rounds([one], leave_receivers_alone) == ([], True)
