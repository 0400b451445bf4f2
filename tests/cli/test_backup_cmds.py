"""``list-backups``, ``show-backup`` and ``verify-backup``, on repositories made without a server."""

import json
import os
import re
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from support.configurations import write
from support.repositories import START, file_of, flip, new_repository, store_backup, store_wal

from catalog.marks import FailedMark, StartedMark
from catalog.record import BackupRecord, BadFile
from catalog.repository import Repository
from walstream.cli import main

OTHER = "20260301T000000"
NAMES = ["show-backup", "verify-backup"]


@pytest.fixture(autouse=True)
def in_utc_plus_one(time_zone):
    time_zone("XYZ-1")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path / "main")


@pytest.fixture
def backups(repository: Repository) -> tuple[BackupRecord, BackupRecord]:
    """Two done backups with WAL between and behind them, and a failed one."""
    first = store_backup(repository, first=2, last=3, name="before the move")
    second = store_backup(repository, after=timedelta(days=1), first=6, last=6)
    store_wal(repository, [*range(2, 7), *range(700, 702)])
    mark = FailedMark(started=START, ended=START, error="no room", hint="make some")
    repository.backups.fail(OTHER, mark)
    return first, second


def shown(capsys, *arguments: str) -> str:
    assert main([*arguments]) == 0
    return capsys.readouterr().out


def facts(capsys, *arguments: str):
    return json.loads(shown(capsys, *arguments, "-f", "json"))["main"]


def test_backups_are_listed_newest_first_in_the_manner_of_barman(repository, backups, capsys):
    first, second = backups
    lines = shown(capsys, "list-backups", repository.root).splitlines()
    assert lines[0] == f"main {OTHER} - F - FAILED"
    assert lines[1].startswith(f"main {second.id} - F - 2026-02-01 13:05:00+01:00 - Size: ")
    assert lines[2].startswith(f"main {first.id} 'before the move' - F - 2026-01-31 13:05:00+01:00 - Size: ")
    assert " - WAL Size: " in lines[2] and lines[2].endswith("B")


def test_minimal_lists_ids(repository, backups, capsys):
    ids = [OTHER, backups[1].id, backups[0].id]
    assert shown(capsys, "list-backup", repository.root, "--minimal").splitlines() == ids


def test_sizes_are_the_stored_bytes_up_to_the_end_of_the_next_backup(repository, backups, capsys):
    first, second = backups
    listed = {each["backup_id"]: each for each in facts(capsys, "list-backups", repository.root)}
    of = {
        name: size
        for directory in repository.wal.directories()
        for name, size in repository.wal.sizes(directory)
    }
    sizes = [of[name] for name in sorted(of)]
    files = sum(each.stored_size for each in (*first.archives, first.manifest))
    assert listed[first.id]["size_bytes"] == files + sum(sizes[:2])
    assert listed[first.id]["wal_size_bytes"] == sum(sizes[2:5])
    assert listed[second.id]["wal_size_bytes"] == sum(sizes[5:])


def test_the_json_of_a_list_has_barmans_keys(repository, backups, capsys):
    failed, second, first = facts(capsys, "list-backups", repository.root)
    assert failed == {"backup_id": OTHER, "backup_type": "full", "status": "FAILED"}
    assert first["backup_name"] == "before the move"
    assert (first["end_time"], first["end_time_timestamp"]) == ("Sat Jan 31 13:05:00 2026", "1769861100")
    assert second.keys() == {
        *("backup_id", "backup_type", "end_time", "end_time_timestamp", "retention_status", "status"),
        *("size", "size_bytes", "wal_size", "wal_size_bytes"),
    }


def test_a_backup_without_all_of_its_wal_is_marked(repository, capsys):
    store_backup(repository)
    store_backup(repository, after=timedelta(days=1), checksum_errors=1, bad_files=(BadFile("base/5/1", 1),))
    suspect, waiting = shown(capsys, "list-backups", repository.root).splitlines()
    assert suspect.endswith(" - SUSPECT (1 bad page checksum in base/5/1 (1))")
    assert waiting.endswith(" - WAITING_FOR_WALS")


def test_a_server_of_the_configuration_is_listed_by_its_name(tmp_path, repository, backups, capsys):
    text = f"[walstream]\nwalstream_home = {tmp_path}\n[main]\nconninfo = host=x\n"
    arguments = ["-c", write(tmp_path, text), "list-backups", "main", "--minimal"]
    assert len(shown(capsys, *arguments).splitlines()) == 3


