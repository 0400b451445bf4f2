"""One changed byte is found wherever it counts, in made and in real segments, and its place is named."""

from functools import cache
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.values import MB
from support.wal_pages import SYSTEM_IDENTIFIER, real_segment
from support.wal_records import PAGE, WalWriter

from backup.segment_check import Place, SegmentCheck
from catalog.lsn import LSN
from catalog.timeline import History, Switch
from catalog.timeline import Path as Timelines
from catalog.walname import Segment
from catalog.walpage import PageHeader
from catalog.walrecord import RecordReader

ONE = Timelines.of(History(1))


def check(segments, identifier=SYSTEM_IDENTIFIER, path=ONE, before=None, piece=1 << 20):
    """The faults of consecutive segments, each with the number of the segment where it turned out."""
    faults = []
    for number, data in sorted(segments.items()):
        segment = Segment(path.timeline_of(number, MB), number)
        its_path = path if segment.timeline == path.timeline else ONE
        checked = SegmentCheck(Place(segment, MB, identifier, before, its_path))
        for at in range(0, len(data), piece):
            checked.feed(data[at : at + piece])
        result = checked.finish()
        before = result.joint
        faults += [(number, result.fault)] if result.fault else []
    return faults


@cache
def made():
    """Small records, records over pages and over borders of segments, a switch, and one that a crash gave up."""
    wal = WalWriter(MB, 5)
    wal.fill(300_000, most=700)
    wal.add(raw=b"a" * 30_000)
    wal.fill(100_000, most=41)
    wal.abandon(60_000, 2)
    wal.fill(40_000)
    wal.add(raw=b"b" * 1_300_000)
    wal.fill(50_000, most=50)
    wal.switch()
    wal.fill((1 << 20) - 50_000, most=3000)
    wal.switch()
    return wal.segments


@cache
def real(version):
    number = {15: 7, 18: 9}[version]
    data = real_segment(version, f"00000001{number:016X}")
    return {number: data}, PageHeader.parse(data).system_identifier


def extents(segments, identifier):
    """Where the bytes are that count: of headers of pages, and of records; from where to where."""
    reader = RecordReader(MB, identifier)
    found, records = [], []
    for number, data in sorted(segments.items()):
        reader.enter(Segment(1, number))
        records += reader.feed(data)
        for page in range(number << 20, (number + 1) << 20, PAGE):
            if data[page - (number << 20)]:
                found.append((page, page + 20))
                if page % (1 << 20) == 0:
                    found.append((page + 24, page + 40))
    for record in records:
        at, left = record.position.value, record.length
        while left:
            if at % PAGE == 0:
                at += 24 if at % (1 << 20) else 40
            part = min(left, PAGE - at % PAGE)
            found.append((at, at + part))
            at, left = at + part, left - part
    return found


@cache
def subject(name):
    segments, identifier = (made(), SYSTEM_IDENTIFIER) if name == "made" else real(name)
    return segments, identifier, extents(segments, identifier)


@pytest.mark.parametrize("name", ["made", 15, 18])
@pytest.mark.parametrize("piece", [1 << 20, 100_003])
def test_nothing_is_wrong_with_whole_wal(name, piece):
    segments, identifier, _ = subject(name)
    assert check(segments, identifier, piece=piece) == []


