import struct
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.values import MB
from support.wal_pages import MAGIC, SYSTEM_IDENTIFIER, make_pages, real_segment

from catalog.errors import Malformed
from catalog.lsn import LSN, SegmentSize
from catalog.walname import Segment
from catalog.walpage import PageChecker, PageHeader, check_first_page, version_of

REAL = [
    (15, "000000010000000000000007"),
    (15, "000000020000000000000007"),
    (18, "000000010000000000000009"),
    (18, "000000020000000000000009"),
]


def wal(first=7, last=8, **changes):
    return make_pages(first << 20, last << 20, MB, **changes)


def checker(position=7 << 20, timeline=1):
    return PageChecker(MB, SYSTEM_IDENTIFIER, timeline, LSN(position))


def feed(data, cuts=(), **where):
    """Feed ``data`` cut at these places, and return the error's message, or None."""
    bounds = [0, *sorted(cuts), len(data)]
    pages = checker(**where)
    try:
        for begin, end in pairwise(bounds):
            pages.feed(memoryview(data)[begin:end])
            assert len(pages._held) <= 40
    except Malformed as error:
        return str(error)
    assert pages.position == LSN(where.get("position", 7 << 20) + len(data))
    return None


@pytest.mark.parametrize("version, name", REAL)
def test_a_real_segment_matches_its_name(version, name):
    segment = Segment.parse(name, MB)
    data = real_segment(version, name)
    header = check_first_page(data[:8192], segment, MB)
    assert (version_of(header.magic), header.position) == (version, segment.start(MB))
    assert header.timeline == 1
    assert check_first_page(data, segment, MB, header.system_identifier) == header


@pytest.mark.parametrize("version, name", REAL)
def test_the_pages_of_a_real_segment_and_its_zero_tail_are_accepted(version, name):
    data = real_segment(version, name)
    assert data.endswith(bytes(8192))
    header = PageHeader.parse(data)
    pages = PageChecker(MB, header.system_identifier, int(name[:8], 16), header.position)
    for begin in range(0, len(data), 1000):
        pages.feed(data[begin : begin + 1000])


@pytest.mark.parametrize("version, name", [REAL[1], REAL[3]])
def test_the_copy_of_a_switch_segment_is_refused_on_the_old_timeline(version, name):
    data = real_segment(version, name)
    header = PageHeader.parse(data)
    with pytest.raises(Malformed, match="timeline 2"):
        PageChecker(MB, header.system_identifier, 1, header.position).feed(data)


def test_a_short_header_has_no_long_part():
    header = PageHeader.parse(struct.pack("<HHIQI4x", MAGIC, 1, 3, 8192, 12))
    assert header == PageHeader(MAGIC, 1, 3, LSN(8192), 12)
    assert header.system_identifier is None


@given(st.binary(max_size=60))
def test_any_bytes_are_a_header_or_malformed(data):
    try:
        assert PageHeader.parse(data).magic == int.from_bytes(data[:2], "little")
    except Malformed:
        assert len(data) < 40


@given(st.binary(max_size=60))
def test_any_bytes_are_not_a_first_page(data):
    with pytest.raises(Malformed):
        check_first_page(data, Segment(1, 7), MB)


@pytest.mark.parametrize(
    "offset, value, message",
    [
        (0, b"\x09", "magic is 0xD109"),
        (2, b"\x01", "flags 0x0001"),
        (2, b"\x12", "flags 0x0012"),
        (4, b"\x03", "says timeline 3"),
        (4, b"\x00", "says timeline 0"),
        (10, b"\x60", "the one of 0/600000"),
        (24, b"\x00", "cluster with system identifier"),
        (34, b"\x00", "it has 0 bytes"),
        (37, b"\x40", "in pages of 16384"),
    ],
)
def test_a_first_page_that_differs_from_the_name_says_in_what(offset, value, message):
    data = wal()
    data[offset : offset + 1] = value
    with pytest.raises(Malformed, match=message):
        check_first_page(data, Segment(1, 7), MB, SYSTEM_IDENTIFIER)
    assert message in feed(data)


