import pickle

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.values import MB, lsns, segments, sizes, timelines

from catalog.errors import Malformed
from catalog.lsn import LSN, SegmentSize
from catalog.walname import (
    BACKUP,
    HISTORY,
    PARTIAL,
    SEGMENT,
    Segment,
    history_name,
    kind_of,
    timeline_in,
)

GB = SegmentSize(1 << 30)
NAME = "000000010000000A000000FF"


@given(st.data(), sizes)
def test_a_segment_reads_back_from_its_name(data, size):
    segment = data.draw(segments(size))
    assert Segment.parse(segment.name(size), size) == segment


@pytest.mark.parametrize(
    "name, size, number",
    [
        ("000000010000000000000FFF", MB, 0xFFF),
        ("000000010000000100000000", MB, 0x1000),
        ("000000010000000100000003", GB, 7),
        ("0000000100000000000000FF", SegmentSize(16 << 20), 255),
    ],
)
def test_the_parts_of_a_name_count_in_a_base_that_depends_on_the_size(name, size, number):
    assert Segment.parse(name, size) == Segment(1, number)
    assert Segment(1, number).name(size) == name


def test_a_name_of_another_segment_size_is_malformed():
    with pytest.raises(Malformed, match="1024 MB"):
        Segment.parse("000000010000000100000004", GB)


@given(st.data(), sizes)
def test_the_next_segment_begins_where_this_one_ends(data, size):
    segment = data.draw(segments(size))
    assume(segment.number < (1 << 64) // size.nbytes - 1)
    assert segment.end(size) == segment.next().start(size)
    assert segment.name(size) < segment.next().name(size)


@given(timelines, lsns, sizes)
def test_the_segment_at_a_position_holds_it(timeline, position, size):
    assert Segment.at(timeline, position, size).start(size) == size.floor(position)


def test_segments_are_ordered_by_timeline_first():
    assert Segment(1, 9) < Segment(2, 3) < Segment(2, 4)


def test_a_segment_is_hashable_picklable_and_frozen():
    segment = Segment(1, 2)
    assert {pickle.loads(pickle.dumps(segment))} == {segment}
    with pytest.raises(AttributeError):
        segment.number = 3


@pytest.mark.parametrize("timeline, number", [(0, 1), (1 << 32, 1), (1, -1)])
def test_there_is_no_timeline_0_and_no_negative_number(timeline, number):
    with pytest.raises(Malformed):
        Segment(timeline, number)


@pytest.mark.parametrize(
    "name, kind",
    [
        (NAME, SEGMENT),
        (NAME + ".partial", PARTIAL),
        (NAME + ".00000028.backup", BACKUP),
        ("00000002.history", HISTORY),
    ],
)
def test_the_four_kinds_of_wal_files_are_known(name, kind):
    assert kind_of(name) == kind
    assert timeline_in(name) == int(name[:8], 16)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        NAME[:-1],
        NAME + "0",
        NAME.lower(),
        NAME + ".",
        NAME + ".gz",
        NAME + ".partial.gz",
        NAME + ".0000028.backup",
        NAME + ".0000002g.backup",
        NAME + ".backup",
        "00000000" + NAME[8:],
        "00000000.history",
        "2.history",
        "../" + NAME,
        NAME + "\n",
        "RECOVERYXLOG",
    ],
)
def test_any_other_name_is_of_no_kind(name):
    assert kind_of(name) is None
    with pytest.raises(Malformed):
        timeline_in(name)


@given(st.text())
def test_any_text_is_a_segment_s_name_or_malformed(text):
    try:
        assert Segment.parse(text, MB).name(MB) == text
    except Malformed:
        pass


@given(timelines)
def test_the_name_of_a_history_is_of_that_kind(timeline):
    assert kind_of(history_name(timeline)) == HISTORY
    assert timeline_in(history_name(timeline)) == timeline


def test_the_last_position_has_a_segment():
    assert Segment.at(1, LSN((1 << 64) - 1), MB).name(MB) == "00000001FFFFFFFF00000FFF"
