"""Gaps that had to be accepted: how they are remembered, and until when they are open."""

from datetime import UTC, datetime

import pytest
from support.values import MB, history, record, segment_names

from catalog.coverage import Holdings
from catalog.errors import Corrupt
from catalog.gaps import Gap, gaps_path, open_gaps, read_gaps, record_gap
from catalog.inventory import Inventory, Run
from catalog.timeline import Path

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
GAP = Gap(Run(1, 5, 6), NOW, "removed")
BEFORE, BEHIND = record(2.25, 3.5), record(7.25, 8.5)


def holdings(numbers, *records, histories=None):
    names = [name for timeline in (1, *(histories or ())) for name in segment_names(timeline, numbers)]
    return Holdings(records, Inventory.from_names(names, MB), histories or {}, MB, {})


def test_what_was_recorded_is_read_again_in_order(tmp_path):
    assert read_gaps(str(tmp_path), MB) == ()
    other = Gap(Run(2, 9, 9), NOW, "so it is")
    for gap in (GAP, other):
        record_gap(str(tmp_path), gap, MB)
    assert read_gaps(str(tmp_path), MB) == (GAP, other)


@pytest.mark.parametrize("content", ["", "{}", '{"gaps": [{"first": 1}]}', '{"gaps": [{"first": "x"}]}'])
def test_a_damaged_document_is_an_error_with_a_way_out(tmp_path, content):
    record_gap(str(tmp_path), GAP, MB)
    with open(gaps_path(str(tmp_path)), "w") as file:
        file.write(content)
    with pytest.raises(Corrupt) as caught:
        read_gaps(str(tmp_path), MB)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("numbers", "records", "is_open"),
    [
        ([2, 3, 4, 7, 8], [BEFORE], True),
        ([2, 3, 4, 7, 8], [BEFORE, BEHIND], False),
        ([2, 3, 4, 7], [BEFORE, BEHIND], True),
        ([2, 3, 4, 5, 6, 7], [BEFORE], False),
        ([2, 3, 4, 6, 7], [BEFORE], True),
    ],
    ids=["no backup behind it", "a restorable one", "one that is not", "filled", "filled in part"],
)
def test_a_gap_is_open_until_a_restorable_backup_begins_behind_it_or_it_is_filled(numbers, records, is_open):
    assert open_gaps([GAP], holdings(numbers, *records)) == ([GAP] if is_open else [])


@pytest.mark.parametrize(
    ("switch", "is_open"),
    [(3.5, False), (5.5, False), (6.5, True), (8.5, True)],
    ids=["before", "in it", "in its last", "behind"],
)
def test_a_gap_of_a_branch_that_was_left_is_none_of_the_newer_timeline(switch, is_open):
    held = holdings([2, 3, 4, 7, 8, 9], BEFORE, histories={2: history(2, (1, switch))})
    assert bool(open_gaps([GAP], held)) is is_open
    assert open_gaps([GAP], held, Path.of(history(1))) == [GAP]


def test_a_backup_on_another_branch_closes_no_gap():
    other = record(9.25, 9.5, timeline=2)
    held = holdings([2, 3, 4, 7, 8, 9], BEFORE, other, histories={2: history(2, (1, 3.5))})
    assert open_gaps([GAP], held, Path.of(history(1))) == [GAP]
