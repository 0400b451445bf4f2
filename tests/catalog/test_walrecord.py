"""Records: of real segments, of made ones, and never one of damaged bytes."""

import struct
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cuts import ways
from support.values import MB
from support.wal_pages import SYSTEM_IDENTIFIER, real_segment
from support.wal_records import PAGE, WalWriter

from catalog import walrecord, walrecord_part
from catalog.errors import Malformed
from catalog.lsn import LSN
from catalog.walname import Segment
from catalog.walpage import PageHeader
from catalog.walrecord import RecordReader
from catalog.walrecord_part import Joint

REAL = {15: 7, 18: 9}


def read(segments, pieces=lambda data: [data], first=None, timeline=1, identifier=SYSTEM_IDENTIFIER):
    """The records of segments by number, from the first or another one on, and the reader."""
    reader = RecordReader(MB, identifier)
    found = []
    for number in sorted(segments):
        if first is None or number >= first:
            reader.enter(Segment(timeline, number))
            for piece in pieces(segments[number]):
                found += reader.feed(piece)
    return found, reader


@cache
def real(version):
    data = real_segment(version, f"00000001{REAL[version]:016X}")
    return data, PageHeader.parse(data).system_identifier


def made():
    """Three segments: small records, one over pages, one over all of a segment and two boundaries."""
    wal = WalWriter(MB, 5)
    wal.fill(200_000, most=300)
    wal.add(raw=b"a" * 30_000)
    wal.fill(700_000)
    wal.add(raw=b"b" * (1_300_000))
    wal.fill(20_000, most=50)
    return wal


@pytest.mark.parametrize("version", REAL)
def test_a_real_segment_is_read_to_its_switch(version):
    data, identifier = real(version)
    found, reader = read({REAL[version]: data}, identifier=identifier)
    assert (reader.version, reader.ended, reader.is_done) == (version, None, True)
    assert reader.end == LSN((REAL[version] + 1) << 20)
    assert (found[-1].rmgr, found[-1].info, found[-1].length) == (0, walrecord.SWITCH, 24)
    assert [after.prev for after in found[1:]] == [each.position for each in found[:-1]]
    assert all(before.end <= after.position for before, after in pairwise(found))


@pytest.mark.parametrize("version", REAL)
def test_a_segment_can_be_fed_in_any_pieces(version):
    data, identifier = real(version)
    used = data[: len(data.rstrip(b"\0")) + PAGE]
    whole, _ = read({REAL[version]: used}, identifier=identifier)
    for number, pieces in enumerate(ways(used)):
        if number != 1:  # byte by byte is for smaller things
            assert read({REAL[version]: used}, lambda _, cut=pieces: cut, identifier=identifier)[0] == whole


def test_records_that_go_over_pages_and_whole_segments_are_put_together():
    wal = made()
    found, reader = read(wal.segments)
    assert sorted(wal.segments) == [5, 6, 7]
    long = [each for each in found if each.length > 20_000]
    assert [(each.data[:1], len(each.data)) for each in long] == [(b"a", 30_000), (b"b", 1_300_000)]
    assert reader.end == wal.position
    assert reader.ended.startswith("there are only zeros")


@pytest.mark.parametrize("first", [6, 7])
def test_reading_may_begin_with_any_segment_in_the_middle_of_a_record(first):
    wal = made()
    whole, _ = read(wal.segments)
    found, reader = read(wal.segments, first=first)
    assert found == [each for each in whole if each.position >= LSN(first << 20)]
    assert found
    assert reader.end == wal.position


def test_a_segment_that_holds_nothing_but_the_middle_of_a_record_is_passed_over():
    segments = made().segments
    found, reader = read({6: segments[6]})
    assert (found, reader.ended, reader.end) == ([], None, LSN(7 << 20))


def test_a_record_that_needs_the_next_segment_is_not_whole_yet():
    segments = made().segments
    _, reader = read({5: segments[5]})
    assert reader.is_inside_record and reader.ended is None
    assert reader.end < LSN(6 << 20)


def test_what_follows_a_switch_in_its_segment_is_passed_over():
    wal = WalWriter(MB, 3)
    wal.fill(10_000)
    wal.switch()
    behind = wal.add(raw=b"behind")
    found, reader = read(wal.segments)
    assert found[-1].position == behind
    assert reader.end == wal.position


