"""``walstream restore`` on a repository made without a server: what scripts rely on."""

import json
import os
import shutil
from datetime import timedelta

import pytest
from support.members import file
from support.repositories import MAIN, file_of, flip, new_repository, store_backup, store_wal

from backup.destination import MARK, Claim
from catalog.repository import open_repository
from walstream.cli import main

CLUSTER = [file("PG_VERSION", b"18\n"), file("postgresql.conf", b"port = 5433\n"), *MAIN]


@pytest.fixture
def home(tmp_path):
    """The home of a configured server ``main``, with a backup and its WAL."""
    repository = new_repository(tmp_path / "main")
    store_backup(repository, first=2, last=3, main=CLUSTER)
    store_wal(repository, [2, 3, 4])
    return tmp_path


@pytest.fixture
def dest(tmp_path):
    return tmp_path / "dest"


@pytest.fixture
def restored(home, dest, capsys):
    """``restored(*words, options="")``: exit code, facts and complaints of a restore into ``dest``."""

    def run(*words, options="", code=0, to=dest):
        config = home / "walstream.conf"
        config.write_text(f"[walstream]\nwalstream_home = {home}\n[main]\nconninfo = host=a\n{options}")
        if os.geteuid() == 0:
            words = ("--owner", "0", *words)
        assert main(["-c", str(config), "-f", "json", "restore", "main", "latest", str(to), *words]) == code
        said = capsys.readouterr()
        document = json.loads(said.out)
        return document.get("main", document), said.err

    return run


def test_the_result_tells_scripts_what_was_done(restored, dest):
    found, _ = restored()
    assert found["restored"] is True and found["get_wal"] is True
    assert found["backup_id"] and found["restored_bytes"] > 0 and found["destinations"]
    assert found["settings"]["archive_mode"] == "off" and found["changes_count"] == len(found["changes"])
    assert (dest / "global" / "pg_control").exists()


def test_a_dry_run_has_restored_nothing(restored, dest):
    found, _ = restored("--dry-run")
    assert found["restored"] is False and not dest.exists()


def test_the_plan_shows_a_time_to_its_last_digit(home, dest, capsys):
    words = ["--target-time", "2099-01-31 12:00:00.123456+00:00", "--no-scan", "--dry-run"]
    if os.geteuid() == 0:
        words += ["--owner", "0"]
    assert main(["restore", str(home / "main"), "latest", str(dest), *words]) == 0
    assert ":00:00.123456+" in capsys.readouterr().out


def test_with_if_empty_a_second_restore_does_nothing_and_succeeds(restored, dest):
    assert restored("--if-empty")[0]["restored"] is True
    before = {path: path.stat().st_mtime_ns for path in dest.rglob("*")}
    found, _ = restored("--if-empty")
    assert found == {"restored": False, "destination": str(dest)}
    assert {path: path.stat().st_mtime_ns for path in dest.rglob("*")} == before
    assert "is not empty" in restored(code=1)[1]


@pytest.mark.parametrize("name", ["lost+found", "PG_VERSION", "global/pg_control"])
def test_if_empty_takes_nothing_but_a_cluster_for_a_success(restored, dest, name):
    (dest / name).parent.mkdir(parents=True)
    (dest / name).touch()
    assert "is not empty" in restored("--if-empty", code=1)[1]


def test_if_empty_repeats_a_restore_that_broke_off(restored, dest):
    with Claim([str(dest)], None):
        (dest / "global").mkdir()
        for name in ("PG_VERSION", "global/pg_control.walstream-tmp.1-abcd"):
            (dest / name).touch()
    assert restored("--if-empty")[0]["restored"] is True
    assert not (dest / MARK).exists()


def test_if_empty_leaves_a_restore_alone_that_was_killed_when_all_was_in_its_place(restored, dest):
    restored()
    (dest / MARK).write_text(json.dumps({"destination": str(dest)}))
    assert restored("--if-empty")[0]["restored"] is False
    assert "is not empty" in restored(code=1)[1] and (dest / "base").exists()


