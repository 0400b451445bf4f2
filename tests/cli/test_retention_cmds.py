"""``expire``, ``delete`` and ``keep``, on repositories made without a server."""

import json
import os
from datetime import timedelta

import pytest
from support.configurations import write
from support.repositories import new_repository, store_backup, store_wal

from catalog.lock import Lock
from walstream.cli import main

DAY = timedelta(days=1)


@pytest.fixture
def config(tmp_path):
    new = new_repository(tmp_path / "home" / "main")
    for day, first in enumerate((3, 7, 11)):
        store_backup(new, after=day * DAY, first=first, last=first + 1)
    store_wal(new, range(1, 15))
    text = f"""
        [walstream]
        walstream_home = {tmp_path}/home
        [main]
        conninfo = host=nowhere
        retention_policy = REDUNDANCY 2
        minimum_redundancy = 1
    """
    return write(tmp_path, text)


def run(capsys, config, *words, code=0):
    assert main(["-c", config, *words]) == code
    return capsys.readouterr()


def facts(capsys, config, *words):
    return json.loads(run(capsys, config, *words, "-f", "json").out)["main"]


def test_a_dry_run_says_what_happens_to_each_and_why_and_does_nothing(config, capsys):
    said = run(capsys, config, "expire", "main", "--dry-run").out
    assert "main: REDUNDANCY 2, minimum_redundancy 1" in said
    assert "goes         20260131T120000 OBSOLETE: the 2 that are wanted are newer" in said
    assert "stays        20260201T120000 VALID: 1 newer one counts, 2 are wanted" in said
    assert "WAL goes     6 segments: 000000010000000000000001 to 000000010000000000000006" in said
    assert "(backup 20260131T120000) to the end of segment 00000001000000000000000E" in said
    found = facts(capsys, config, "expire", "main", "--dry-run")
    assert [each["goes"] for each in found["backups"]] == [False, False, True]
    assert found["recoverable_after"][0]["backup_id"] == "20260201T120000"
    assert len(facts(capsys, config, "list-backups", "main")) == 3


def test_listings_show_what_is_obsolete_and_what_is_kept(config, capsys):
    run(capsys, config, "keep", "main", "latest", "--target", "standalone")
    lines = run(capsys, config, "list-backups", "main").out.splitlines()
    assert lines[0].endswith(" - KEEP:STANDALONE") and lines[2].endswith(" - OBSOLETE")
    found = facts(capsys, config, "list-backups", "main")
    assert [each["retention_status"] for each in found] == ["KEEP:STANDALONE", "VALID", "OBSOLETE"]
    shown = run(capsys, config, "show-backup", "main", "oldest").out
    assert "Retention Policy        : OBSOLETE (the 2 that are wanted are newer)" in shown


def test_expire_removes_and_says_so(config, capsys):
    found = facts(capsys, config, "expire", "main")
    assert found["removed_wal_files"] == 6 and found["removed_wal_bytes"] > 0
    assert [each["backup_id"] for each in facts(capsys, config, "list-backups", "main")] == [
        "20260202T120000",
        "20260201T120000",
    ]


def test_keep_is_set_shown_and_released(config, capsys):
    assert run(capsys, config, "keep", "main", "oldest", "--status").out == "Keep: nokeep\n"
    assert run(capsys, config, "keep", "main", "oldest", "--target", "full").out == "Keep: full\n"
    refused = run(capsys, config, "delete", "main", "oldest", code=2).err
    assert "is kept (full)" in refused and "--release" in refused
    assert run(capsys, config, "keep", "main", "oldest", "-r").out == "Keep: nokeep\n"
    assert "removed      1 backup, 6 WAL files" in run(capsys, config, "delete", "main", "oldest").out


