from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.values import START, at, extras

from catalog.errors import Corrupt
from catalog.marks import FailedMark, KeepMark, RemovedMark, StartedMark, VerifiedMark
from catalog.record import Point

ID = "20260131T120000"
started = st.builds(
    StartedMark,
    pid=st.integers(1, 1 << 22),
    name=st.none() | st.text(),
    started=st.just(START),
    parent=st.sampled_from([None, ID]),
    begin=st.sampled_from([None, Point(at(2), 1, START)]),
    extra=extras,
)
failed = st.builds(
    FailedMark,
    started=st.just(START),
    ended=st.just(START + timedelta(microseconds=1)),
    error=st.text(),
    hint=st.none() | st.text(),
    extra=extras,
)
verified = st.builds(
    VerifiedMark,
    at=st.just(START),
    sums=st.dictionaries(st.text(), st.text(), max_size=3),
    problems=st.lists(st.text(), max_size=2).map(tuple),
    files_stamp=st.none() | st.text(),
    wal_stamp=st.none() | st.text(),
    extra=extras,
)

keep = st.builds(KeepMark, target=st.sampled_from(["full", "standalone"]), since=st.just(START), extra=extras)
removed = st.builds(RemovedMark, at=st.just(START), reason=st.text(), extra=extras)


@given(started | failed | verified | keep | removed)
def test_a_mark_reads_back_as_it_was_written_unknown_keys_included(mark):
    assert type(mark).from_json(mark.to_json()) == mark


@pytest.mark.parametrize(
    "kind, key",
    [
        (StartedMark, "pid"),
        (FailedMark, "started"),
        (VerifiedMark, "at"),
        (KeepMark, "target"),
        (RemovedMark, "at"),
    ],
)
def test_a_missing_key_is_named_with_the_file(kind, key):
    with pytest.raises(Corrupt, match=rf"(started|failed|verified|keep|removed).json: '{key}' is missing"):
        kind.from_json(b'{"sums": {}}')


@given(st.binary(), st.sampled_from([StartedMark, FailedMark, VerifiedMark, KeepMark, RemovedMark]))
def test_any_bytes_are_a_mark_or_corrupt(data, kind):
    with pytest.raises(Corrupt):
        kind.from_json(data)


def test_a_sum_that_is_no_text_is_named():
    with pytest.raises(Corrupt, match=r"'sums.base.tar' is not a string"):
        VerifiedMark.from_json(b'{"at": "2026-01-31T12:00:00Z", "sums": {"base.tar": 1}}')
