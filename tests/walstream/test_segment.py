import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.faults import Disk, fail
from support.values import MB

from catalog.errors import StreamRefused
from catalog.walname import Segment
from walstream.segment import PartialSegment, blank_file, partials_in

SEGMENT = Segment(3, 0x12345)
NAME = "000000030000001200000345"


def new(directory, zero_fill=False):
    return PartialSegment(str(directory), SEGMENT, MB, blank_file(str(directory), MB, zero_fill=zero_fill))


def again(directory):
    """The partial segment that is there already."""
    return PartialSegment(str(directory), SEGMENT, MB, None)


def content(directory, suffix=".partial"):
    return Path(directory, NAME + suffix).read_bytes()


@pytest.mark.parametrize("zero_fill", [True, False])
def test_a_blank_file_is_zeros_at_full_length_under_a_temporary_name(tmp_path, zero_fill):
    path = blank_file(str(tmp_path), MB, zero_fill=zero_fill)
    assert Path(path).read_bytes() == bytes(MB.nbytes)
    assert os.stat(path).st_blocks * 512 >= MB.nbytes
    assert partials_in(str(tmp_path)) == []


@pytest.mark.parametrize("zero_fill, call", [(True, "write"), (False, "posix_fallocate"), (True, "fsync")])
def test_a_blank_file_that_cannot_be_made_leaves_nothing(tmp_path, monkeypatch, zero_fill, call):
    fail(monkeypatch, call, errno.ENOSPC)
    with pytest.raises(OSError, match="No space left"):
        blank_file(str(tmp_path), MB, zero_fill=zero_fill)
    assert os.listdir(tmp_path) == []


def test_a_new_segment_is_partial_at_full_length_and_only_its_group_may_read_it(tmp_path):
    new(tmp_path).close()
    assert partials_in(str(tmp_path)) == [NAME]
    assert content(tmp_path) == bytes(MB.nbytes)
    assert os.stat(tmp_path / f"{NAME}.partial").st_mode & 0o777 == 0o640


def test_bytes_are_written_in_place(tmp_path):
    segment = new(tmp_path)
    segment.write(8192, memoryview(b"abc"))
    segment.write(MB.nbytes - 2, memoryview(b"yz"))
    segment.close()
    found = content(tmp_path)
    assert (len(found), found[8192:8195], found[-2:], found.count(0)) == (
        MB.nbytes,
        b"abc",
        b"yz",
        MB.nbytes - 5,
    )


def test_a_write_that_the_system_cuts_short_is_continued(tmp_path, monkeypatch):
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: real(fd, data[:3], offset))
    segment = new(tmp_path)
    segment.write(10, memoryview(b"0123456789"))
    segment.close()
    assert content(tmp_path)[9:21] == b"\x000123456789\x00"


def test_the_same_bytes_are_accepted_and_written_again(tmp_path, monkeypatch):
    segment = new(tmp_path)
    segment.write(0, memoryview(b"abcdef"))
    segment.close()
    written = []
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda *given: written.append(given[1:]) or real(*given))
    segment = again(tmp_path)
    segment.write(0, memoryview(b"abcdefgh"))
    segment.close()
    assert [(bytes(data), offset) for data, offset in written] == [(b"abcdefgh", 0)]


@given(st.binary(min_size=1, max_size=40), st.data())
def test_stored_zeros_may_become_data_and_no_other_byte_may_differ(tmp_path_factory, stored, data):
    arriving = bytes(data.draw(st.sampled_from([byte, 0, 7])) for byte in stored)
    directory = tmp_path_factory.mktemp("spool")
    segment = new(directory)
    segment.write(100, memoryview(stored))
    segment.close()
    segment = again(directory)
    try:
        segment.write(100, memoryview(arriving))
        assert all(old in (0, byte) for old, byte in zip(stored, arriving, strict=True))
        assert content(directory)[100 : 100 + len(arriving)] == arriving
    except StreamRefused:
        assert any(old not in (0, byte) for old, byte in zip(stored, arriving, strict=True))
        assert content(directory)[100 : 100 + len(stored)] == stored
    finally:
        segment.close()


def test_a_refusal_names_the_position_the_file_and_the_way_out(tmp_path):
    segment = new(tmp_path)
    segment.write(0x200, memoryview(b"abcdef"))
    segment.close()
    segment = again(tmp_path)
    with pytest.raises(StreamRefused) as caught:
        segment.write(0x200, memoryview(b"abcxef"))
    segment.close()
    assert "at 12/34500203 on timeline 3" in caught.value.message
    assert f"{NAME}.partial" in caught.value.message
    assert "under a new name" in caught.value.hint


@pytest.mark.parametrize("length", [0, 100, MB.nbytes - 1, MB.nbytes + 1])
def test_a_partial_segment_of_another_length_is_not_ours(tmp_path, length):
    Path(tmp_path, f"{NAME}.partial").write_bytes(bytes(length))
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(StreamRefused, match=f"has {length} bytes"):
        again(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_synced_segment_survives_a_power_loss_with_its_name(tmp_path, monkeypatch):
    disk = Disk(monkeypatch)
    segment = new(tmp_path)
    segment.write(0, memoryview(b"abc"))
    assert f"{NAME}.partial" not in disk.survivors(str(tmp_path))
    segment.sync()
    assert disk.survivors(str(tmp_path))[f"{NAME}.partial"][:4] == b"abc\0"
    segment.write(3, memoryview(b"d"))
    segment.sync()
    segment.close()
    assert disk.survivors(str(tmp_path))[f"{NAME}.partial"][:5] == b"abcd\0"


def test_a_complete_segment_gets_its_final_name_durably(tmp_path, monkeypatch):
    disk = Disk(monkeypatch)
    segment = new(tmp_path)
    segment.write(0, memoryview(b"\xa5" * MB.nbytes))
    segment.sync()
    segment.complete()
    assert disk.survivors(str(tmp_path)) == {NAME: b"\xa5" * MB.nbytes}
    assert partials_in(str(tmp_path)) == []


def full(directory):
    segment = new(directory)
    segment.write(0, memoryview(b"\xa5" * MB.nbytes))
    segment.sync()
    return segment


def test_a_segment_whose_final_name_cannot_be_synced_is_partial_again(tmp_path, monkeypatch):
    segment = full(tmp_path)
    fail(monkeypatch, "fsync", errno.EIO, times=1)
    with pytest.raises(OSError, match="Input/output"):
        segment.complete()
    assert os.listdir(tmp_path) == [f"{NAME}.partial"]


def test_a_segment_that_is_here_already_is_only_replaced_by_itself(tmp_path):
    segment = full(tmp_path)
    (tmp_path / NAME).write_bytes(b"\xa5" * MB.nbytes)
    segment.complete()
    assert os.listdir(tmp_path) == [NAME]
    segment = full(tmp_path)
    (tmp_path / NAME).write_bytes(b"\x5a" * MB.nbytes)
    with pytest.raises(StreamRefused) as caught:
        segment.complete()
    assert NAME in caught.value.message and caught.value.hint
    assert (tmp_path / NAME).read_bytes() == b"\x5a" * MB.nbytes
    assert sorted(os.listdir(tmp_path)) == [NAME, f"{NAME}.partial"]
