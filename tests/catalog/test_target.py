from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.errors import UsageError
from catalog.lsn import LSN
from catalog.target import (
    RecoveryTarget,
    parse_name,
    parse_position,
    parse_time,
    parse_timeline,
    parse_xid,
)

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_no_option_means_all_wal_there_is():
    assert RecoveryTarget.from_options({}) == RecoveryTarget(kind="latest")


@pytest.mark.parametrize(
    "kind, text, value",
    [
        ("time", "2026-01-31 12:00:00Z", NOON),
        ("lsn", "16/B374D848", LSN(0x16B374D848)),
        ("xid", "1234", "1234"),
        ("name", "before the upgrade", "before the upgrade"),
        ("immediate", "", None),
    ],
)
def test_each_kind_has_its_value(kind, text, value):
    target = RecoveryTarget.from_options({kind: text})
    assert (target.kind, target.value) == (kind, value)
    assert target.lsn == (value if kind == "lsn" else None)
    assert target.time == (value if kind == "time" else None)


def test_two_targets_are_refused():
    with pytest.raises(UsageError, match="more than one recovery target: lsn, name"):
        RecoveryTarget.from_options({"name": "x", "lsn": "0/5"})


@pytest.mark.parametrize("options", [{"time": "2026-01-31Z"}, {"lsn": "0/5"}, {"xid": "5"}])
def test_a_target_with_a_boundary_may_be_exclusive(options):
    assert RecoveryTarget.from_options(options).inclusive
    assert not RecoveryTarget.from_options(options, exclusive=True).inclusive


@pytest.mark.parametrize("options", [{}, {"name": "x"}, {"immediate": ""}])
def test_a_target_without_a_boundary_cannot_be_exclusive(options):
    with pytest.raises(UsageError, match="no boundary"):
        RecoveryTarget.from_options(options, exclusive=True)


def test_an_action_needs_a_target_and_is_one_of_three():
    assert RecoveryTarget.from_options({"immediate": ""}, action="promote").action == "promote"
    for options, action in [({}, "promote"), ({"immediate": ""}, "stop")]:
        with pytest.raises(UsageError, match="action"):
            RecoveryTarget.from_options(options, action=action)


def test_another_kind_is_refused():
    with pytest.raises(UsageError, match="'gtid'"):
        RecoveryTarget.from_options({"gtid": "1"})


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31T12:00:00Z",
        "2026-01-31 12:00Z",
        "2026-01-31 12:00:00+00",
        "2026-01-31 12:00:00.000 UTC",
        " 2026-01-31 14:00:00+02 ",
        "2026-01-31 14:00:00 +0200",
        "2026-01-31 17:30:00+05:30",
        "2026-01-31 13:00:00 Europe/Berlin",
        "2026-01-31 12:00:00 gmt",
    ],
)
def test_a_time_with_a_zone_is_taken_as_written(text):
    assert parse_time(text, BERLIN) == (NOON, False)


@pytest.mark.parametrize("text", ["2026-01-31 13:00:00", "2026-01-31T13:00"])
def test_a_time_without_a_zone_is_local_and_says_so(text):
    assert parse_time(text, BERLIN) == (NOON, True)
    target = RecoveryTarget.from_options({"time": text}, zone=BERLIN)
    assert target.local and target.time == NOON


def test_local_means_this_machine_s_zone_when_none_is_given(time_zone):
    time_zone("Asia/Tokyo")
    assert parse_time("2026-01-31 21:00") == (NOON, True)


@given(st.datetimes(datetime(1900, 1, 1), datetime(2900, 1, 1)), st.integers(-14 * 4, 14 * 4))
def test_a_time_reads_back_as_python_and_postgresql_print_it(naive, quarters):
    moment = naive.replace(tzinfo=timezone(timedelta(minutes=15 * quarters)))
    assert parse_time(moment.isoformat()) == parse_time(str(moment)) == (moment, False)
    short = moment.isoformat(" ").removesuffix(":00")
    assert parse_time(short)[0] == moment


@pytest.mark.parametrize("text", ["2026-10-25 02:30:00", "2026-03-29 02:30:00 Europe/Berlin"])
def test_a_time_that_the_change_of_clocks_doubles_or_skips_is_refused(text):
    with pytest.raises(UsageError, match="clocks change"):
        parse_time(text, BERLIN)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "yesterday",
        "20260131T120000",
        "2026-W05-6",
        "2026-02-30 12:00",
        "2026-01-31 25:00",
        "2026-01-31 12:00:00 CET",
        "2026-01-31 12:00:00 Mars/Base",
        "2026-01-31 12:00:00 ../etc/passwd",
        "2026-01-31 12:00:00+99",
        "2026-01-31-12:00",
        "0001-01-01 00:00:00+14",
        "9999-12-31 23:59:59-12",
    ],
)
def test_what_is_no_time_is_refused_with_an_example(text):
    with pytest.raises(UsageError) as caught:
        parse_time(text, UTC)
    assert "2026-01-31 12:00:00" in caught.value.hint


@given(
    st.text() | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2} ?[+-]?[A-Za-z0-9:/.]{0,9}")
)
def test_any_text_is_a_time_or_refused(text):
    for zone in (None, BERLIN):
        try:
            moment, _ = parse_time(text, zone)
            assert moment.tzinfo is not None
        except UsageError:
            pass


@pytest.mark.parametrize("text, digits", [("3", "3"), ("007", "7"), (str((5 << 32) + 3), str((5 << 32) + 3))])
def test_an_xid_may_have_its_epoch(text, digits):
    assert parse_xid(text) == digits


@pytest.mark.parametrize(
    "text", ["", "x", "-5", "0", "2", str(5 << 32), str(1 << 64), "9" * 5000, "٣", "1_0"]
)
def test_what_no_transaction_has_is_no_xid(text):
    with pytest.raises(UsageError):
        parse_xid(text)


@pytest.mark.parametrize("text", ["x", "a name", "é" * 31])
def test_a_name_has_up_to_63_bytes(text):
    assert parse_name(text) == text


@pytest.mark.parametrize("text", ["", "x" * 64, "é" * 32, "a\nb", "a\0b"])
def test_what_no_restore_point_is_called_is_no_name(text):
    with pytest.raises(UsageError):
        parse_name(text)


@pytest.mark.parametrize("text", ["", "0/0", "x", "0/g"])
def test_what_is_no_position_is_refused(text):
    with pytest.raises(UsageError):
        parse_position(text)


@pytest.mark.parametrize("text, timeline", [("latest", "latest"), ("current", "current"), ("12", 12)])
def test_a_timeline_is_a_number_or_one_of_two_words(text, timeline):
    assert parse_timeline(text) == timeline
    assert RecoveryTarget.from_options({}, timeline=text).timeline == timeline


@pytest.mark.parametrize("text", ["", "0", "-1", "0x2", "LATEST", str(1 << 32), "9" * 5000])
def test_any_other_timeline_is_refused(text):
    with pytest.raises(UsageError):
        parse_timeline(text)


@given(st.text(), st.sampled_from(["xid", "name", "lsn"]))
def test_any_text_is_a_value_of_its_kind_or_refused(text, kind):
    try:
        RecoveryTarget.from_options({kind: text}, timeline=text)
    except UsageError:
        pass
