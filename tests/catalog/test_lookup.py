import pytest
from support.values import record

from catalog.errors import Absent
from catalog.lookup import find_backup

FULL = record(2, name="monday")
CHANGED = record(4, 5, type="incremental", parent=FULL.id)
NEWER = record(6, 7, name="monday")
LAST = record(8, 9, type="incremental", parent=NEWER.id, name="latest")
RECORDS = [FULL, CHANGED, NEWER, LAST]
FAILED = ["20260130T000000", "20260131T235959"]


@pytest.mark.parametrize(
    "word, found",
    [
        (CHANGED.id, CHANGED.id),
        (FAILED[0], FAILED[0]),
        ("latest", LAST.id),  # the word, though a backup is called that
        ("last", LAST.id),
        ("oldest", FULL.id),
        ("first", FULL.id),
        ("latest-full", NEWER.id),
        ("last-full", NEWER.id),
        ("last-failed", FAILED[1]),
        ("monday", NEWER.id),
    ],
)
def test_a_backup_is_found_by_id_by_word_and_by_name(word, found):
    assert find_backup(word, RECORDS, FAILED) == found


@pytest.mark.parametrize("word", ["tuesday", "", "LATEST", FULL.id[:-1]])
def test_what_nothing_is_called_is_absent(word):
    with pytest.raises(Absent) as caught:
        find_backup(word, RECORDS, FAILED)
    assert "list-backups" in caught.value.hint


@pytest.mark.parametrize("word", ["latest", "oldest", "latest-full", "last-failed", "first", "last"])
def test_of_no_backups_there_is_no_latest(word):
    with pytest.raises(Absent, match=f"no '{word}' backup"):
        find_backup(word, [], [])


def test_a_chain_whose_full_backup_is_gone_has_no_latest_full():
    with pytest.raises(Absent):
        find_backup("latest-full", [CHANGED], [])


def test_a_word_passes_over_a_backup_with_bad_page_checksums():
    suspect = record(10, 11, checksum_errors=1)
    assert find_backup("latest", [*RECORDS, suspect], FAILED) == LAST.id
    assert find_backup(suspect.id, [*RECORDS, suspect], FAILED) == suspect.id
    with pytest.raises(Absent):
        find_backup("oldest", [suspect], [])
