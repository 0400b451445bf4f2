"""What is looked at of an archive that is years old: counted on the storage, as no test may tell by time."""

import os
import tracemalloc
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from benchmarks.large import SIZE, Large, make
from catalog import layout
from catalog.backups import BackupShelf
from catalog.inventory import Inventory
from catalog.local_storage import LocalStorage
from catalog.retention import RetentionPolicy
from catalog.usage import wal_usage
from catalog.wal import WalShelf
from catalog.walname import Segment
from walstream.ops.details import details
from walstream.ops.expire import plan_expiry
from walstream.ops.held_wal import held_wal
from walstream.ops.listing import list_backups
from walstream.ops.retain import Rules
from walstream.ops.stored_files import FULL, stored_files

LARGE = Large(backups=3, segments=6000, now=datetime(2026, 1, 31, 12, tzinfo=UTC))
LATER = LARGE.now.timestamp() + 86400
DIRECTORIES = 25  # two of them for the segments around the switch


class CountingStorage(LocalStorage):
    """Counts by directory how often it was listed, its files looked at, and by key how often it was read."""

    def __init__(self, root):
        super().__init__(root)
        self.listed, self.looked, self.documents = Counter(), Counter(), Counter()

    def names(self, directory):
        self.listed[directory] += 1
        return super().names(directory)

    def sizes(self, directory):
        self.looked[directory] += 1
        return super().sizes(directory)

    def read(self, key):
        self.documents[key] += 1
        return super().read(key)

    def of_wal(self, counted):
        """How often that was done to each directory of segments."""
        return {each: n for each, n in counted.items() if each.startswith(f"{layout.WALS}/")}


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    repository = make(tmp_path_factory.mktemp("large") / "main", LARGE)
    assert len(repository.wal.directories()) == DIRECTORIES
    wal_usage(repository.storage, os.path.join(repository.root, layout.STATE), LATER)  # sizes are remembered
    return repository


@pytest.fixture
def repository(large):
    storage = CountingStorage(large.root)
    return replace(large, storage=storage, wal=WalShelf(storage), backups=BackupShelf(storage))


def below(*numbers):
    """The directories in which these segments lie."""
    return {f"{layout.WALS}/{LARGE.name(number)[:16]}" for number in numbers}


def spans(repository):
    records = repository.backups.records()
    return {each for r in records for each in below(r.first_segment.number, r.last_segment.number)}


def test_a_listing_of_backups_reads_each_document_once_and_only_directories_with_their_wal(repository, large):
    near = spans(large)
    found = list_backups(repository, repository.root, LATER)
    assert [each.status.word for each in found.backups] == ["DONE"] * 3
    assert max(repository.storage.documents.values()) == 1
    # Of the switch's segments there are two directories, one on each timeline.
    assert repository.storage.of_wal(repository.storage.listed) == dict.fromkeys(near, 1)
    assert repository.storage.of_wal(repository.storage.looked) == dict.fromkeys(near, 1)


def test_the_details_of_a_backup_look_at_no_directory_behind_the_next_one(repository):
    found = list_backups(repository, repository.root, LATER)
    before = repository.storage.of_wal(repository.storage.looked)
    shown = details(found.records[0], found, repository)
    assert shown.wal.last == LARGE.name(found.records[1].last_segment.number)
    assert repository.storage.of_wal(repository.storage.looked) == before


def test_a_plan_of_what_expires_lists_the_archive_once_and_looks_at_no_segment(repository, large):
    near = spans(large)
    rules = Rules(RetentionPolicy.parse("REDUNDANCY 1"), 1)
    plan = plan_expiry(repository, repository.root, rules)
    assert len(plan.survey.backups) == 3
    assert max(repository.storage.documents.values()) == 1
    listed = repository.storage.of_wal(repository.storage.listed)
    assert len(listed) == DIRECTORIES
    # Those of the backups' own WAL were listed before, to tell which backups are restorable.
    assert {each for each, n in listed.items() if n > 1} == near and max(listed.values()) == 2
    assert not repository.storage.of_wal(repository.storage.looked)


def test_what_check_and_status_rest_on_lists_the_archive_once(repository):
    held = held_wal(repository, repository.root)
    assert not held.problems and not held.missing
    assert repository.storage.of_wal(repository.storage.listed) == dict.fromkeys(
        (f"{layout.WALS}/{each}" for each in repository.wal.directories()), 1
    )
    assert not repository.storage.of_wal(repository.storage.looked)


def test_the_files_of_a_backup_are_listed_from_where_they_lie_without_opening_one(repository, large):
    holdings = list_backups(large, large.root, LATER).survey.holdings
    first, second = holdings.records[:2]
    files = stored_files(repository, first, holdings, FULL)
    wal = [each for each in files if f"/{layout.WALS}/" in each and not each.endswith(".history")]
    assert len(wal) == second.first_segment.number - first.first_segment.number
    between = below(*range(first.first_segment.number, second.first_segment.number))
    assert repository.storage.of_wal(repository.storage.listed) == dict.fromkeys(between, 1)
    assert not repository.storage.documents


def test_an_inventory_keeps_the_names_of_one_directory_in_memory():
    names = (Segment(1, number).name(SIZE) for number in range(1, 50_000))
    tracemalloc.start()
    try:
        found = Inventory.from_names(names, SIZE)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [len(run) for run in found.spans(1)] == [49_999]
    assert peak < 500_000  # a name takes more than 70 bytes
