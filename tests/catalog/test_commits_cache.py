import json
import os

import pytest

from catalog.commits import summed_up
from catalog.commits_cache import CommitsCache, StoredFile
from catalog.lsn import LSN
from catalog.recordtypes import Ending

SEGMENT = "000000010000000000000003"
FILE = StoredFile(f"{SEGMENT}.zst", 4711)
BEHIND = StoredFile("000000010000000000000004.zst", 815)
FACTS = summed_up([Ending(LSN(1), LSN(2), 7, 500, True)], LSN(3), None)


@pytest.fixture
def home(tmp_path):
    (tmp_path / "state").mkdir()
    return str(tmp_path)


def kept(home, behind=None):
    cache = CommitsCache(home)
    cache.keep(SEGMENT, FILE, behind, FACTS)
    cache.save([SEGMENT[:16]])
    return os.path.join(home, "state", "commits", "0000000100000000.json")


def test_what_was_kept_is_found_by_the_next_one(home):
    assert CommitsCache(home).facts(SEGMENT, FILE, None) is None
    kept(home)
    assert CommitsCache(home).facts(SEGMENT, FILE, None) == FACTS
    assert CommitsCache(home).facts(SEGMENT, FILE, BEHIND) == FACTS


@pytest.mark.parametrize("other", [FILE._replace(size=4712), FILE._replace(name=SEGMENT)])
def test_nothing_is_believed_when_the_file_is_another_one(home, other):
    kept(home)
    assert CommitsCache(home).facts(SEGMENT, other, None) is None


def test_nothing_is_believed_when_the_segment_behind_that_was_needed_is_another_one(home):
    kept(home, BEHIND)
    assert CommitsCache(home).facts(SEGMENT, FILE, BEHIND) == FACTS
    assert CommitsCache(home).facts(SEGMENT, FILE, BEHIND._replace(size=1)) is None
    assert CommitsCache(home).facts(SEGMENT, FILE, None) is None


def test_that_there_are_no_restore_points_is_kept_as_well(home):
    cache = CommitsCache(home)
    assert not cache.has_no_points(SEGMENT, FILE)
    cache.keep_no_points(SEGMENT, FILE)
    cache.save([SEGMENT[:16]])
    again = CommitsCache(home)
    assert again.has_no_points(SEGMENT, FILE)
    assert not again.has_no_points(SEGMENT, FILE._replace(size=1))
    assert again.facts(SEGMENT, FILE, None) is None


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b'{"format": 1, "segments": []}',
        b'{"format": 2, "segments": {}}',
        b"\xff",
        b"[" * 99999,
    ],
)
def test_a_damaged_file_counts_as_empty_and_is_replaced(home, damage):
    path = kept(home)
    with open(path, "wb") as file:
        file.write(damage)
    assert CommitsCache(home).facts(SEGMENT, FILE, None) is None
    kept(home)
    assert CommitsCache(home).facts(SEGMENT, FILE, None) == FACTS


@pytest.mark.parametrize(
    "damage", [None, [], "text", {}, {"file": list(FILE)}, {"file": list(FILE), "facts": {}}]
)
def test_a_damaged_entry_counts_as_none(home, damage):
    path = kept(home)
    with open(path, "w") as file:
        json.dump({"format": 1, "segments": {SEGMENT: damage}}, file)
    assert CommitsCache(home).facts(SEGMENT, FILE, None) is None
    assert not CommitsCache(home).has_no_points(SEGMENT, FILE)


def test_without_a_state_directory_nothing_is_written(tmp_path):
    cache = CommitsCache(str(tmp_path))
    cache.keep(SEGMENT, FILE, None, FACTS)
    cache.save([SEGMENT[:16]])
    assert os.listdir(tmp_path) == []
    assert cache.facts(SEGMENT, FILE, None) == FACTS


def test_that_it_cannot_be_written_is_no_trouble(home):
    with open(os.path.join(home, "state", "commits"), "w") as in_the_way:
        in_the_way.write("not a directory")
    cache = CommitsCache(home)
    cache.keep(SEGMENT, FILE, None, FACTS)
    cache.save([SEGMENT[:16]])
    assert cache.facts(SEGMENT, FILE, None) == FACTS


def test_what_is_known_of_directories_that_are_gone_is_forgotten(home):
    path = kept(home)
    leftover = f"{path}.walstream-tmp.1-00"
    with open(leftover, "w") as file:
        file.write("of a killed writer")
    cache = CommitsCache(home)
    cache.keep("000000010000000100000003", FILE, None, FACTS)
    cache.save(["0000000100000001"])
    assert os.listdir(os.path.dirname(path)) == ["0000000100000001.json"]