def test_keeping_with_all_wal_says_when_some_is_gone_already(config, capsys):
    run(capsys, config, "keep", "main", "oldest", "--target", "standalone")
    run(capsys, config, "expire", "main")
    said = run(capsys, config, "keep", "main", "oldest", "--target", "full")
    assert said.out == "Keep: full\n"
    assert "is missing already: 000000010000000000000005 to 000000010000000000000006" in said.err


def test_the_last_backup_can_be_removed_only_below_no_minimum(config, capsys, tmp_path):
    run(capsys, config, "delete", "main", "oldest")
    run(capsys, config, "delete", "main", "oldest")
    assert "minimum_redundancy is 1" in run(capsys, config, "delete", "main", "oldest", code=2).err
    text = (tmp_path / "walstream.conf").read_text().replace("minimum_redundancy = 1", "")
    (tmp_path / "walstream.conf").write_text(text)
    done = run(capsys, config, "delete", "main", "oldest")
    assert "0 WAL files" in done.out and "no backup of 'main' can be restored any more" in done.err


def test_without_a_policy_nothing_expires(config, capsys, tmp_path):
    text = (tmp_path / "walstream.conf").read_text().replace("retention_policy = REDUNDANCY 2", "")
    (tmp_path / "walstream.conf").write_text(text)
    assert "has no retention_policy" in run(capsys, config, "expire", "main", code=2).err
    run(capsys, config, "expire", "all")
    assert {each["retention_status"] for each in facts(capsys, config, "list-backups", "main")} == {"-"}


@pytest.mark.parametrize("words", [("expire", "main"), ("delete", "main", "oldest")])
def test_while_a_backup_runs_nothing_is_removed(config, capsys, tmp_path, words):
    with Lock(str(tmp_path / "home/main/lock/backup"), "taking a backup"):
        assert "is taking or removing backups of 'main'" in run(capsys, config, *words, code=1).err
    assert len(facts(capsys, config, "list-backups", "main")) == 3


def test_a_server_given_as_a_path_is_not_removed_from(config, capsys, tmp_path):
    for words in (("expire",), ("delete", "oldest")):
        run(capsys, config, words[0], str(tmp_path / "home" / "main"), *words[1:], code=2)
    assert len(facts(capsys, config, "list-backups", "main")) == 3


@pytest.mark.parametrize("words", [("delete", "main", "oldest"), ("expire", "main")])
def test_a_script_that_forbids_the_removal_of_wal_does_not_hide_that_the_backup_is_gone(
    config, capsys, words
):
    with open(config, "a", encoding="utf-8") as file:
        file.write("pre_wal_delete_script = exit 1\n")
    said = run(capsys, config, *words, "-f", "json", code=1)
    assert (
        "removed before it: 20260131T120000; until the next time the WAL that no backup needs stays"
        in said.err
    )
    document = json.loads(said.out)
    assert document["main"]["removed_backups"] == ["20260131T120000"]
    assert "removed_wal_files" not in document["main"] and "pre_wal_delete_script" in document["_ERROR"][0]


def test_a_restore_of_an_obsolete_backup_says_that_it_may_go_and_how_to_keep_it(config, capsys, tmp_path):
    (tmp_path / "dest").mkdir()
    words = [str(tmp_path / "dest"), "--no-scan", *(("--owner", "0") if os.geteuid() == 0 else ())]
    said = run(capsys, config, "restore", "main", "oldest", *words, "--dry-run").err
    assert "backup 20260131T120000 is OBSOLETE by the retention policy" in said
    assert "keep it first: walstream keep main 20260131T120000 --target full" in said
    assert "OBSOLETE" not in run(capsys, config, "restore", "main", "latest", *words, "--dry-run").err
    repository = str(tmp_path / "home" / "main")
    assert "OBSOLETE" not in run(capsys, config, "restore", repository, "oldest", *words, "--dry-run").err
    run(capsys, config, "keep", "main", "oldest", "--target", "full")
    assert "OBSOLETE" not in run(capsys, config, "restore", "main", "oldest", *words, "--dry-run").err
