from datetime import UTC, datetime

import pytest

from backup.label import BackupLabel
from backup.manifest_entry import WalRange
from backup.wal_range import require_label, require_range
from catalog.errors import Corrupt
from catalog.lsn import LSN
from catalog.record import Point

NOW = datetime(2026, 1, 31, tzinfo=UTC)
BEGIN, END = Point(LSN(0x2000028), 1, NOW), Point(LSN(0x2000120), 1, NOW)
LATER = Point(LSN(0x5000000), 3, NOW)


def span(timeline: int, start: int, end: int) -> WalRange:
    return WalRange(timeline, LSN(start), LSN(end))


def test_the_span_of_the_backup_is_accepted() -> None:
    require_range([span(1, 0x2000028, 0x2000120)], BEGIN, END)


def test_a_span_over_several_timelines_is_accepted_where_each_begins_at_the_end_of_the_one_before() -> None:
    ranges = [span(3, 0x4000000, 0x5000000), span(2, 0x3000000, 0x4000000), span(1, 0x2000028, 0x3000000)]
    require_range(ranges, BEGIN, LATER)
    with pytest.raises(Corrupt):
        require_range([ranges[0], ranges[2]], BEGIN, LATER)


@pytest.mark.parametrize(
    "ranges",
    [
        [],
        [span(1, 0x2000000, 0x2000120)],
        [span(1, 0x2000028, 0x2000128)],
        [span(2, 0x2000028, 0x2000120)],
        [span(1, 0x2000028, 0x2000120), span(1, 0x2000028, 0x2000120)],
    ],
)
def test_any_other_span_is_corrupt(ranges: list[WalRange]) -> None:
    with pytest.raises(Corrupt, match="lies from 0/2000028 on timeline 1 to 0/2000120 on timeline 1"):
        require_range(ranges, BEGIN, END)


def test_a_label_must_begin_where_the_backup_does() -> None:
    label = BackupLabel(LSN(0x2000028), "000000010000000000000002", LSN(0x2000060), 1)
    require_label(label, BEGIN)
    with pytest.raises(Corrupt, match="backup_label begins at 0/2000028 on timeline 1"):
        require_label(label, LATER)
