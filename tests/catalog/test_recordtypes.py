import struct
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.values import START

from catalog.errors import Malformed
from catalog.lsn import LSN
from catalog.recordtypes import (
    Ending,
    RestorePoint,
    Running,
    as_time,
    ending,
    from_time,
    restore_point,
    running,
)
from catalog.walrecord import Record

AT = (LSN(100), LSN(200))
TIME = from_time(START)


def record(rmgr, info, main, xid=7, before=b""):
    wrapped = (
        b"\xff" + bytes([len(main)]) + main
        if len(main) < 256
        else b"\xfe" + struct.pack("<I", len(main)) + main
    )
    data = before + wrapped
    return Record(LSN(100), LSN(200), LSN(50), 24 + len(data), xid, info, rmgr, data)


def commit(xinfo, *parts, info=0x80):
    return record(1, info, struct.pack("<qI", TIME, xinfo) + b"".join(parts))


def listed(nbytes, *elements):
    return struct.pack("<i", len(elements)) + b"".join(each.to_bytes(nbytes, "little") for each in elements)


def test_a_minimal_commit():
    assert ending(record(1, 0, struct.pack("<q", TIME)), 15) == Ending(*AT, 7, TIME, True)
    assert as_time(TIME) == START


def test_general_bits_of_the_info_do_not_matter():
    assert ending(record(1, 0x01, struct.pack("<q", TIME)), 15) == Ending(*AT, 7, TIME, True)


def test_an_abort_with_subtransactions():
    aborted = commit(0x3, struct.pack("<II", 5, 1663), listed(4, 8, 9), info=0xA0)
    assert ending(aborted, 13) == Ending(*AT, 7, TIME, False, (8, 9))


@pytest.mark.parametrize(("version", "stats"), [(15, 12), (17, 12), (18, 16)])
@pytest.mark.parametrize(("info", "is_commit"), [(0xB0, True), (0xC0, False)])
def test_the_prepared_transaction_is_the_one_that_ends(version, stats, info, is_commit):
    parts = [
        struct.pack("<II", 5, 1663),
        listed(4, 8),
        listed(12, 1, 2, 3),
        listed(stats, 4, 5),
        listed(16, 6),
        struct.pack("<I", 4711),
        b"name\0",
    ]
    found = ending(commit(0x1 | 0x2 | 0x4 | 0x100 | 0x8 | 0x10 | 0x80, *parts, info=info), version)
    assert found == Ending(*AT, 4711, TIME, is_commit, (8,))


def test_origin_and_top_level_transaction_may_stand_before_the_data():
    before = b"\xfd\x01\x00" + b"\xfc\x01\x00\x00\x00"
    assert ending(record(1, 0, struct.pack("<q", TIME), before=before), 15).time == TIME


@pytest.mark.parametrize("info", [0x10, 0x50, 0x60])
def test_other_records_of_transactions_end_none(info):
    assert ending(record(1, info, bytes(8)), 15) is None
    assert ending(record(10, 0, bytes(8)), 15) is None


def test_a_restore_point_s_name_ends_at_the_first_zero():
    name = b"before it\0garbage".ljust(64, b"\xaa")
    assert restore_point(record(0, 0x70, struct.pack("<q", TIME) + name)) == RestorePoint(
        *AT, "before it", TIME
    )
    full = b"n" * 63 + b"\0"
    assert restore_point(record(0, 0x70, struct.pack("<q", TIME) + full)).name == "n" * 63
    assert restore_point(record(0, 0x60, bytes(72))) is None


def test_running_transactions():
    main = struct.pack("<iiiIIII", 1, 0, 0, 900, 897, 898, 897)
    assert running(record(8, 0x10, main)) == Running(LSN(100), 900, 897)
    assert running(record(8, 0x20, main)) is None


@pytest.mark.parametrize(
    "short",
    [
        record(1, 0, bytes(7)),
        commit(0x2, struct.pack("<i", 3), bytes(8)),
        commit(0x2, struct.pack("<i", -1)),
        commit(0x10, b"\0\0"),
        record(0, 0x70, bytes(71)),
        record(8, 0x10, bytes(19)),
        Record(*AT, LSN(50), 25, 7, 0, 1, b"\xfe"),
    ],
)
def test_a_record_that_is_too_short_for_what_it_says_is_refused(short):
    with pytest.raises(Malformed, match="0/64 does not follow its layout"):
        for read in (lambda each: ending(each, 15), restore_point, running):
            read(short)


@given(
    st.binary(max_size=120), st.integers(0, 255), st.sampled_from([0, 1, 8]), st.sampled_from([13, 15, 18])
)
def test_whatever_a_record_holds_is_read_or_refused(data, info, rmgr, version):
    found = Record(*AT, LSN(50), 24 + len(data), 7, info, rmgr, data)
    for read in (lambda each: ending(each, version), restore_point, running):
        try:
            read(found)
        except Malformed:
            pass


@given(st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)))
def test_a_time_is_the_same_both_ways(time):
    assert as_time(from_time(time.replace(tzinfo=UTC))) == time.replace(tzinfo=UTC)


def test_a_time_that_no_calendar_here_has_is_the_last_one():
    assert as_time((1 << 63) - 1) > datetime.now(UTC) + timedelta(days=365)
    assert as_time(-(1 << 63)).year == 1