def test_a_server_without_repository_keeps_no_other_from_being_listed(tmp_path, repository, backups, capsys):
    assert main(["list-backups", str(tmp_path / "none"), repository.root]) == 1
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 3
    assert "has no repository yet" in captured.err


def test_listing_leaves_the_repository_as_it_was(repository, backups, capsys):
    def content():
        return {path: path.stat().st_mtime_ns for path in Path(repository.root).rglob("*")}

    before = content()
    shown(capsys, "list-backups", repository.root)
    shown(capsys, "show-backup", repository.root, "latest")
    assert content() == before


def test_a_backup_is_shown_in_barmans_groups(repository, backups, capsys):
    text = shown(capsys, "show-backup", repository.root, "oldest")
    titles = [line.strip(" :") for line in text.splitlines() if line.endswith("information:")]
    assert titles == [
        *("Server information", "Base backup information", "WAL information", "Catalog information"),
    ]
    assert "Begin WAL               : 000000010000000000000002" in text
    assert "Next Backup             : 20260201T120000" in text
    assert "Verified                : never" in text
    number = backups[0].server_version
    assert re.search(rf"PostgreSQL Version +: {number // 10000}\.\d+ \({number}\)", text)
    assert backups[0].archives[0].sha256 in text


def test_the_json_of_a_backup_nests_like_barmans(repository, backups, capsys):
    found = facts(capsys, "show-backup", repository.root, "before the move")
    base, wal, catalog = (found[f"{group}_information"] for group in ("base_backup", "wal", "catalog"))
    assert (found["backup_id"], found["status"]) == (backups[0].id, "DONE")
    assert found["server_information"] == {"data_checksums": "on", "summarize_wal": "off"}
    assert (base["begin_wal"], base["end_wal"], base["wal_num"]) == (
        *("000000010000000000000002", "000000010000000000000003"),
        2,
    )
    assert (base["begin_offset"], base["begin_time"]) == (0x28, "2026-01-31 13:00:00+01:00")
    assert (wal["no_of_files"], wal["last_available"]) == (3, "000000010000000000000006")
    assert (catalog["previous_backup"], catalog["next_backup"]) == (None, backups[1].id)
    assert found["archives"][0]["sha256"] == backups[0].archives[0].sha256


def test_a_backup_whose_files_were_lost_shows_that_as_its_error(repository, backups, capsys):
    os.unlink(file_of(repository, backups[0], backups[0].archives[0]))
    text = shown(capsys, "show-backup", repository.root, "oldest")
    assert "Status                  : FAILED" in text
    assert "Error                   : 'base.tar.zst' is missing" in text and "System Id" in text
    assert facts(capsys, "show-backup", repository.root, "oldest")["error"] == "'base.tar.zst' is missing"


def test_the_chain_of_an_incremental_backup_is_shown_as_barman_does(repository, backups, capsys):
    _, second = backups
    days = timedelta(days=2)
    third = store_backup(repository, after=days, first=701, last=701, type="incremental", parent=second.id)
    fourth = store_backup(
        repository, after=2 * days, first=701, last=701, type="incremental", parent=third.id
    )
    catalog = facts(capsys, "show-backup", repository.root, fourth.id)["catalog_information"]
    assert (catalog["root_backup_id"], catalog["parent_backup_id"]) == (second.id, third.id)
    assert (catalog["chain_size"], catalog["children_backup_ids"]) == (3, None)
    root = facts(capsys, "show-backup", repository.root, second.id)["catalog_information"]
    assert root["children_backup_ids"] == [third.id] and "chain_size" not in root
    assert "Backup chain size       : 3" in shown(capsys, "show-backup", repository.root, fourth.id)


BARMANS = {
    "": """backup_id backup_name backup_type status system_id cluster_size cluster_size_bytes pgdata_directory
        postgresql_version tablespaces""",
    "server_information": "data_checksums summarize_wal",
    "base_backup_information": """backup_method encryption compression backup_size backup_size_bytes
        backup_size_with_wals backup_size_with_wals_bytes wal_size wal_size_bytes timeline begin_wal end_wal wal_num
        begin_time begin_time_timestamp end_time end_time_timestamp begin_offset end_offset begin_lsn end_lsn
        wal_compression_ratio copy_time copy_time_seconds throughput throughput_bytes number_of_workers""",
    "wal_information": """no_of_files disk_usage disk_usage_bytes wal_rate wal_rate_per_second compression_ratio
        last_available timelines""",
    "catalog_information": "retention_policy previous_backup next_backup children_backup_ids",
}


