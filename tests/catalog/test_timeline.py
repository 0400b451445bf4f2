from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.values import MB, at, histories, history, lsns, sizes
from support.wal_pages import DATA

from catalog.errors import Malformed
from catalog.lsn import LSN
from catalog.timeline import History, Leg, Path, Switch, contradicts
from catalog.walname import Segment


def begins(history):
    """Each timeline of a history with the position where it began, newest first: the model of a path."""
    ids = [*(switch.timeline for switch in history.switches), history.timeline]
    positions = [LSN(0), *(switch.position for switch in history.switches)]
    return list(reversed(list(zip(ids, positions, strict=True))))


@given(histories())
def test_a_history_reads_back_as_it_was_written(history):
    assert History.parse(history.timeline, history.format()) == history


@pytest.mark.parametrize(
    "name", ["wal-15/00000003.history", "wal-18/00000003.history", "wal-15/00000004.history"]
)
def test_a_real_history_is_written_as_postgresql_wrote_it(name):
    data = (DATA / name).read_bytes()
    history = History.parse(int(name[7:15], 16), data)
    assert [switch.timeline for switch in history.switches] == list(range(1, history.timeline))
    assert history.switches[0].reason == 'at restore point "rp1"'
    assert history.format() == data


def test_comments_blank_lines_and_other_blanks_are_allowed():
    text = "# by hand\n\n  1   0/5000000  no recovery target \r\n \t# 9 9\n2\t0/00600000"
    assert History.parse(4, text) == History(
        4, (Switch(1, LSN(0x5000000), "no recovery target"), Switch(2, LSN(0x600000)))
    )


def test_a_reason_may_be_in_any_encoding():
    data = b'1\t0/5000000\tat restore point "caf\xe9"\n'
    assert History.parse(2, data).format() == data


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "1",
        "1\tx",
        "-1\t0/1",
        "1 0/1\n1 0/2",
        "2 0/1\n1 0/2",
        "3 0/1",
        "0 0/1",
        "1 0/1/1",
        "9" * 5000 + " 0/1",
        "٣ 0/1",
    ],
)
def test_what_is_no_ancestry_of_timeline_3_is_malformed(text):
    with pytest.raises(Malformed):
        History.parse(3, text)


@given(st.binary() | st.from_regex(rb"([0-9]{1,3}[\t ]+[0-9A-F]/[0-9]{1,9}[\t ]?[a-z]*\n){0,4}"))
def test_any_bytes_are_a_history_or_malformed(data):
    try:
        history = History.parse(100, data)
    except Malformed:
        return
    assert History.parse(100, history.format()) == history


def test_a_position_equal_to_a_switch_belongs_to_the_newer_timeline():
    history3 = history(3, (1, 5), (2, 7))
    assert [history3.timeline_at(at(mb)) for mb in (0, 4.5, 5, 6.5, 7, 99)] == [1, 1, 2, 2, 3, 3]


@given(histories(), lsns)
def test_a_position_belongs_to_the_newest_timeline_that_began_before(history, position):
    expected = next(timeline for timeline, begin in begins(history) if begin <= position)
    assert history.timeline_at(position) == expected


@given(histories(), st.data(), sizes)
def test_the_copy_that_counts_is_of_the_newest_timeline_that_began_in_the_segment_or_before(
    history, data, size
):
    near = st.sampled_from([begin for _, begin in begins(history)])
    number = size.number_at(data.draw(near | lsns))
    owner = next(timeline for timeline, begin in begins(history) if size.number_at(begin) <= number)
    path = Path.of(history)
    assert path.timeline_of(number, size) == owner
    assert path.counts(Segment(owner, number), size)


@given(histories())
def test_the_legs_of_a_path_join_without_a_break(history):
    legs = Path.of(history).legs
    assert legs[0].begin == LSN(0)
    assert legs[-1].timeline == history.timeline and legs[-1].end is None
    for leg, after in pairwise(legs):
        assert leg.begin < after.begin == leg.end


def test_timelines_that_a_switch_went_back_behind_have_no_part_in_the_path():
    data = (DATA / "wal-15/00000004.history").read_bytes()
    assert Path.of(History.parse(4, data)).legs == (
        Leg(1, LSN(0), LSN(0x7000A0)),
        Leg(4, LSN(0x7000A0), None),
    )


@given(histories())
def test_a_path_reads_back_as_it_was_written(history):
    path = Path.of(history)
    assert Path.parse(str(path)) == path


def test_a_path_is_written_for_a_command_line():
    assert str(Path.of(history(3, (1, 5), (2, 7.5)))) == "1@0/500000,2@0/780000,3"


@pytest.mark.parametrize(
    "text", ["", ",", "1@0/5,", "x", "2@0/5,1", "1@0/5,2@0/5,3", "1@0/7,2@0/5,3", "1,2", "1@0/0,2"]
)
def test_any_other_text_is_no_path(text):
    with pytest.raises(Malformed):
        Path.parse(text)


@given(st.text())
def test_any_text_is_a_path_or_malformed(text):
    try:
        Path.parse(text)
    except Malformed:
        pass


def test_a_history_knows_where_a_timeline_was_left():
    assert history(3, (1, 5), (2, 7)).switch_from(2) == at(7)
    assert history(3, (1, 5), (2, 7)).switch_from(3) is None


def test_the_ancestor_s_copy_of_the_switch_segment_does_not_count():
    path = Path.of(history(2, (1, 5.5)))
    assert [path.counts(Segment(1, number), MB) for number in (4, 5, 6)] == [True, False, False]
    assert [path.counts(Segment(2, number), MB) for number in (4, 5, 6)] == [False, True, True]


@pytest.mark.parametrize(
    "a, b, expected",
    [
        (history(2, (1, 5)), history(2, (1, 5)), False),
        (history(2, (1, 5)), history(2, (1, 6)), True),
        (history(2, (1, 5)), history(3, (1, 6)), False),
        (history(3, (1, 5), (2, 7)), history(2, (1, 5)), False),
        (history(3, (1, 5), (2, 7)), history(2, (1, 6)), True),
        (history(3, (1, 5), (2, 7)), history(4, (1, 5), (2, 8)), False),
        (history(3, (1, 5), (2, 7)), history(4, (1, 6), (2, 8)), True),
        (history(3, (2, 7)), history(4, (1, 5), (2, 8)), True),
        (history(1), history(4, (1, 5)), False),
    ],
)
def test_histories_contradict_each_other_when_a_timeline_has_two_ancestries(a, b, expected):
    assert contradicts(a, b) == contradicts(b, a) == expected


@given(histories(), histories())
def test_paths_part_at_the_first_position_that_belongs_to_two_timelines(a, b):
    a, b = Path.of(a), Path.of(b)
    parting = a.parting(b)
    assert parting == b.parting(a)
    if parting is None:
        assert a.timeline == b.timeline
    else:
        assert a.timeline_at(parting) != b.timeline_at(parting)
        assert not parting or a.timeline_at(LSN(parting.value - 1)) == b.timeline_at(LSN(parting.value - 1))
