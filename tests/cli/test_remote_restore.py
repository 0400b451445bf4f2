"""Restores to another machine, over a real sshd on loopback, of a backup made without a server."""

import json
import os
import shutil
import threading
import time

import pytest
from support.members import directory, file
from support.repositories import MAIN, SPACE, new_repository, store_backup, store_wal
from support.sshd import NO_SSHD, SSHD, Sshd

from backup import remote_place
from backup.destination import MARK
from catalog.errors import StorageError
from catalog.record import Tablespace
from walstream.cli import main

pytestmark = pytest.mark.skipif(SSHD is None, reason=NO_SSHD)

CONF = b"port = 5433\ninclude_dir 'conf.d'\ninclude 'base/1'\ndata_directory = '/srv/old'\n"
CLUSTER = [
    file("PG_VERSION", b"18\n"),
    file("postgresql.conf", CONF),
    directory("conf.d"),
    file("conf.d/a.conf", b"external_pid_file = '/run/old'\n"),
    file("log/old.log", b"l" * (2 << 20)),
    directory("global"),
    directory("pg_tblspc"),
    file("pg_hba.conf", b"local all all trust\n", mode=0o640),
    *MAIN,
]


# All that is needed there, but for tar.
TOOLS = ["sh", "id", "dirname", "df", "tail", "ls", "mkdir", "cat", "head", "du", "rm", "mv", "ln", "wc"]
TOOLS += ["chmod", "chown", "sync"]


@pytest.fixture(scope="module")
def sshd(tmp_path_factory):
    server = Sshd(tmp_path_factory.mktemp("ssh") / "d")
    yield server
    server.stop()


@pytest.fixture
def home(tmp_path):
    repository = new_repository(tmp_path / "main")
    store_backup(
        repository,
        first=2,
        last=3,
        main=CLUSTER,
        spaces={16385: SPACE, 16386: SPACE},
        tablespaces=(
            Tablespace(16385, "it's", str(tmp_path / "there" / "it's $HOME")),
            Tablespace(16386, "near", "/var/lib/postgresql/18/main/near"),
        ),
    )
    store_wal(repository, [2, 3, 4])
    return tmp_path


@pytest.fixture
def dest(tmp_path):
    return tmp_path / "there" / 'da ta "$(x)" it\'s'


@pytest.fixture
def restored(home, dest, sshd, capsys):
    """``restored(*words)``: exit code, facts and complaints of a restore to ``dest`` on the other machine."""

    def run(*words, options="", code=0, to=dest, command=None):
        config = home / "walstream.conf"
        config.write_text(f"[walstream]\nwalstream_home = {home}\n[main]\nconninfo = host=a\n{options}")
        if os.geteuid() == 0:
            words = ("--owner", "0", *words)
        words = ("--remote-ssh-command", command or sshd.command, *words)
        assert main(["-c", str(config), "-f", "json", "restore", "main", "latest", str(to), *words]) == code
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return json.loads(said.out).get("main"), said.err

    return run


def test_all_of_a_backup_arrives_configured_and_unmarked(restored, dest, home, tmp_path):
    found, _ = restored()
    assert found["restored"] and found["get_wal"] is False and found["remote"]
    assert (dest / "base/1").read_bytes() == b"one" * 9000
    assert (dest / "global/pg_control").read_bytes() == b"c" * 8192
    assert (dest / "log/old.log").stat().st_size == 2 << 20
    assert dest.stat().st_mode & 0o7777 == 0o700
    assert (dest / "pg_hba.conf").stat().st_mode & 0o7777 == 0o640
    far = tmp_path / "there" / "it's $HOME"
    for place in (far, dest / "near"):
        assert (place / "PG_18_1/5/1").read_bytes() == b"x" * 9000
    assert (dest / "pg_tblspc/16385").readlink() == far and (
        dest / "pg_tblspc/16386"
    ).resolve() == dest / "near"
    text = (dest / "postgresql.conf").read_text().splitlines()
    assert [line for line in text if line[0] != "#"] == ["port = 5433", "include_dir 'conf.d'"]
    assert (dest / "conf.d/a.conf").read_text().startswith("#")
    assert "restore_command = 'exit 1'" in (dest / "postgresql.auto.conf").read_text()
    assert (dest / "recovery.signal").exists() and len(list((dest / "pg_wal").glob("0*"))) == 3
    listed = {each["Path"] for each in json.loads((dest / "backup_manifest").read_text())["Files"]}
    assert "base/1" in listed and MARK not in listed
    left = [path for path in (tmp_path / "there").rglob("*") if "walstream" in path.name]
    assert left == []