@pytest.mark.parametrize("group", BARMANS)
def test_no_key_of_barman_is_missing(group, repository, backups, capsys):
    found = facts(capsys, "show-backup", repository.root, "before the move")
    assert (found[group] if group else found).keys() >= set(BARMANS[group].split())


def test_a_failed_backup_shows_its_error(repository, backups, capsys):
    assert "Error                   : no room" in shown(
        capsys, "show-backups", repository.root, "last-failed"
    )
    found = facts(capsys, "show-backup", repository.root, OTHER)
    assert (found["status"], found["error"], found["hint"]) == ("FAILED", "no room", "make some")


@pytest.fixture
def chain(repository: Repository) -> list[BackupRecord]:
    """A full backup and two incremental ones, each based on the one before."""
    made = [store_backup(repository, first=2, last=3)]
    for number in (5, 7):
        kind = {"type": "incremental", "parent": made[-1].id}
        made.append(store_backup(repository, after=timedelta(days=number), first=number, last=number, **kind))
    store_wal(repository, range(2, 9))
    return made


def test_a_chain_is_listed_and_shown_in_barmans_words(repository, chain, capsys):
    full, first, last = chain
    lines = shown(capsys, "list-backups", repository.root).splitlines()
    assert [line.split(" - ")[1] for line in lines] == ["I", "I", "F"]
    listed = facts(capsys, "list-backups", repository.root)
    assert [each.get("parent_backup_id") for each in listed] == [first.id, full.id, None]
    text = shown(capsys, "show-backup", repository.root, "latest")
    assert f"Root Backup             : {full.id}" in text
    assert f"Parent Backup           : {first.id}" in text
    assert "Backup chain size       : 3" in text
    found = facts(capsys, "show-backup", repository.root, first.id)["catalog_information"]
    assert (found["root_backup_id"], found["parent_backup_id"], found["chain_size"]) == (full.id, full.id, 2)
    assert found["children_backup_ids"] == [last.id]


def test_a_chain_without_its_parent_is_failed_and_says_which_is_missing(repository, chain, capsys):
    _, first, last = chain
    shutil.rmtree(Path(repository.root, "base", first.id))
    assert main(["list-backups", repository.root]) == 0
    captured = capsys.readouterr()
    assert [line.rpartition(" - ")[2] for line in captured.out.splitlines()][:1] == ["FAILED"]
    assert f"backup {last.id} of 'main': its parent {first.id} is not there" in captured.err
    assert f"its parent {first.id} is not there" in shown(capsys, "show-backup", repository.root, last.id)
    assert facts(capsys, "show-backup", repository.root, last.id)["error"]
    assert main(["verify-backup", repository.root, last.id]) == 1
    assert f"FAILED {first.id}: its parent {first.id} is not there" in capsys.readouterr().out
    assert repository.backups.verified(last.id).problems == ()


def test_verifying_an_incremental_backup_reads_its_own_files_and_names_the_others(repository, chain, capsys):
    full, first, _ = chain
    text = shown(capsys, "verify-backup", repository.root, "latest")
    assert "OK, 5 files in 2 stored files" in text and f"laid over {full.id}, {first.id}" in text
    assert text.splitlines()[1] == (
        f"not read was what it is laid over: walstream verify-backup main {full.id} {first.id}"
    )
    assert facts(capsys, "verify-backup", repository.root, "latest")["chain"] == [each.id for each in chain]


def test_verifying_all_of_a_chain_is_a_line_for_each_backup(repository, chain, capsys):
    full, first, _ = chain
    lines = shown(capsys, "verify-backup", repository.root, "--all").splitlines()
    assert [line.split(": ")[0] for line in lines] == [f"main {each.id}" for each in chain]
    assert lines[2].endswith(f", laid over {full.id}, {first.id}")


def test_a_running_incremental_backup_is_listed_as_one(repository, chain, capsys):
    mark = StartedMark(pid=1, name=None, started=START, parent=chain[-1].id)
    repository.backups.mark_started(OTHER, mark)
    assert shown(capsys, "list-backups", repository.root).startswith(f"main {OTHER} - I - ")
    assert facts(capsys, "show-backup", repository.root, OTHER)["parent_backup_id"] == chain[-1].id


@pytest.mark.parametrize("command", NAMES)
def test_a_backup_that_does_not_exist_is_an_error(command, repository, backups, capsys):
    assert main([command, repository.root, "nonesuch"]) == 1
    assert "there is no backup 'nonesuch'" in capsys.readouterr().err


def test_a_good_backup_is_verified_and_that_is_noted(repository, backups, capsys):
    assert "OK, 5 files in 2 stored files, 2 segments of WAL" in shown(
        capsys, "verify", repository.root, "oldest"
    )
    assert facts(capsys, "show-backup", repository.root, "oldest")["catalog_information"]["verified_time"]