def test_the_configuration_may_want_the_wal_to_be_copied(restored, dest):
    assert restored("--dry-run", options="recovery_options = no-get-wal\n")[0]["get_wal"] is False
    found, _ = restored("--get-wal", "--dry-run", options="recovery_options = no-get-wal\n")
    assert found["get_wal"] is True and "copied_segments" not in found
    found, _ = restored(options="recovery_options = no-get-wal\n")
    assert found["copied_segments"] == 3 == len(list((dest / "pg_wal").glob("0*")))
    assert found["settings"]["restore_command"] == "exit 1"


def test_a_slip_in_the_configuration_is_warned_of_and_stops_no_restore(restored):
    found, said = restored(options="recovery_options = get-wall\ncompresion = zstd\n")
    assert found["restored"] is True and found["get_wal"] is True
    assert "'recovery_options'" in said and "error" not in said


def test_the_end_of_a_restore_says_that_an_obsolete_backup_may_go(home, dest, capsys):
    repository = open_repository(str(home / "main"))
    store_backup(repository, after=timedelta(days=1), first=4, last=4, main=CLUSTER)
    config = home / "walstream.conf"
    policy = "retention_policy = REDUNDANCY 1\n"
    config.write_text(f"[walstream]\nwalstream_home = {home}\n[main]\nconninfo = host=a\n{policy}")
    words = ("--owner", "0") if os.geteuid() == 0 else ()
    assert main(["-c", str(config), "restore", "main", "oldest", str(dest), *words]) == 0
    said = capsys.readouterr()
    assert "is OBSOLETE by the retention policy" in said.err
    last = said.out.splitlines()[-1]
    assert "may go at the next maintenance" in last
    assert "walstream keep main 20260131T120000 --target full" in last


def test_recovery_settings_may_go_to_a_file_of_their_own(restored, dest):
    restored("--recovery-conf-filename", "it's.conf")
    assert (dest / "postgresql.auto.conf").read_text() == "\ninclude 'it''s.conf'\n"
    text = (dest / "it's.conf").read_text()
    assert "restore_command = '" in text and "archive_mode = 'off'" in text
    listed = {each["Path"]: each for each in json.loads((dest / "backup_manifest").read_text())["Files"]}
    assert listed["it's.conf"]["Size"] == len(text)


@pytest.mark.parametrize(
    "name", ["recovery.conf", "postgresql.conf", "a/b.conf", "../x.conf", ".conf", "PG_VERSION", "x\n.conf"]
)
def test_a_file_that_cannot_hold_recovery_settings_is_refused(restored, dest, name):
    assert "error" in restored("--recovery-conf-filename", name, code=2)[1]
    assert not dest.exists()


def test_a_file_that_the_backup_holds_is_not_taken_for_recovery_settings(tmp_path, home, restored, dest):
    repository = new_repository(tmp_path / "main")
    (record,) = repository.backups.records()
    shutil.rmtree(repository.storage.path(f"base/{record.id}"))
    store_backup(repository, first=2, last=3, main=[file("extra.conf", b"x = y\n"), *CLUSTER])
    assert "holds a file 'extra.conf'" in restored("--recovery-conf-filename", "extra.conf", code=2)[1]
    assert not dest.exists()


def test_several_threads_restore_the_same(restored, dest, tmp_path):
    restored()
    restored("--jobs", "3", to=tmp_path / "other")
    for path in dest.rglob("*"):
        if path.is_file():
            assert (tmp_path / "other" / path.relative_to(dest)).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_what_is_damaged_is_refused_by_any_number_of_threads(tmp_path, restored, dest, jobs):
    repository = new_repository(tmp_path / "main")
    (record,) = repository.backups.records()
    flip(file_of(repository, record, record.archives[0]), -9)
    assert "base.tar.zst" in restored("--jobs", jobs, code=1)[1]
    assert not (dest / "global" / "pg_control").exists()


@pytest.mark.parametrize("jobs", ["0", "-1", "x", "65", "1.5"])
def test_a_senseless_number_of_threads_is_refused(home, jobs, capsys):
    assert main(["restore", str(home / "main"), "latest", "/x", f"--jobs={jobs}"]) == 2
    assert "threads" in capsys.readouterr().err
