"""Two copies of an incomplete segment, whatever is behind the end of their records."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.filed_wal import filing, giving, name
from support.streams import Given, drain
from support.values import MB
from support.wal_pages import SYSTEM_IDENTIFIER
from support.wal_records import WalWriter

from catalog.comparison import LONGER, OTHER, SHORTER
from catalog.errors import Conflict
from catalog.local_storage import LocalStorage
from catalog.partials import compare_records, valid_length
from catalog.wal import WalShelf
from catalog.walname import Segment

SEGMENT = Segment(1, 7)
OLD = b"\xaa" * (1 << 20)  # what a file that is used again held before


def written(records, tail=bytes(1 << 20), last=None):
    """A copy with so many records (and one more), and behind them what ``tail`` has; their length."""
    wal = WalWriter(MB, 7)
    for number in range(records):
        wal.add(raw=bytes([number % 250]) * 1000)
    if last is not None:
        wal.add(raw=last)
    length = wal.at - (7 << 20)
    return wal.segments[7][:length] + tail[length:], length


def compared(stored, arriving):
    return compare_records(giving(stored), giving(arriving), SEGMENT, MB, SYSTEM_IDENTIFIER)


@pytest.mark.parametrize("tail", [bytes(1 << 20), OLD])
def test_a_copy_ends_where_its_records_do(tail):
    data, length = written(200, tail)
    assert valid_length(Given(data, most=5000), SEGMENT, MB, SYSTEM_IDENTIFIER) == length


def test_a_copy_of_another_segment_has_no_records():
    data, _ = written(200)
    assert valid_length(Given(data), SEGMENT.next(), MB, SYSTEM_IDENTIFIER) == 0
    assert valid_length(Given(bytes(1 << 20)), SEGMENT, MB, SYSTEM_IDENTIFIER) == 0
    assert compared(data, bytes(1 << 20)) == OTHER


@given(st.integers(1, 300), st.integers(1, 300), st.booleans(), st.booleans())
def test_the_one_with_more_records_wins_whatever_is_behind_them(first, second, old_first, old_second):
    stored, _ = written(first, OLD if old_first else bytes(1 << 20))
    arriving, _ = written(second, OLD if old_second else bytes(1 << 20))
    assert compared(stored, arriving) == (LONGER if second > first else SHORTER)


def test_two_branches_are_two_branches():
    stored, arriving = (written(20, last=last)[0] for last in (b"one", b"other"))
    assert compared(stored, arriving) == OTHER


@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_the_server_s_own_copy_and_ours_are_no_conflict(codec, tmp_path):
    """A promoted server archives the end of the old timeline as its file is: behind it are older bytes."""
    shelf, partial = WalShelf(LocalStorage(str(tmp_path))), f"{name(7)}.partial"
    ours, theirs, longer = written(100)[0], written(60, OLD)[0], written(130, OLD)[0]
    with filing(LocalStorage(str(tmp_path)), codec) as files:
        assert files.put(partial, giving(ours)) is True
        assert files.put(partial, giving(theirs)) is False
        assert drain(shelf.open(partial)) == ours
        assert files.put(partial, giving(longer)) is True
        assert drain(shelf.open(partial)) == longer
        assert files.put(partial, giving(ours)) is False
        with pytest.raises(Conflict):
            files.put(partial, giving(written(60, OLD, last=b"another branch")[0]))
        assert drain(shelf.open(partial)) == longer
