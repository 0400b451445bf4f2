import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cuts import ways
from support.values import MB, START, lsns
from support.wal_records import PAGE, WalWriter

from catalog.commits import PointFilter, SegmentFacts, from_document, summed_up, telling, to_document
from catalog.errors import Malformed
from catalog.lsn import LSN
from catalog.recordtypes import Ending, RestorePoint, Running
from catalog.walname import Segment
from catalog.walrecord import RecordReader

numbers = st.integers(0, (1 << 32) - 1)
times = st.integers(-(1 << 62), 1 << 62)
endings = st.builds(Ending, lsns, lsns, numbers, times, st.booleans(), st.just(()))
points = st.builds(RestorePoint, lsns, lsns, st.text(max_size=63), times)
lists = st.builds(Running, lsns, numbers, numbers)


def may_hold(data, cuts=None):
    points = PointFilter()
    for piece in cuts or [data]:
        points.feed(piece)
    return points.may_hold()


def test_facts_are_of_the_first_and_last_and_latest():
    found = [
        Ending(LSN(1), LSN(2), 7, 500, True),
        Running(LSN(3), 9, 8),
        Ending(LSN(4), LSN(5), 8, 900, False),
        RestorePoint(LSN(6), LSN(7), "p", 600),
        Ending(LSN(8), LSN(9), 9, 700, True),
        Running(LSN(10), 11, 10),
    ]
    assert summed_up(found, LSN(11), None) == SegmentFacts(
        2, 1, found[0], found[4], 900, (found[3],), found[1], found[5], LSN(11)
    )


def test_a_segment_without_anything_has_facts_too():
    assert summed_up([], LSN(5), "it ends") == SegmentFacts(
        0, 0, None, None, None, (), None, None, LSN(5), "it ends"
    )


@given(st.lists(endings | points | lists, max_size=6), lsns, st.none() | st.text(max_size=5))
def test_facts_are_the_same_after_writing_and_reading_them(found, end, ended):
    facts = summed_up(found, end, ended)
    assert from_document(to_document(facts)) == facts


def test_of_subtransactions_nothing_is_kept():
    ending = Ending(LSN(1), LSN(2), 7, 500, True, (8, 9))
    facts = summed_up([ending], LSN(3), None)
    kept = ending._replace(subxids=())
    assert from_document(to_document(facts)) == replace(facts, first=kept, last=kept)


@pytest.mark.parametrize("key", ["commits", "first", "points", "last_running", "end", "ended"])
@pytest.mark.parametrize("value", ["lost", [1], [[1, 2]], {"a": 1}, -1, None])
def test_a_damaged_document_is_refused_or_read(key, value):
    whole = to_document(summed_up([Ending(LSN(1), LSN(2), 7, 500, True)], LSN(3), None))
    for document in ({**whole, key: value}, {k: v for k, v in whole.items() if k != key}, value):
        try:
            assert isinstance(from_document(document), SegmentFacts)
        except Malformed:
            pass
    with pytest.raises(Malformed):
        from_document({k: v for k, v in whole.items() if k != key})


@pytest.mark.parametrize("before", [0, *range(PAGE - 400, PAGE, 8), PAGE])
def test_a_segment_with_a_restore_point_is_never_passed_over(before):
    """Wherever it lies, over pages too."""
    wal = WalWriter(MB, 3)
    wal.add(raw=b"\0" * before)
    wal.restore_point("p", START)
    data = wal.segments[3]
    assert may_hold(data)
    assert all(
        may_hold(data, cuts) for number, cuts in enumerate(ways(data[: 4 * PAGE], rounds=2)) if number != 1
    )


def test_a_restore_point_of_a_subtransaction_is_not_passed_over_either():
    wal = WalWriter(MB, 3)
    main = struct.pack("<q64s", 0, b"p")
    wal.add(0, 0x70, raw=b"\xfc" + struct.pack("<I", 700) + b"\xff\x48" + main)
    assert may_hold(wal.segments[3])


@pytest.mark.parametrize("left", [8, 16, 24, 32, 64, 96])
def test_a_restore_point_that_goes_on_in_the_next_segment_is_not_passed_over(left):
    wal = WalWriter(MB, 3)
    wal.fill((1 << 20) - 8000)
    wal.add(raw=b"\0" * ((4 << 20) - left - wal.at - 24))
    assert wal.at == (4 << 20) - left
    wal.restore_point("p", START)
    assert may_hold(wal.segments[3])


def test_a_segment_of_other_records_is_passed_over():
    wal = WalWriter(MB, 3)
    wal.fill((1 << 20) - 8000, most=300)
    for number in range(20):
        wal.commit(number, START)
    assert not may_hold(wal.segments[3])


def test_what_a_record_says_is_told_by_its_kind():
    wal = WalWriter(MB, 3)
    wal.fill(1000, most=100)
    wal.commit(7, START)
    wal.restore_point("p", START)
    wal.running(9, 8)
    reader = RecordReader(MB, 7711084784289903658)
    reader.enter(Segment(1, 3))
    found = [telling(each, 15) for each in reader.feed(wal.segments[3])]
    assert [type(each) for each in found if each is not None] == [Ending, RestorePoint, Running]