def test_a_first_page_may_be_of_an_ancestor():
    assert check_first_page(wal(timeline=2), Segment(5, 7), MB).timeline == 2


def test_a_segment_of_another_size_does_not_match():
    with pytest.raises(Malformed, match="1048576 bytes"):
        check_first_page(make_pages(16 << 20, 17 << 20, MB), Segment(1, 1), SegmentSize(16 << 20))


def test_each_version_has_its_magic():
    magics = [0xD106, 0xD10D, 0xD110, 0xD113, 0xD116, 0xD118]
    assert [version_of(magic) for magic in magics] == [13, 14, 15, 16, 17, 18]


@st.composite
def damaged_wal(draw):
    """Pages with perhaps a zero tail, perhaps a few bytes altered where headers are."""
    data = wal(last=9)
    tail = draw(st.none() | st.integers(1, 127))
    if tail:
        data[tail * 8192 : 1 << 20] = bytes((1 << 20) - tail * 8192)
    for _ in range(draw(st.integers(0, 2))):
        data[draw(st.integers(0, 255)) * 8192 + draw(st.integers(0, 41))] = draw(st.integers(0, 255))
    return data


in_headers = st.builds(lambda page, by: page * 8192 + by, st.integers(0, 255), st.integers(0, 45))
cut_places = st.lists(st.integers(0, 2 << 20) | in_headers, max_size=8)


@given(damaged_wal(), cut_places)
def test_the_verdict_does_not_depend_on_how_the_bytes_were_cut(data, cuts):
    assert feed(data, cuts) == feed(data)


@given(damaged_wal(), st.integers(0, 300000))
def test_the_verdict_on_bytes_one_by_one_is_the_same(data, begin):
    end = begin + 8300
    part = data[begin:end]
    position = (7 << 20) + begin
    assert feed(part, range(1, len(part)), position=position) == feed(part, position=position)


@given(st.integers(0, 1 << 20), cut_places)
@example(1, [])
@example(8192, [])
def test_a_stream_may_begin_anywhere(begin, cuts):
    data = wal(last=9)[begin:]
    assert feed(data, [cut for cut in cuts if cut <= len(data)], position=(7 << 20) + begin) is None


@pytest.mark.parametrize("begin", [1, 8191, 8193])
def test_an_altered_header_is_found_when_the_stream_began_inside_a_page(begin):
    data = wal()
    data[8192 * 5 + 9] ^= 1
    assert "says that it is the one of" in feed(data[begin:], position=(7 << 20) + begin)


def test_zeros_are_the_tail_of_a_segment_and_never_its_beginning():
    data = wal(last=9)
    data[8192 : 1 << 20] = bytes((1 << 20) - 8192)
    assert feed(data) is None
    data[1 << 20 : (1 << 20) + 40] = bytes(40)
    assert "magic is 0x0000" in feed(data)


def test_content_behind_zeros_in_a_segment_is_malformed():
    data = wal()
    data[8192 : 2 * 8192] = bytes(8192)
    assert "content behind a page of zeros" in feed(data)


def test_the_timeline_may_rise_within_a_stream_but_not_fall():
    data = wal(7, 8, timeline=1) + wal(8, 9, timeline=2)
    assert feed(data, timeline=3) is None
    assert "says timeline 1" in feed(wal(7, 8, timeline=2) + wal(8, 9, timeline=1), timeline=3)


def test_the_version_does_not_change_within_a_stream():
    assert "PostgreSQL 16" in feed(wal() + wal(8, 9, magic=0xD113))


def test_a_header_that_was_split_is_checked_before_the_rest_of_its_page():
    data = wal()
    data[8192] ^= 1
    pages = checker()
    pages.feed(data[: 8192 + 5])
    with pytest.raises(Malformed):
        pages.feed(data[8192 + 5 : 8192 + 30])
