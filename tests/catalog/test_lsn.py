import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.values import lsns, sizes

from catalog.errors import Malformed
from catalog.lsn import LSN, SegmentSize


@given(lsns)
def test_an_lsn_reads_back_as_it_was_written(lsn):
    assert LSN.parse(str(lsn)) == lsn


@given(lsns)
def test_an_lsn_padded_as_later_servers_do_reads_the_same(lsn):
    assert LSN.parse(f"{lsn.value >> 32:X}/{lsn.value & 0xFFFFFFFF:08X}") == lsn


@given(st.text() | st.from_regex(r"[0-9a-fA-F_ x+-]{0,10}/[0-9a-fA-F_ x+-]{0,10}"))
def test_any_text_is_an_lsn_or_malformed(text):
    try:
        assert LSN.parse(text) == LSN.parse(text.upper())
    except Malformed as error:
        assert repr(text) in str(error)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "0",
        "0/",
        "/0",
        "-1/0",
        "0x1/0",
        "1_0/0",
        " 1/0",
        "1/0 ",
        "1/0\n",
        "1/2/3",
        "123456789/0",
        "٣/0",
    ],
)
def test_what_int_would_take_but_postgresql_would_not_write_is_malformed(text):
    with pytest.raises(Malformed):
        LSN.parse(text)


@pytest.mark.parametrize("value", [-1, 1 << 64])
def test_a_position_has_64_bits(value):
    with pytest.raises(Malformed):
        LSN(value)


@given(lsns, lsns)
def test_positions_are_ordered_as_their_values(a, b):
    assert (a < b, a <= b, a > b, a >= b, a == b) == (
        a.value < b.value,
        a.value <= b.value,
        a.value > b.value,
        a.value >= b.value,
        a.value == b.value,
    )


@given(st.integers(0, 1 << 62), st.integers(0, 1 << 62))
def test_the_difference_of_positions_leads_from_one_to_the_other(a, b):
    assert LSN(b) + (LSN(a) - LSN(b)) == LSN(a)


def test_only_the_invalid_position_is_false():
    assert not LSN(0)
    assert LSN(1)


@given(lsns)
def test_an_lsn_survives_copying_and_pickling_and_cannot_be_changed(lsn):
    assert copy.deepcopy(lsn) == pickle.loads(pickle.dumps(lsn)) == lsn
    assert len({lsn, copy.copy(lsn)}) == 1
    with pytest.raises(AttributeError):
        lsn.value = 1


def test_an_lsn_equals_nothing_but_an_lsn():
    assert LSN(1) != 1
    assert repr(LSN(0x16B374D848)) == "LSN(16/B374D848)"


@pytest.mark.parametrize(
    "text, nbytes", [("16MB", 1 << 24), ("1GB", 1 << 30), ("1024kB", 1 << 20), ("1048576B", 1 << 20)]
)
def test_a_segment_size_is_read_as_the_server_shows_it(text, nbytes):
    assert SegmentSize.parse(text) == SegmentSize(nbytes)


@pytest.mark.parametrize("text", ["", "16", "MB", "3MB", "2GB", "512kB", "-16MB", "1 MB", "²MB"])
def test_another_segment_size_is_malformed(text):
    with pytest.raises(Malformed):
        SegmentSize.parse(text)


@given(st.integers(-5, 1 << 40))
def test_a_segment_size_is_a_power_of_two_from_1_mb_to_1_gb(nbytes):
    try:
        assert SegmentSize(nbytes).nbytes in [1 << bits for bits in range(20, 31)]
    except Malformed:
        assert nbytes not in [1 << bits for bits in range(20, 31)]


@given(st.integers(1, (1 << 64) - 1).map(LSN), sizes)
def test_the_segment_before_a_position_holds_the_byte_before_it(position, size):
    assert size.number_before(position) == size.number_at(LSN(position.value - 1))


@given(lsns, sizes)
def test_a_position_is_its_segment_s_start_and_its_offset(position, size):
    assert size.start(size.number_at(position)) == size.floor(position)
    assert size.floor(position) + size.offset(position) == position


def test_a_position_between_two_segments_begins_one_and_ends_the_other():
    size = SegmentSize(1 << 24)
    assert (size.number_before(LSN(1 << 24)), size.number_at(LSN(1 << 24))) == (0, 1)
