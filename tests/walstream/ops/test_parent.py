"""Which backup an incremental one may be based on."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from support.repositories import START, file_of, new_repository, store_backup, truncate

from catalog.errors import Absent, BackupFailed
from catalog.lsn import LSN
from catalog.marks import FailedMark
from catalog.timeline import History, Switch
from walstream.ops.parent import find_parent

NOW = History(1, ())


@pytest.fixture
def repository(tmp_path):
    return new_repository(tmp_path / "main")


@pytest.fixture
def full(repository):
    return store_backup(repository, first=2, last=3, name="monday")


@pytest.fixture
def changed(repository, full):
    return store_backup(
        repository, after=timedelta(days=1), first=5, last=5, type="incremental", parent=full.id
    )


def refusal(word, repository, history=NOW):
    with pytest.raises(BackupFailed) as caught:
        find_parent(word, repository, history, True)
    assert "full backup" in caught.value.hint
    return str(caught.value)


def test_it_is_found_by_id_name_and_word(repository, full, changed):
    assert find_parent("latest", repository, NOW, True) == changed
    assert (
        find_parent("latest-full", repository, NOW, True)
        == find_parent("monday", repository, NOW, True)
        == full
    )
    assert find_parent(changed.id, repository, NOW, True) == changed


def test_its_wal_is_not_asked_for(repository, full):
    assert list(repository.wal.names()) == []
    assert find_parent("latest", repository, NOW, True) == full


def test_one_that_is_gone_or_has_failed_is_absent(repository, full):
    shutil.rmtree(Path(repository.root, "base", full.id))
    with pytest.raises(Absent):
        find_parent(full.id, repository, NOW, True)
    repository.backups.fail(full.id, FailedMark(started=START, ended=START, error="no room", hint=None))
    with pytest.raises(Absent, match="no room"):
        find_parent(full.id, repository, NOW, True)
    with pytest.raises(Absent):
        find_parent("latest", repository, NOW, True)


def test_one_whose_files_or_parents_are_not_whole_is_refused(repository, full, changed):
    truncate(file_of(repository, full, full.manifest))
    assert "'backup_manifest.zst' has" in refusal(full.id, repository)
    assert f"its parent {full.id} is damaged" in refusal("latest", repository)
    shutil.rmtree(Path(repository.root, "base", full.id))
    assert f"its parent {full.id} is not there" in refusal("latest", repository)


def test_a_suspect_one_is_refused_and_so_is_one_that_is_based_on_it(repository):
    suspect = store_backup(repository, checksum_errors=1)
    child = store_backup(
        repository, after=timedelta(days=1), first=5, last=5, type="incremental", parent=suspect.id
    )
    for backup_id in (suspect.id, child.id):
        assert "SUSPECT" in refusal(backup_id, repository)


def test_one_of_another_cluster_is_refused(repository):
    other = store_backup(repository, system_identifier=7)
    assert "system identifier 7" in refusal(other.id, repository)


def test_one_that_ended_behind_the_point_where_the_server_s_timeline_branched_off_is_refused(
    repository, full
):
    end = full.end.lsn.value
    assert find_parent(full.id, repository, History(2, (Switch(1, LSN(end), ""),)), True) == full
    history = History(2, (Switch(1, LSN(end - 1), "no recovery target specified"),))
    assert "the server, on timeline 2, went another way" in refusal(full.id, repository, history)


def test_one_from_before_page_checksums_were_switched_on_is_refused(repository):
    bare = store_backup(repository, data_checksums=False)
    assert "page checksums were switched on since" in refusal(bare.id, repository)
    assert find_parent(bare.id, repository, NOW, False) == bare
