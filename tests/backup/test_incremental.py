"""INCREMENTAL files: what they say about a relation, and bytes that cannot be one."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.incremental import incremental_file

from backup.incremental import SEGMENT_BYTES, IncrementalReader, patched_name
from catalog.errors import Corrupt

SIZE = 512
MOST = SEGMENT_BYTES // SIZE

blocks = st.dictionaries(st.integers(0, MOST - 1), st.binary(min_size=1, max_size=8), max_size=6)
files = st.dictionaries(st.integers(0, 12), st.binary(min_size=1, max_size=8), max_size=6)
cuts = st.lists(st.integers(1, 1500), max_size=20)


def read(raw, pieces=(), size=None):
    """Header, and what is written: position → byte string, joined where it follows on."""
    reader = IncrementalReader("base/5/INCREMENTAL.1", len(raw) if size is None else size, SIZE)
    view, written = memoryview(raw), bytearray()
    positions = []
    for cut in (*pieces, len(raw)):
        for position, piece in reader.feed(view[:cut]):
            positions += range(position, position + len(piece))
            written += piece
        view = view[cut:]
    return reader.finish(), dict(zip(positions, written, strict=True))


def refusal(raw, size=None):
    with pytest.raises(Corrupt) as caught:
        read(raw, size=size)
    assert "base/5/INCREMENTAL.1" in str(caught.value) and caught.value.hint
    return str(caught.value)


@given(files, st.integers(0, 20), cuts)
def test_every_block_comes_out_at_its_place_however_the_bytes_were_cut(content, truncation, pieces):
    header, written = read(incremental_file(content, truncation, SIZE), pieces)
    expected = {
        number * SIZE + at: byte
        for number, data in content.items()
        for at, byte in enumerate(data.ljust(SIZE, b"\0"))
    }
    assert written == expected
    assert header.kept == truncation * SIZE
    assert header.length == max(truncation, *(number + 1 for number in content), 0) * SIZE


@given(blocks, st.integers(0, MOST))
def test_numbers_up_to_the_end_of_a_file_are_good(content, truncation):
    assert list(read(incremental_file(content, truncation, SIZE))[0].blocks) == sorted(content)


def test_blocks_that_follow_each_other_come_out_together():
    raw = incremental_file({3: b"a", 4: b"b", 5: b"c", 7: b"d"}, 9, SIZE)
    reader = IncrementalReader("x", len(raw), SIZE)
    assert [(at, len(piece)) for at, piece in reader.feed(memoryview(raw))] == [
        (3 * SIZE, 3 * SIZE),
        (7 * SIZE, SIZE),
    ]


@given(st.binary(max_size=3000), cuts)
def test_no_bytes_raise_anything_but_corrupt(raw, pieces):
    try:
        header, written = read(raw, pieces)
    except Corrupt:
        return
    assert header.length <= SEGMENT_BYTES and all(at < header.length for at in written)


@given(files, st.data())
def test_a_file_that_ends_early_is_corrupt(content, data):
    raw = incremental_file(content, 3, SIZE)
    assert "ends early" in refusal(raw[: data.draw(st.integers(0, len(raw) - 1))], size=len(raw))


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (struct.pack("<III", 0xD3AE1F0E, 0, 0), "begins with 0xd3ae1f0e"),
        (struct.pack("<III", 0xD3AE1F0D, 0xFFFFFFFF, 0), "states 4294967295 blocks"),
        (struct.pack("<III", 0xD3AE1F0D, MOST + 1, 0), "more than"),
        (struct.pack("<III", 0xD3AE1F0D, 0, MOST + 1), f"of {MOST + 1}"),
        (struct.pack("<III", 0xD3AE1F0D, MOST, 0), "which 2097152 blocks do not make"),
        (incremental_file({1: b"x"}, 2, SIZE) + b"x", "do not make"),
        (incremental_file({MOST: b"x"}, 2, SIZE), f"lists block {MOST}"),
        (incremental_file({0xFFFFFFFF: b"x"}, 2, SIZE), "lists block 4294967295"),
        (incremental_file({5: b"x", 6: b"y"}, 2, SIZE, order=[6, 5]), "out of order"),
        (incremental_file({5: b"x", 6: b"y"}, 2, SIZE, order=[5, 5]), "out of order"),
    ],
)
def test_numbers_that_no_relation_has_are_refused(raw, says):
    assert says in refusal(raw)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("base/5/INCREMENTAL.1259_fsm", "base/5/1259_fsm"),
        ("global/INCREMENTAL.1262", "global/1262"),
        ("PG_18_202506291/5/INCREMENTAL.16400.1", "PG_18_202506291/5/16400.1"),
        ("pg_tblspc/16385/PG_18_202506291/5/INCREMENTAL.1", "pg_tblspc/16385/PG_18_202506291/5/1"),
        ("base/5/1259", None),
        ("base/INCREMENTAL.1", None),
        ("INCREMENTAL.1", None),
        ("log/INCREMENTAL.1", None),
        ("base/5/below/INCREMENTAL.1", None),
        ("base/5/INCREMENTAL.1/x", None),
    ],
)
def test_only_where_relations_lie_a_file_can_be_incremental(name, target):
    assert patched_name(name) == target