@pytest.mark.parametrize("name", ["made", 15, 18])
@settings(max_examples=60, deadline=None)
@given(chance=st.data())
def test_any_changed_byte_that_counts_is_found_and_its_place_named(name, chance):
    segments, identifier, places = subject(name)
    begin, end = chance.draw(st.sampled_from(places))
    at = chance.draw(st.integers(begin, end - 1))
    change = chance.draw(st.integers(1, 255))
    is_flag = at % PAGE == 2
    assume(not is_flag or change & ~4)  # XLP_BKP_REMOVABLE may be there or not
    assume(not (is_flag and at >> 20 == min(segments) and at % (1 << 20) == 2 and change & ~4 == 8))
    changed = bytearray(segments[at >> 20])
    changed[at % (1 << 20)] ^= change
    faults = check({**segments, at >> 20: bytes(changed)}, identifier)
    assert faults
    found_in, fault = faults[0]
    assert found_in >= at >> 20
    # The record or page where it is, or the page behind that does not go on as the header says.
    record = max((b for b, _ in places if b <= at), default=at)
    longest = 1_300_100 if name == "made" else 20_000
    assert record - longest <= fault.position.value <= -(-(at + 1) // PAGE) * PAGE


def branched(most=500):
    """Timeline 2 leaves timeline 1 in the middle of segment 4, with a record about the WAL itself."""
    wal = WalWriter(MB, 3)
    wal.fill((1 << 20) + 50_000, most=most)
    other = wal.copy(timeline=2)
    switch = other.position
    other.add(0, 0x90, main=b"12345678")
    other.fill(1_900_000, most=3000)
    other.switch()
    return other.segments, switch


def path_with(switch):
    return Timelines.of(History(2, (Switch(1, switch),)))


def test_a_timeline_follows_the_one_that_it_left():
    segments, switch = branched()
    assert check(segments, path=path_with(switch)) == []


def test_a_history_whose_position_is_wrong_is_found():
    segments, switch = branched()
    for wrong in (switch + 8, switch + 8 * 1024 * 2, LSN(switch.value - 600)):
        ((number, fault),) = check({n: segments[n] for n in (3, 4)}, path=path_with(wrong))
        assert number == 4
        assert "as its history says" in fault.message or "says timeline" in fault.message


def test_pages_of_a_timeline_that_do_not_belong_there_are_found():
    segments, switch = branched()
    data = bytearray(segments[5])
    data[4] = 1  # of the first page
    ((number, fault),) = check({**segments, 5: bytes(data)}, path=path_with(switch))
    assert (number, fault.position, fault.message) == (
        5,
        LSN(5 << 20),
        "the page of 0/500000 says timeline 1, not 2",
    )


def test_the_chain_is_held_against_what_comes_before():
    segments = made()
    other = WalWriter(MB, 5)
    other.fill(900_000, most=200)
    other.switch()
    faults = check({5: other.segments[5], 6: segments[6]})
    assert [number for number, _ in faults] == [6]


@pytest.mark.parametrize("number", [5, 6, 7, 8])
def test_a_segment_without_the_one_before_it_is_judged_by_itself(number):
    segments = made()
    if number in segments:
        assert check({number: segments[number]}) == []


def partial(data):
    checked = SegmentCheck(Place(Segment(1, 5), MB, SYSTEM_IDENTIFIER, None, ONE, is_partial=True))
    checked.feed(data)
    return checked.finish()


def test_an_incomplete_segment_ends_where_its_records_do_whatever_is_behind():
    wal = WalWriter(MB, 5)
    wal.fill(100_000, most=300)
    data = wal.segments[5]
    old = WalWriter(MB, 2)
    old.fill(1 << 20)
    cut = (wal.position.value - (5 << 20)) // PAGE * PAGE + PAGE
    for tail in (data[cut:], old.segments[2][cut:]):
        result = partial(data[:cut] + tail)
        assert (result.fault, result.end, result.joint) == (None, wal.position, None)
    torn = partial(data[:50_000] + bytes(len(data) - 50_000))
    assert torn.fault is None and LSN(5 << 20) < torn.end <= LSN((5 << 20) + 50_000)


def test_damage_in_the_middle_of_an_incomplete_segment_is_found():
    wal = WalWriter(MB, 5)
    wal.fill(100_000, most=300)
    data = bytearray(wal.segments[5])
    data[50_000] ^= 1
    result = partial(bytes(data))
    assert result.fault is not None and "the WAL goes on at" in result.fault.message
    assert (5 << 20) + 49_000 < result.fault.position.value <= (5 << 20) + 50_000


def test_places_of_faults_rise_with_what_was_changed():
    segments, identifier, _ = subject("made")
    found = []
    for at in (60_000, 200_000, 320_000):
        data = bytearray(segments[5])
        data[at] ^= 0xFF
        found.append(check({**segments, 5: bytes(data)}, identifier)[0][1].position)
    assert all(a < b for a, b in pairwise(found))