@pytest.mark.parametrize("shown", [0, 2])
def test_a_record_that_a_crash_cut_off_is_given_up(shown):
    wal = WalWriter(MB, 3)
    wal.fill(10_000)
    wal.abandon(60_000, shown)
    wal.fill(1000)
    found, reader = read(wal.segments)
    assert [each for each in found if each.info == 0xD0]
    assert all(set(each.data) != set(b"x") for each in found)
    assert reader.end == wal.position


def test_the_chain_goes_on_over_a_change_of_timelines():
    wal = WalWriter(MB, 3)
    wal.fill((1 << 20) + 5000)
    other = wal.copy(timeline=2)
    wal.fill(200)
    other.fill(3000)
    reader = RecordReader(MB, SYSTEM_IDENTIFIER)
    reader.enter(Segment(1, 3))
    reader.feed(wal.segments[3])
    reader.enter(Segment(2, 4))
    assert reader.feed(other.segments[4])
    assert reader.end == other.position


def test_another_branch_s_segment_does_not_follow():
    wal = WalWriter(MB, 3)
    wal.fill((1 << 20) - 3000, most=500)
    other = wal.copy(timeline=1)
    wal.fill(6000, most=300)
    other.fill(6000, most=400)
    found, reader = read({3: wal.segments[3], 4: other.segments[4]})
    assert all(each.position < LSN(4 << 20) for each in found)
    assert reader.ended


def test_the_end_is_told_when_pages_of_an_older_use_follow():
    wal = WalWriter(MB, 3)
    wal.fill(10_000)
    end, last = wal.position, wal.prev
    data = bytearray(wal.segments[3])
    old = WalWriter(MB, 1)
    old.fill(1 << 19)
    data[2 * PAGE :] = old.segments[1][2 * PAGE :]
    found, reader = read({3: bytes(data)})
    assert (reader.end, found[-1].position) == (end, LSN(last))
    assert "only zeros" in reader.ended


def test_a_segment_that_is_cut_short_ends_the_wal():
    wal = made()
    segments = wal.segments
    segments[5] = segments[5][: PAGE * 40 + 11]
    found, reader = read(segments)
    assert "cut short" in reader.ended
    assert all(each.position < LSN((5 << 20) + PAGE * 40) for each in found)


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (0, struct.pack(">H", 0xD110), "magic"),
        (24, struct.pack("<Q", 1), "system identifier 1,"),
        (8, struct.pack("<Q", 4 << 20), "says that it is the one of 0/400000"),
    ],
)
def test_a_segment_of_another_kind_is_refused(offset, value, message):
    data = bytearray(made().segments[5])
    data[offset : offset + len(value)] = value
    with pytest.raises(Malformed, match=message):
        read({5: bytes(data)})


def test_a_blank_segment_ends_the_wal_at_its_start():
    found, reader = read({5: bytes(1 << 20)})
    assert (found, reader.end) == ([], LSN(5 << 20))
    assert "only zeros" in reader.ended


def test_a_segment_cannot_be_left_out():
    reader = RecordReader(MB, SYSTEM_IDENTIFIER)
    reader.enter(Segment(1, 5))
    with pytest.raises(ValueError):
        reader.enter(Segment(1, 7))


def test_of_a_huge_record_only_the_beginning_is_kept(monkeypatch):
    monkeypatch.setattr(walrecord_part, "KEPT", 50_000)
    found, _ = read(made().segments)
    (huge,) = [each for each in found if each.length == 1_300_024]
    assert 50_000 <= len(huge.data) < 60_000


