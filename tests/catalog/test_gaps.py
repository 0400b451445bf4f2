"""Gaps that had to be accepted: how they are remembered, and until when they are open."""

from datetime import UTC, datetime

import pytest
from support.values import MB, record, segment_names

from catalog.coverage import Holdings
from catalog.errors import Corrupt
from catalog.gaps import Gap, gaps_path, open_gaps, read_gaps, record_gap
from catalog.inventory import Inventory, Run

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
GAP = Gap(Run(1, 5, 6), NOW, "removed")
BEFORE, BEHIND = record(2.25, 3.5), record(7.25, 8.5)


def holdings(numbers, *records):
    return Holdings(records, Inventory.from_names(segment_names(1, numbers), MB), {}, MB, {})


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