def test_a_staged_restore_is_the_same(restored, dest, tmp_path):
    restored()
    first = contents(dest), contents(tmp_path / "there" / "it's $HOME")
    for place in (dest, tmp_path / "there" / "it's $HOME"):
        place.rename(tmp_path / f"before {place.name}")
    staging = tmp_path / "staging"
    staging.mkdir()
    restored("--staging-path", str(staging))
    assert (contents(dest), contents(tmp_path / "there" / "it's $HOME")) == first
    assert list(staging.iterdir()) == []


def contents(place):
    """Every file, directory and link below a directory, with content and mode.

    Less what differs as settings do: only in a staged tree files of data could be looked at for such.
    """
    found = {}
    for path in sorted(place.rglob("*")):
        mode = oct(path.lstat().st_mode)
        content = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(place))] = (mode, content)
    return {name: what for name, what in found.items() if name not in ("postgresql.conf", "backup_manifest")}


def test_a_destination_that_is_not_empty_is_refused_untouched(restored, dest, tmp_path):
    dest.mkdir(parents=True)
    (dest / ".hidden").touch()
    assert "is not empty there" in restored(code=1)[1]
    assert os.listdir(dest) == [".hidden"] and os.listdir(tmp_path / "there") == [dest.name]


def test_a_tablespace_s_place_that_is_not_empty_is_refused_untouched(restored, dest, tmp_path):
    far = tmp_path / "there" / "it's $HOME"
    (far / "x").mkdir(parents=True)
    assert "is not empty there" in restored(code=1)[1]
    assert not dest.exists()


def test_a_file_in_the_place_of_the_destination_is_refused(restored, dest):
    dest.parent.mkdir()
    dest.touch()
    assert "is not a directory there" in restored(code=1)[1]


def test_a_dry_run_shows_the_room_there_and_writes_nothing(restored, dest):
    found, _ = restored("--dry-run")
    assert found["restored"] is False and all(
        each["free_bytes"] > 0 for each in found["destinations"].values()
    )
    assert not dest.parent.exists()


def killed(*arguments):
    """Stands for the last step of a restore that did not get there."""
    raise StorageError("killed")


@pytest.fixture
def broken_off(restored, monkeypatch, dest):
    """A restore that broke off before it was finished."""
    with monkeypatch.context() as patch:
        patch.setattr("backup.remote_place.finish", killed)
        restored(code=1)
    assert (dest / MARK).exists() and (dest / "base/1").exists() and not (dest / "global/pg_control").exists()


def test_what_broke_off_is_repeated_into_the_same_place(restored, broken_off, dest):
    (dest / "left").mkdir()
    restored()
    assert (dest / "global/pg_control").exists() and not (dest / "left").exists()
    assert not (dest / MARK).exists()


def test_what_broke_off_is_not_cleared_for_another_destination(restored, broken_off, dest):
    dest.rename(dest.with_name("moved"))
    said = restored(to=dest.with_name("moved"), code=1)[1]
    assert "interrupted restore" in said
    assert (dest.with_name("moved") / "base/1").exists()


