"""Which WAL may go: never what a backup that stays can reach."""

from hypothesis import given
from hypothesis import strategies as st
from support.values import MB, history, record, segment_names

from catalog.coverage import Holdings, carries, missing
from catalog.expiry import Staying, unneeded
from catalog.inventory import Inventory, Run
from catalog.timeline import Path
from catalog.walname import Segment

FORK = history(2, (1, 10.5))
HISTORIES = {1: history(1), 2: FORK}


def holdings(names, records, histories=HISTORIES):
    return Holdings(tuple(records), Inventory.from_names(names, MB), histories, MB)


def goes(names, staying, current=1, histories=HISTORIES):
    found = holdings(names, [each.record for each in staying], histories)
    return unneeded(staying, found, Path.of(histories[current]))


def test_wal_before_the_oldest_backup_goes():
    names = segment_names(1, range(1, 20))
    assert goes(names, [Staying(record(5.5, 6.5)), Staying(record(12.5, 13.5))]).runs == (Run(1, 1, 4),)


def test_without_a_restorable_backup_on_the_current_path_nothing_goes():
    names = segment_names(1, range(1, 20))
    assert len(goes(names, [])) == 0
    assert len(goes(names, [Staying(record(30.5, 31.5))])) == 0  # its own WAL is not there
    assert len(goes(names, [Staying(record(12.5, 13.5))], current=2)) == 0  # on the branch that was left
    assert len(goes(names, [Staying(record(5.5, 6.5), alone=True)])) == 0


def test_the_way_to_a_new_timeline_stays_and_so_does_the_branch_that_was_left():
    names = segment_names(1, range(1, 15)) + segment_names(2, range(10, 30))
    assert goes(names, [Staying(record(5.5, 6.5))], current=2).runs == (Run(1, 1, 4),)


def test_a_branch_that_no_backup_leads_to_goes():
    names = segment_names(1, range(1, 15)) + segment_names(2, range(10, 30))
    found = goes(names, [Staying(record(20.5, 21.5, timeline=2))], current=2)
    assert found.runs == (Run(1, 1, 14), Run(2, 10, 19))


def test_wal_of_a_timeline_whose_history_is_missing_stays():
    names = segment_names(1, range(1, 15)) + segment_names(7, range(1, 3))
    assert goes(names, [Staying(record(5.5, 6.5))]).runs == (Run(1, 1, 4),)


def test_one_that_stands_alone_keeps_the_wal_of_its_span():
    names = segment_names(1, range(1, 20))
    staying = [Staying(record(3.5, 5.5), alone=True), Staying(record(12.5, 13.5))]
    assert goes(names, staying).runs == (Run(1, 1, 2), Run(1, 6, 11))


def test_partial_segments_go_with_the_others():
    names = [f"{name}.partial" for name in segment_names(1, (3, 8))] + segment_names(1, range(4, 8))
    found = goes([*names, *segment_names(1, [4, 5, 6])], [Staying(record(5.5, 6.5))])
    assert (found.runs, found.partials) == ((Run(1, 4, 4),), frozenset({Segment(1, 3)}))
    assert found.has(Segment(1, 4)) and not found.has(Segment(1, 5)) and len(found) == 2


spans = st.tuples(st.sampled_from([1, 2]), st.integers(1, 29), st.booleans())


@given(
    st.sets(st.tuples(st.sampled_from([1, 2]), st.integers(1, 30)), max_size=60),
    st.lists(spans, max_size=5),
    st.sampled_from([1, 2]),
)
def test_whatever_stays_reaches_what_it_reached(segments, backups, current):
    names = [Segment(timeline, number).name(MB) for timeline, number in segments]
    staying = [
        Staying(record(first + 0.25, first + 1.25, timeline=timeline), alone)
        for timeline, first, alone in backups
    ]
    before = holdings(names, [each.record for each in staying])
    gone = unneeded(staying, before, Path.of(HISTORIES[current]))
    after = before.inventory.without(gone.runs, gone.partials)
    assert all(before.inventory.has(Segment(run.timeline, run.first)) for run in gone.runs)
    for each in staying:
        first = each.record.first_segment.number
        last = each.record.last_segment.number if each.alone else 31
        for path in before.paths().values():
            if carries(path, each.record):
                holes = [missing(path, have, first, last, MB) for have in (before.inventory, after)]
                assert holes[0] == holes[1]
