"""``verify-wal`` on repositories made without a server: what it says, as text and as JSON, and how it ends."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support import repositories
from support.age import OTHERS, OURS, encrypt
from support.configurations import write
from support.filed_wal import name, new_repository, store
from support.values import MB
from support.wal_records import WalWriter

from catalog.gaps import Gap, record_gap
from catalog.inventory import Run
from walstream.cli import main
from walstream.ops import verify_wal as verifying


@pytest.fixture
def repository(tmp_path):
    made = new_repository(tmp_path / "home" / "main")
    Path(made.root, "state").mkdir()
    wal = WalWriter(MB, 3)
    wal.fill((5 << 20) - 50_000)
    wal.switch()
    store(made, {name(number): data for number, data in wal.segments.items()})
    return made


@pytest.fixture
def run(tmp_path, capsys):
    config = write(
        tmp_path, f"[walstream]\nwalstream_home = {tmp_path}/home\n[main]\nconninfo = host=nowhere\n"
    )

    def ask(*words, code=0):
        capsys.readouterr()
        found = main(["-c", config, "verify-wal", *words])
        said = capsys.readouterr()
        assert found == code, said
        return said

    return ask


def path_of(repository, number):
    return Path(repository.storage.path(repository.wal.key(name(number))))


def damage(repository, number, at):
    path = path_of(repository, number)
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(bytes(data))


def test_a_good_archive_is_ok_and_then_known(repository, run):
    assert run("main").out.startswith("main: OK, 5 segments read, 5.0 MiB in ")
    assert "0 segments read, 5 unchanged since they were verified" in run("main").out
    assert "5 segments read, 5.0 MiB" in run("main", "--full").out
    assert "5 unchanged" in run(repository.root).out


def test_damage_is_named_with_its_place_and_what_follows(repository, run):
    damage(repository, 5, 400_000)
    said = run("main", code=1)
    (line,) = said.out.splitlines()
    assert line.startswith(f"FAILED {name(5)} at offset 39")
    assert "has a wrong checksum; recovery ends there, no backup begins behind it" in line
    assert "walstream: error: the WAL of 'main' has 1 problem\nhint: a segment that the server" in said.err


def test_several_problems_are_all_listed_and_json_has_them_with_places(repository, run):
    damage(repository, 4, 0)
    os.unlink(path_of(repository, 6))
    Path(repository.storage.path("wals/00000002.history")).write_bytes(b"nonsense\n")
    damage(repository, 7, 500_000)
    said = run("main", code=1)
    assert [line.split()[0] for line in said.out.splitlines()] == ["FAILED"] * 4
    assert f"FAILED {name(6)}: missing" in said.out
    assert "00000002.history" in said.out
    found = json.loads(run("main", "-f", "json", code=1).out)
    assert "_ERROR" in found
    facts = found["main"]
    assert (facts["verified"], facts["no_of_problems"]) == (False, 4)
    first, second, third = facts["problems"]
    assert (first["file"], first["offset"], first["lsn"]) == (name(4), 0, "0/400000")
    assert second["file"] == name(7) and 490_000 < second["offset"] <= 500_000
    assert (third["file"], third["lsn"]) == (None, None)
    (hole,) = facts["holes"]
    assert hole == {"kind": "missing", "timeline": 1, "first": name(6), "last": name(6), "segments": 1}


def test_a_recorded_gap_is_named_as_such(repository, run):
    os.unlink(path_of(repository, 5))
    assert f"{name(5)}: missing" in run("main", code=1).out
    record_gap(repository.root, Gap(Run(1, 5, 5), datetime(2026, 1, 31, tzinfo=UTC), "it was recycled"), MB)
    said = run("main", code=1).out
    assert "a gap, recorded on 2026-01-31" in said and "missing" not in said
    assert "(it was recycled); no backup begins behind it" in said
    facts = json.loads(run("main", "-f", "json", code=1).out)["main"]
    assert [(each["first"], each["open"]) for each in facts["recorded_gaps"]] == [(name(5), True)]


def test_what_lies_before_the_oldest_backup_is_not_needed_and_a_backup_bounds_what_is_read(tmp_path, run):
    made = repositories.new_repository(tmp_path / "home" / "main")
    wal = WalWriter(MB, 3, version=18, system_identifier=repositories.SYSTEM)
    wal.fill((6 << 20) - 50_000)
    wal.switch()
    for number, data in wal.segments.items():
        file = Path(made.storage.path(f"wals/{name(number)[:16]}/{name(number)}"))
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(data)
    record = repositories.store_backup(made, first=6, last=7)
    os.unlink(path_of(made, 4))
    said = run("main").out
    assert f"not needed: {name(4)} is not there, and no backup reaches it" in said
    assert "main: OK, 5 segments read" in said
    damage(made, 3, 500_000)
    assert f"the next backup behind it is {record.id}" in run("main", code=1).out
    assert "2 segments read" in run("main", "--from", "latest", "--to", record.id).out


def test_bounds_are_segments_or_refused(repository, run):
    assert "2 segments read" in run("main", "--from", name(4), "--to", name(5)).out
    assert "exchange --from and --to" in run("main", "--from", name(6), "--to", name(5), code=2).err
    assert "segments of another size" in run("main", "--from", "0000000100000000FFFFFFFF", code=2).err
    assert "nothing" in run("main", "--from", "nothing", code=1).err


def test_an_interrupted_run_says_that_it_can_go_on_and_does(repository, run, monkeypatch):
    whole = verifying.verify_wal

    def interrupted(repository, holdings, known, bounds, on_progress):
        def stop(done, total):
            if done > 2 << 20:
                raise KeyboardInterrupt

        return whole(repository, holdings, known, bounds, stop)

    with monkeypatch.context() as patched:
        patched.setattr(verifying, "verify_wal", interrupted)
        said = run("main", code=130)
    assert "the same command goes on there" in said.err
    assert "3 segments read, 2 unchanged" in run("main").out


def test_encrypted_wal_is_read_with_an_identity_and_refused_without(repository, run, tmp_path):
    for number in (4, 5):
        path = path_of(repository, number)
        path.with_name(f"{name(number)}.age").write_bytes(encrypt(path.read_bytes()))
        path.unlink()
    assert "is encrypted, and no identity was given" in run("main", code=1).err
    key = tmp_path / "key"
    key.write_text(OURS.secret_text())
    key.chmod(0o600)
    assert "main: OK, " in run("main", "--identity-file", str(key)).out
    stored = repository.storage.path(f"wals/{name(4)[:16]}/{name(4)}.age")
    Path(stored).write_bytes(encrypt(b"x", OTHERS.recipient))
    (line,) = run("main", "--identity-file", str(key), code=1).out.splitlines()
    assert line.startswith(f"FAILED {name(4)}.age at offset 0")


def test_only_so_many_problems_are_shown(repository, run):
    directory = path_of(repository, 3).parent
    for number in range(20, 90):
        (directory / name(number)).write_bytes(b"")
    lines = run("main", code=1).out.splitlines()
    assert len(lines) == 51
    assert lines[-1] == "… and 21 more (-f json shows more)"
