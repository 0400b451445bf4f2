"""Which holes matter: along paths, behind backups, recorded or not."""

from hypothesis import given
from hypothesis import strategies as st
from support.values import MB, history, record, segment_names

from catalog.coverage import Holdings
from catalog.inventory import Inventory, Run
from catalog.wal_holes import MISSING, RECORDED, UNNEEDED, Hole, holes

FORK = {1: history(1), 2: history(2, (1, 10.5))}


def found(names, records=(), recorded=(), alone=(), histories=FORK):
    holdings = Holdings(tuple(records), Inventory.from_names(names, MB), histories, MB)
    return holes(holdings, recorded, alone)


def test_without_a_backup_every_hole_is_missing():
    names = segment_names(1, [3, 4, 7, 9])
    assert found(names) == [Hole(Run(1, 5, 6), MISSING), Hole(Run(1, 8, 8), MISSING)]


def test_what_no_backup_reaches_is_not_needed():
    names = segment_names(1, [3, 6, 7, 9])
    assert found(names, [record(6.5, 7.5)]) == [Hole(Run(1, 4, 5), UNNEEDED), Hole(Run(1, 8, 8), MISSING)]


def test_what_lies_behind_one_that_is_kept_alone_is_not_needed():
    names = segment_names(1, [3, 4, 8, 9])
    kept, newer = record(3.5, 4.5), record(8.5, 9.5, id="20260201T120000")
    assert found(names, [kept, newer], alone=[kept.id]) == [Hole(Run(1, 5, 7), UNNEEDED)]
    assert found(names, [kept, newer]) == [Hole(Run(1, 5, 7), MISSING)]
    # Nothing else leads to what is behind it.
    assert found(names, [kept], alone=[kept.id]) == [Hole(Run(1, 5, 7), MISSING)]


def test_recorded_gaps_are_called_so_and_what_is_more_is_missing():
    names = segment_names(1, [3, 9])
    assert found(names, [record(3.5, 3.9)], recorded=[Run(1, 5, 6)]) == [
        Hole(Run(1, 4, 4), MISSING),
        Hole(Run(1, 5, 6), RECORDED),
        Hole(Run(1, 7, 8), MISSING),
    ]


def test_the_first_segments_of_a_backup_count_before_the_first_that_is_held():
    assert found(segment_names(1, [5]), [record(3.5, 4.5)]) == [Hole(Run(1, 3, 4), MISSING)]
    assert found([], [record(3.5, 4.5)]) == []  # the status of the backup says that


def test_segments_are_asked_for_on_the_timeline_whose_copy_counts():
    names = segment_names(1, range(3, 10)) + segment_names(2, [11, 12])
    assert found(names) == [Hole(Run(2, 10, 10), MISSING)]
    assert found(names + segment_names(1, [10, 11])) == [Hole(Run(2, 10, 10), MISSING)]
    assert found(names + segment_names(2, [10])) == []


def test_the_last_segments_before_a_branch_are_missing_only_if_the_branch_is_there():
    names = segment_names(1, range(3, 9))
    assert found(names) == []
    assert found(names + segment_names(2, [10, 11])) == [Hole(Run(1, 9, 9), MISSING)]


def test_a_timeline_without_its_history_is_judged_by_itself():
    assert found(segment_names(7, [3, 5])) == [Hole(Run(7, 4, 4), MISSING)]


@given(st.sets(st.integers(3, 20), min_size=1), st.sets(st.integers(3, 20)), st.integers(3, 20))
def test_each_segment_that_is_not_there_is_in_one_hole(numbers, gone, first):
    recorded = [Run(1, number, number) for number in gone]
    told = found(segment_names(1, numbers), [record(first + 0.25, first + 0.5)], recorded)
    each = [number for hole in told for number in range(hole.run.first, hole.run.last + 1)]
    begin, end = min(*numbers, first), max(*numbers, first)
    assert sorted(each) == sorted({*range(begin, end + 1)} - numbers)
    for hole in told:
        inside = range(hole.run.first, hole.run.last + 1)
        right = RECORDED if gone.issuperset(inside) else UNNEEDED if inside[-1] < first else MISSING
        assert hole.kind == right