@given(st.data())
def test_a_changed_byte_never_makes_a_record(data):
    """What was whole before the change still comes out; nothing that was not written ever does."""
    segments = made_once()
    whole, _ = read_once()
    number = data.draw(st.sampled_from(sorted(segments)))
    used = len(segments[number].rstrip(b"\0"))
    in_header = st.integers(0, (used - 1) // PAGE).map(lambda page: page * PAGE + 17)
    at = data.draw(st.integers(0, used - 1) | in_header)
    changed = bytearray(segments[number])
    changed[at] ^= data.draw(st.integers(1, 255))
    place = (number << 20) + at
    try:
        found, _ = read(segments | {number: bytes(changed)})
    except Malformed:
        assert at < 40
        return
    assert found == whole[: len(found)]
    assert found[: len(whole)] >= [each for each in whole if each.end.value <= place - at % PAGE]


@pytest.mark.parametrize("at", range(24 + 17))
def test_a_record_with_any_byte_changed_is_the_end(at):
    wal = WalWriter(MB, 5)
    before = wal.add(raw=b"before")
    place = wal.add(raw=bytes(range(17))).value - (5 << 20)
    wal.add(raw=b"behind")
    changed = bytearray(wal.segments[5])
    changed[place + at] ^= 1
    found, reader = read({5: bytes(changed)})
    assert [each.position for each in found] == [before]
    assert reader.ended and reader.end == LSN((5 << 20) + place)


@given(st.integers(0, 3 << 20))
def test_wal_that_is_cut_anywhere_gives_what_was_whole(length):
    whole, _ = read_once()
    segments = {}
    for number, data in made_once().items():
        segments[number] = data[: max(length - ((number - 5) << 20), 0)]
    found, _ = read(segments)
    end = (5 << 20) + length // PAGE * PAGE
    assert found == [each for each in whole if each.end.value <= end]


@given(st.binary(max_size=3 * PAGE), st.booleans())
def test_noise_gives_no_records(noise, with_header):
    data = made_once()[5][:40] * with_header + noise
    reader = RecordReader(MB, SYSTEM_IDENTIFIER)
    reader.enter(Segment(1, 5))
    try:
        assert reader.feed(data + bytes(-len(data) % PAGE)) == []
    except Malformed:
        pass


@cache
def made_once():
    return made().segments


@cache
def read_once():
    return read(made_once())


def test_a_reader_goes_on_from_the_joint_that_another_one_came_to():
    segments = made().segments
    whole, _ = read(segments)
    found, joint = [], None
    for number, data in sorted(segments.items()):
        reader = RecordReader(MB, SYSTEM_IDENTIFIER, after=joint)
        reader.enter(Segment(1, number))
        found += reader.feed(data)
        joint = Joint(*list(reader.joint))
    # Of the records that went on, what was in the segment before is not kept; all else is the same.
    assert [each[:7] for each in found] == [each[:7] for each in whole]
    assert joint.prev == reader.last.value


def test_a_joint_that_is_of_other_wal_ends_what_follows():
    segments = made().segments
    reader = RecordReader(MB, SYSTEM_IDENTIFIER)
    reader.enter(Segment(1, 5))
    reader.feed(segments[5])
    joint = reader.joint
    for wrong in (
        joint._replace(missing=joint.missing + 8),
        joint._replace(crc=joint.crc ^ 1),
        joint._replace(missing=0),
        joint._replace(prev=joint.prev - 8),
    ):
        again = RecordReader(MB, SYSTEM_IDENTIFIER, after=wrong)
        for number in (6, 7):
            again.enter(Segment(1, number))
            again.feed(segments[number])
        assert again.ended_at is not None and again.ended_at < made().position
        assert not again.ended.startswith("there are only zeros")


@pytest.mark.parametrize(
    "at, value, reason",
    [
        (PAGE * 3 + 16, 8, "continues a record and says that it does not"),
        (PAGE * 3 + 2, 8, "gives up a record and there is none"),
    ],
)
def test_a_strict_reader_ends_at_headers_that_postgresql_reads_over(at, value, reason):
    wal = WalWriter(MB, 3)
    # Records that end with their pages, so that none goes on.
    wal.add(raw=b"a" * (PAGE - 40 - 24))
    for _ in range(6):
        wal.add(raw=b"a" * (PAGE - 24 - 24))
    data = bytearray(wal.segments[3])
    data[at] = value
    for strict in (False, True):
        reader = RecordReader(MB, SYSTEM_IDENTIFIER, strict=strict)
        reader.enter(Segment(1, 3))
        reader.feed(data)
        assert (reason in reader.ended) == strict
        assert reader.ended_at == (LSN((3 << 20) + PAGE * 3) if strict else wal.position)
