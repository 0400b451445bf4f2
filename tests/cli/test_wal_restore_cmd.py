"""``wal-restore`` as PostgreSQL calls it: the plan in its options, the answer in its exit code."""

import os
import shutil
import subprocess
import sys
import threading
import time

import pytest
from support.filed_wal import name, new_repository, segment_bytes, store
from support.modules import ROOT

from walstream.cli import main

DELIVERED, ABSENT, TROUBLE = 0, 64, 255
BACKUP = "20260131T120000"


class Restoring:
    """Calls the command in a data directory, where PostgreSQL runs it."""

    def __init__(self, repository, data):
        self.repository = repository
        self.data = data

    def __call__(self, wal_name, *options, wait="0"):
        words = ["wal-restore", "--absent-code", str(ABSENT), "--wait", wait, *options]
        return main([*words, self.repository.root, wal_name, "pg_wal/RECOVERYXLOG"])

    @property
    def delivered(self):
        path = self.data / "pg_wal" / "RECOVERYXLOG"
        return path.read_bytes() if path.exists() else None

    def store(self, *segments):
        store(self.repository, {name(n, t): segment_bytes(n, t) for t, n in segments}, "zstd")

    def spoil(self, number, timeline=1):
        directory = name(number, timeline)[:16]
        self.repository.storage.put(f"wals/{directory}/{name(number, timeline)}", b"spoilt")


@pytest.fixture
def restoring(tmp_path, monkeypatch):
    data = tmp_path / "data"
    (data / "pg_wal").mkdir(parents=True)
    monkeypatch.chdir(data)
    return Restoring(new_repository(tmp_path / "repository"), data)


def test_a_segment_is_delivered_where_postgresql_wants_it(restoring):
    restoring.store((1, 7))
    assert restoring(name(7)) == DELIVERED
    assert restoring.delivered == segment_bytes(7)
    assert os.listdir(restoring.data / "pg_wal") == ["RECOVERYXLOG"]


def test_an_absent_segment_is_the_code_that_was_asked_for(restoring):
    assert restoring(name(7)) == ABSENT
    assert main(["wal-restore", restoring.repository.root, name(7), "x"]) == 1
    assert restoring.delivered is None


def test_as_a_process_it_ends_with_the_same_codes(restoring):
    restoring.store((1, 7))
    for wal_name, code in ((name(7), 0), (name(8), 64), ("README", 255)):
        words = [
            "wal-restore",
            "--absent-code=64",
            "--wait=0",
            restoring.repository.root,
            wal_name,
            "pg_wal/x",
        ]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        program = [sys.executable, "-m", "walstream", *words]
        run = subprocess.run(program, cwd=restoring.data, env=environment, capture_output=True)
        assert (run.returncode, run.stdout) == (code, b"")


# The path of timelines


def test_a_segment_of_a_timeline_that_is_not_on_the_path_is_absent(restoring):
    restoring.store((1, 7), (2, 7))
    assert restoring(name(7, timeline=2), "--path", "1") == ABSENT
    assert restoring(name(7), "--path", "1") == DELIVERED


@pytest.mark.parametrize(
    "timeline, number, code",
    [(1, 7, DELIVERED), (1, 8, ABSENT), (1, 9, ABSENT), (2, 7, ABSENT), (2, 8, DELIVERED), (2, 9, DELIVERED)],
)
def test_at_and_behind_the_segment_with_the_switch_an_ancestor_counts_as_absent(
    restoring, timeline, number, code
):
    restoring.store(*((t, n) for t in (1, 2) for n in (7, 8, 9)))
    assert restoring(name(number, timeline), "--path", "1@0/840000,2") == code
    assert (restoring.delivered is not None) == (code == DELIVERED)


def test_what_the_path_forbids_is_absent_even_before_until(restoring):
    restoring.store((1, 9))
    assert restoring(name(9), "--path", "1@0/840000,2", "--until", name(9, timeline=2)) == ABSENT


def test_a_history_of_the_path_is_needed_and_one_beyond_it_is_not(restoring):
    assert restoring("00000002.history", "--path", "1@0/840000,2") == TROUBLE
    assert restoring("00000003.history", "--path", "1@0/840000,2") == ABSENT
    assert restoring("00000002.history", "--path", "1") == ABSENT
    assert restoring("00000001.history", "--path", "1") == ABSENT


# Until


@pytest.mark.parametrize("number, code", [(6, TROUBLE), (7, TROUBLE), (8, ABSENT)])
def test_up_to_until_absence_is_trouble_and_behind_it_it_is_absence(restoring, number, code):
    assert restoring(name(number), "--until", name(7)) == code