def test_one_that_is_killed_with_all_in_its_place_is_complete(restored, dest, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(remote_place, "_FINISH", remote_place._FINISH.replace('rm -f "$d/$m"', "exit 70"))
        restored(code=1)
    assert (dest / "global/pg_control").exists() and (dest / MARK).exists()
    before = contents(dest)
    assert "is not empty there" in restored(code=1)[1]
    assert restored("--if-empty")[0]["restored"] is False
    assert contents(dest) == before


def test_with_if_empty_a_second_restore_does_nothing_and_succeeds(restored, broken_off, dest):
    assert restored("--if-empty")[0]["restored"] is True
    before = contents(dest)
    assert restored("--if-empty")[0] == {"restored": False, "destination": str(dest)}
    assert contents(dest) == before


def test_two_restores_to_one_place_do_not_meet(restored, dest, monkeypatch):
    refusals = []

    def second(*arguments):
        before = contents(dest)
        refusals.append(restored(code=1)[1])
        assert contents(dest) == before
        killed()

    with monkeypatch.context() as patch:
        patch.setattr("backup.remote_place.finish", second)
        restored(code=1)
    assert len(refusals) == 1 and "another restore, process" in refusals[0]
    restored()


@pytest.mark.parametrize("words", [["--get-wal"], ["--staging-path", "/nonexistent"]])
def test_what_cannot_be_done_there_is_refused_before_a_byte(restored, dest, words):
    said = restored(*words, code=2 if "--get-wal" in words else 1)[1]
    assert ("restore_ssh_command" in said) == ("--get-wal" in words)
    assert not dest.parent.exists()


@pytest.mark.parametrize("to", ["relative/path", "/with:colon", "/with\nnewline"])
def test_a_path_that_means_nothing_there_is_refused(restored, to):
    restored(to=to, code=2)


@pytest.mark.parametrize(
    "command, said, hint",
    [
        ("ssh -o BatchMode=yes -p 1 127.0.0.1", "refused", "is up"),
        ("ssh -o BatchMode=yes no-such-host.invalid", "resolve", "is up"),
        ("/nonexistent/ssh host", "No such file", "ssh user@host"),
        ("sh -c 'exit 9'", "(9)", "by hand"),
        ("sh -c 'echo hello'", "no POSIX shell", "/bin/sh"),
        ("", "empty", "user@host"),
        ("ssh 'host", "quotation", "user@host"),
    ],
)
def test_a_machine_that_is_not_reached_is_told_with_the_reason(restored, dest, command, said, hint):
    code = 2 if command in ("", "ssh 'host") else 1
    if command:
        told = restored(command=command, code=code)[1]
        assert said in told and hint in told


def test_an_unknown_host_key_and_a_refused_login_are_told(restored, sshd):
    stranger = sshd.command.replace("known_hosts", "none")
    told = restored(command=f"{stranger}", code=1)[1]
    assert "Host key verification failed" in told and "known_hosts" in told
    nobody = sshd.command.replace("/user ", "/nobody ")
    told = restored(command=nobody, code=1)[1]
    assert "Permission denied" in told and "ssh-copy-id" in told


def test_a_machine_without_tar_is_told(restored, dest, tmp_path, sshd):
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in TOOLS:
        os.symlink(f"/bin/{name}" if os.path.exists(f"/bin/{name}") else f"/usr/bin/{name}", tools / name)
    told = restored(command=f"env -i PATH={tools} sh -c", code=1)[1]
    assert "without tar" in told and not dest.exists()
    os.symlink("/bin/tar", tools / "tar")
    restored(command=f"env -i PATH={tools} sh -c")  # and no more is needed
    assert (dest / "global/pg_control").exists()


def test_a_connection_that_is_cut_leaves_the_mark_and_no_cluster(restored, dest, sshd, home, tmp_path):
    repository = new_repository(tmp_path / "main")
    (record,) = repository.backups.records()
    shutil.rmtree(repository.storage.path(f"base/{record.id}"))
    large = file("base/huge", os.urandom(64 << 20))
    store_backup(repository, first=2, last=3, main=[*CLUSTER, large])

    def cut():
        while not (dest / "base/huge").exists():
            time.sleep(0.001)
        sshd.cut()

    cutter = threading.Thread(target=cut)
    cutter.start()
    said = restored(code=1)[1]
    cutter.join()
    assert "error" in said and "repeat the restore" in said
    assert (dest / MARK).exists() and not (dest / "global/pg_control").exists()
    assert restored()[0]["restored"]
    assert (dest / "base/huge").read_bytes() == large[1]