def test_a_damaged_backup_fails_with_every_problem(repository, backups, capsys):
    first, _ = backups
    for archive in (*first.archives, first.manifest):
        flip(file_of(repository, first, archive), -1)
    assert main(["verify-backup", repository.root, "oldest"]) == 1
    captured = capsys.readouterr()
    assert [line.split(":")[0] for line in captured.out.splitlines()] == [
        *("FAILED base.tar.zst", "FAILED backup_manifest.zst"),
    ]
    assert f"backup {first.id} of 'main' has 2 problems" in captured.err
    assert len(repository.backups.verified(first.id).problems) == 2
    assert main(["list-backups", repository.root]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.endswith(" - FAILED") for line in listed if first.id in line] == [True]


def test_the_json_of_a_verification_lists_problems_by_file(repository, backups, capsys):
    os.unlink(file_of(repository, backups[0], backups[0].archives[0]))
    assert main(["verify-backup", repository.root, "oldest", "-f", "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["main"]["verified"] is False
    assert [each["file"] for each in found["main"]["problems"]] == ["base.tar.zst"]
    assert found["_ERROR"] == [f"backup {backups[0].id} of 'main' has 1 problem"]


@pytest.mark.parametrize(
    "words",
    [
        ("--name", ""),
        ("--name", "latest"),
        ("--name", "auto"),
        ("--name", OTHER),
        ("--retry-times", "-1"),
        ("--retry-sleep", "-5"),
        ("--wait-timeout", "nan"),
    ],
)
def test_a_backup_that_makes_no_sense_is_refused_before_anything_is_read(words: tuple[str, str]) -> None:
    assert main(["backup", "main", *words]) == 2


def test_a_suspect_backup_is_shown_with_the_files_in_which_pages_are_bad(repository, capsys):
    bad = tuple(BadFile(f"base/5/{number}", 2) for number in range(1, 8))
    suspect = store_backup(repository, checksum_errors=20, bad_files=bad).id
    text = shown(capsys, "show-backup", repository.root, suspect)
    assert "Suspect                 : 20 bad page checksums in base/5/1 (2), base/5/2 (2), " in text
    assert "base/5/5 (2) and 2 more files" in text and "base/5/6" not in text
    found = facts(capsys, "show-backup", repository.root, suspect)
    assert (found["status"], found["checksum_errors"]) == ("SUSPECT", 20)
    assert found["bad_files"][6] == {"file": "base/5/7", "pages": 2}
    (listed,) = facts(capsys, "list-backups", repository.root)
    assert (listed["status"], listed["bad_files"]) == ("SUSPECT", found["bad_files"])


def test_a_second_verification_reads_only_what_has_changed_unless_everything_is_wanted(
    repository, backups, capsys
):
    verify = ("verify-backup", repository.root, "oldest")
    shown(capsys, *verify)
    assert "OK, unchanged since " in shown(capsys, *verify)
    found = facts(capsys, *verify)
    assert (found["verified"], found["no_of_archives"], found["checked_bytes"]) == (True, 0, 0)
    assert found["wal_unchanged"] and found["files_unchanged_since"]
    os.utime(file_of(repository, backups[0], backups[0].manifest))
    assert "OK, 5 files in 2 stored files, WAL unchanged, " in shown(capsys, *verify)
    assert "OK, 5 files in 2 stored files, 2 segments of WAL, " in shown(capsys, *verify, "--full")


def test_all_backups_are_verified_and_one_that_is_damaged_keeps_no_other_from_it(repository, backups, capsys):
    first, second = backups
    flip(file_of(repository, first, first.archives[0]), -1)
    assert main(["verify-backup", repository.root, "--all"]) == 1
    captured = capsys.readouterr()
    assert f"main {second.id}: OK" in captured.out
    assert f"backup {first.id} of 'main' has 1 problem" in captured.err
    assert f"backup {OTHER} is FAILED: there is nothing to verify" in captured.err
    assert main(["verify-backup", repository.root, first.id, second.id, "-f", "json"]) == 1
    listed = json.loads(capsys.readouterr().out)["main"]
    assert [(each["backup_id"], each["verified"]) for each in listed] == [
        (first.id, False),
        (second.id, True),
    ]


@pytest.mark.parametrize("words", [(), ("--all", "latest")])
def test_it_must_be_said_which_backup_is_to_be_verified(words, repository, capsys):
    assert main(["verify-backup", repository.root, *words]) == 2