@pytest.mark.parametrize("number, code", [(7, TROUBLE), (8, ABSENT)])
def test_behind_until_trouble_is_absence_at_once(restoring, number, code):
    restoring.spoil(number)
    began = time.monotonic()
    assert restoring(name(number), "--until", name(7), wait="0" if number == 7 else "600") == code
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("path", ["1", "1@0/640000,2"])
def test_an_unmounted_repository_is_trouble_up_to_until_whatever_the_path(restoring, path):
    shutil.rmtree(restoring.repository.root)
    timeline = int(path[-1])
    assert restoring(name(7, timeline), "--path", path, "--until", name(7, timeline)) == TROUBLE
    assert restoring(name(8, timeline), "--path", path, "--until", name(7, timeline)) == ABSENT


def test_until_compares_segments_over_timelines(restoring):
    assert restoring(name(7), "--until", name(8, timeline=2)) == TROUBLE
    assert restoring(name(9), "--until", name(8, timeline=2)) == ABSENT


def test_what_is_needed_is_waited_for(restoring):
    timer = threading.Timer(0.1, lambda: restoring.store((1, 7)))
    timer.start()
    assert restoring(name(7), "--until", name(7), wait="60") == DELIVERED
    timer.join()


def test_a_repository_that_comes_back_is_waited_for(restoring, tmp_path):
    restoring.store((2, 7))
    shutil.move(restoring.repository.root, tmp_path / "unmounted")
    timer = threading.Timer(0.1, lambda: shutil.move(tmp_path / "unmounted", restoring.repository.root))
    timer.start()
    path = ("--path", "1@0/640000,2")  # long enough to need the repository's identity
    assert restoring(name(7, timeline=2), *path, "--until", name(7, timeline=2), wait="60") == DELIVERED
    timer.join()


# Standbys, partial segments, backups


def test_a_standby_never_waits(restoring):
    began = time.monotonic()
    assert restoring(name(7), "--standby", wait="600") == ABSENT
    restoring.spoil(7)
    assert restoring(name(7), "--standby", wait="600") == TROUBLE  # which its command turns into 1
    assert time.monotonic() - began < 60


def test_a_partial_segment_is_delivered_only_on_request(restoring):
    spool = os.path.join(restoring.repository.root, "streaming")
    os.mkdir(spool)
    with open(f"{spool}/{name(7)}.partial", "wb") as file:
        file.write(segment_bytes(7))
    assert restoring(name(7)) == ABSENT
    assert restoring(name(7), "--partial") == DELIVERED


def test_the_spool_may_be_elsewhere(restoring, tmp_path):
    (tmp_path / "home" / "streaming").mkdir(parents=True)
    (tmp_path / "home" / "streaming" / name(7)).write_bytes(segment_bytes(7))
    assert restoring(name(7)) == ABSENT
    assert restoring(name(7), "--home", str(tmp_path / "home")) == DELIVERED


def test_a_backup_may_hold_the_beginning_of_its_last_segment(restoring):
    restoring.repository.storage.put(f"base/{BACKUP}/wal/{name(7)}", segment_bytes(7))
    assert restoring(name(7)) == ABSENT
    assert restoring(name(7), "--backup", BACKUP) == DELIVERED


# What else is trouble


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["main"],
        ["/srv/x", name(7)],
        ["/srv/x", name(7), "x", "y"],
        ["/srv/x", name(7), "x", "--nonsense"],
        ["/srv/x", name(7), "x", "--absent-code", "many"],
        ["/srv/x", name(7), "x", "--wait", "-1"],
        ["/srv/x", name(7), "x", "--path", "1@,2"],
        ["/srv/x", name(7), "x", "--until", "7"],
        ["/srv/x", "RECOVERYXLOG", "x"],
        ["unknown", name(7), "x", "-c", "/nonexistent"],
    ],
)
def test_a_wrong_call_is_255_at_once(words, capfd):
    began = time.monotonic()
    assert main(["wal-restore", *words]) == 255
    assert capfd.readouterr().err.startswith("walstream: error: ")
    assert time.monotonic() - began < 30


def test_nothing_is_delivered_when_the_server_that_asked_is_gone(restoring):
    restoring.store((1, 7))
    with subprocess.Popen(["true"]) as process:
        process.wait()
    (restoring.data / "postmaster.pid").write_text(f"{process.pid}\n/data\n")
    assert restoring(name(7)) == TROUBLE
    assert restoring.delivered is None


@pytest.mark.parametrize("content", ["{pid}\n/data\n", "-{pid}\n", "nonsense\n", ""])
def test_a_server_that_lives_or_cannot_be_told_gets_its_file(restoring, content):
    restoring.store((1, 7))
    (restoring.data / "postmaster.pid").write_text(content.format(pid=os.getpid()))
    assert restoring(name(7)) == DELIVERED


def test_a_recovery_that_ends_while_it_is_waited_ends_the_wait(restoring):
    pid = restoring.data / "postmaster.pid"
    pid.write_text(f"{os.getpid()}\n")
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    timer = threading.Timer(0.1, lambda: pid.write_text(f"{gone.pid}\n"))
    timer.start()
    began = time.monotonic()
    assert restoring(name(7), "--until", name(7), wait="600") == TROUBLE
    timer.join()
    assert time.monotonic() - began < 60
