"""The log over a repository: what is read of it, wherever it lies, and what is kept."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.filed_wal import name, new_repository, store
from support.repositories import flip
from support.values import MB, START
from support.wal_pages import SYSTEM_IDENTIFIER
from support.wal_records import WalWriter

from backup.wal_log import StoredWal
from catalog.commits import telling
from catalog.errors import StorageError
from catalog.lsn import LSN
from catalog.timeline import History, Switch
from catalog.timeline import Path as Timelines
from catalog.walname import Segment
from catalog.walrecord import RecordReader

ONE = Timelines.of(History(1))


def made(seed=0):
    """WAL of four segments and a half, with something to tell in all of it and records over each boundary."""
    wal = WalWriter(MB, 3)
    for number in range(90):
        wal.commit(100 + number, START)
        wal.fill(48_000, most=47_000 + seed)
        if number % 10 == 5:
            wal.restore_point(f"p{number}", START)
            wal.running(101 + number, 101 + number)
    return wal


@pytest.fixture
def repository(tmp_path):
    return new_repository(tmp_path / "main")


def stored(repository, wal, codec="none", **names):
    segments = wal.segments
    store(repository, {name(number): data for number, data in list(segments.items())[:-1]}, codec)
    last = max(segments)
    spool = Path(repository.root, "streaming")
    spool.mkdir(exist_ok=True)
    Path(repository.root, "state").mkdir(exist_ok=True)
    (spool / f"{name(last)}.partial").write_bytes(segments[last])
    return last


def log(repository, last, first=3, path=ONE, **options):
    wal = StoredWal(repository, repository.root, **{"partial": True} | options)
    return wal, wal.along(path, first, last, "20260131T120000")


def continuous(wal):
    """What one reader says that goes through all of it, by segment of the beginning."""
    reader = RecordReader(MB, SYSTEM_IDENTIFIER)
    found = {}
    for number, data in wal.segments.items():
        reader.enter(Segment(1, number))
        for record in reader.feed(data):
            if (each := telling(record, 15)) is not None:
                found.setdefault(MB.number_at(record.position), []).append(each)
    return found, reader.end


@pytest.mark.parametrize("codec", ["none", "zstd", "lz4", "gzip"])
def test_each_segment_says_what_a_reader_of_all_wal_finds_in_it(repository, codec):
    wal = made()
    _, found = log(repository, stored(repository, wal, codec))
    expected, end = continuous(wal)
    assert {number: found.telling(number) for number in range(3, found.last + 1)} == expected
    assert found.facts(found.last).end == end
    assert {n: list(found.points(n)) for n in expected} == {
        n: [each for each in all_ if hasattr(each, "name")] for n, all_ in expected.items()
    }
    assert all(found.first_ending(n) == found.facts(n).first for n in expected)


@settings(max_examples=20)
@given(st.integers(1, 3000))
def test_records_over_boundaries_count_where_they_begin(tmp_path_factory, seed):
    """However they lie; the second look, at what was kept, says the same."""
    repository = new_repository(tmp_path_factory.mktemp("wal") / "main")
    wal = made(seed)
    last = stored(repository, wal)
    expected, _ = continuous(wal)
    for _ in range(2):
        source, found = log(repository, last)
        facts = [found.facts(number) for number in range(3, last + 1)]
        assert [each.ended is None for each in facts] == [True] * (last - 3) + [False]
        assert sum(each.commits for each in facts) == 90
        assert [each.first for each in facts] == [
            next(each for each in expected[n] if hasattr(each, "xid")) for n in range(3, last + 1)
        ]
        source.save()


def test_only_whole_segments_of_the_archive_are_kept_and_they_are_not_read_again(repository):
    last = stored(repository, made())
    source, found = log(repository, last)
    before = [found.facts(number) for number in range(3, last + 1)]
    source.save()
    for number in range(3, last):
        path = Path(repository.storage.path(repository.wal.find(name(number))[0]))
        path.write_bytes(bytes(path.stat().st_size))
    _, again = log(repository, last)
    # The last but one goes on in the partial segment, which will change.
    assert [again.facts(number) for number in range(3, last - 1)] == before[:-2]
    assert again.facts(last - 1) != before[-2]


def test_a_file_of_another_size_is_read_again(repository):
    last = stored(repository, made(), "zstd")
    source, found = log(repository, last)
    whole = found.facts(3)
    source.save()
    key, _ = repository.wal.find(name(3))
    os.truncate(repository.storage.path(key), 1000)
    _, again = log(repository, last)
    assert again.facts(3).ended is not None and again.facts(3) != whole


@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_damage_ends_the_log_where_it_is_and_is_not_kept(repository, codec):
    last = stored(repository, made(), codec)
    key, _ = repository.wal.find(name(4))
    flip(repository.storage.path(key), 500_000 if codec == "none" else -100)
    source, found = log(repository, last)
    assert found.facts(3).ended is None
    assert found.facts(4).ended is not None
    assert LSN(4 << 20) <= found.facts(4).end < LSN(5 << 20)
    source.save()
    flip(repository.storage.path(key), 500_000 if codec == "none" else -100)
    assert log(repository, last)[1].facts(4).ended is None


def test_a_segment_that_is_not_there_ends_the_log(repository):
    last = stored(repository, made())
    _, found = log(repository, last + 1)
    assert "is not in" in found.facts(last + 1).ended
    _, without = log(repository, last, partial=False)
    assert "is not in" in without.facts(last).ended
    assert without.record_behind(LSN(last << 20)) is None


def test_a_repository_that_cannot_be_read_is_trouble_and_no_answer(repository):
    last = stored(repository, made())
    os.rename(repository.root, f"{repository.root}-unmounted")
    _, found = log(repository, last)
    with pytest.raises(StorageError):
        found.facts(3)
    with pytest.raises(StorageError):
        found.points(3)


def test_the_first_record_at_or_behind_a_position_is_found_in_its_segment(repository):
    wal = made()
    last = stored(repository, wal)
    _, found = log(repository, last)
    reader = RecordReader(MB, SYSTEM_IDENTIFIER)
    records = []
    for number, data in wal.segments.items():
        reader.enter(Segment(1, number))
        records += reader.feed(data)
    for each in records[:: len(records) // 40]:
        for position in (each.position, each.position + 1):
            first = next((r for r in records if r.position >= position), None)
            end = found.record_behind(position)
            if first is None:
                assert end is None
            else:
                assert end >= first.end and MB.number_before(end) == MB.number_before(first.end)
    assert found.record_behind(records[-1].position + 1) is None
    assert found.last_record() == records[-1].position
    assert log(repository, last - 1)[1].last_record() == max(
        each.position for each in records if each.end <= LSN(last << 20)
    )
    assert log(repository, last + 1)[1].last_record() == records[-1].position


def test_along_a_path_the_newer_timeline_s_copy_counts(repository):
    wal = WalWriter(MB, 3)
    wal.commit(10, START)
    wal.fill((1 << 20) + 100_000)
    switch = wal.position
    newer = wal.copy(timeline=2)
    wal.commit(11, START)
    newer.commit(12, START)
    store(repository, {name(n): data for n, data in wal.segments.items()})
    store(repository, {name(4, 2): newer.segments[4]})
    path = Timelines.of(History(2, (Switch(1, switch),)))
    assert [each.xid for n in (3, 4) for each in log(repository, 4, path=path)[1].telling(n)] == [10, 12]
    assert [each.xid for n in (3, 4) for each in log(repository, 4)[1].telling(n)] == [10, 11]


def test_behind_a_switch_there_is_no_record_until_the_next_segment_has_one(repository):
    wal = WalWriter(MB, 3)
    wal.commit(10, START)
    wal.switch()
    store(repository, {name(3): wal.segments[3]})
    assert log(repository, 3)[1].record_behind(LSN((3 << 20) + 100_000)) is None
    wal.commit(11, START)
    store(repository, {name(4): wal.segments[4]})
    assert MB.number_before(log(repository, 4)[1].record_behind(LSN((3 << 20) + 100_000))) == 4
