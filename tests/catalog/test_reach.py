from support.values import MB, at, history, record

from catalog.coverage import Holdings
from catalog.inventory import Inventory
from catalog.reach import branches, windows
from catalog.timeline import History, Path
from catalog.walname import Segment


def holdings(*segments, records=(), histories=(), partials=()):
    """Segments are given as timeline and number; a backup needs those from its begin to its end."""
    held = Inventory.of(Segment(*each) for each in segments)
    held |= Inventory(partials=frozenset(Segment(*each) for each in partials))
    return Holdings(records, held, {each.timeline: each for each in histories}, MB)


def stretch(timeline, first, last):
    return [(timeline, number) for number in range(first, last + 1)]


def shown(path, held):
    return [(each.first.id, each.last) for each in windows(path, held)]


ONE = Path.of(History(1))
EARLY, LATE = record(2.25, 3.5), record(8.25, 8.5)


def test_all_backups_before_the_same_end_are_one_window():
    held = holdings(*stretch(1, 2, 9), records=(EARLY, LATE))
    assert shown(ONE, held) == [(EARLY.id, Segment(1, 9))]


def test_a_hole_ends_a_window_and_the_next_begins_with_the_next_backup():
    held = holdings(*stretch(1, 2, 5), *stretch(1, 7, 9), records=(LATE, EARLY))
    assert shown(ONE, held) == [(EARLY.id, Segment(1, 5)), (LATE.id, Segment(1, 9))]


def test_a_backup_that_cannot_be_restored_opens_no_window():
    held = holdings(*stretch(1, 3, 9), records=(EARLY, LATE))
    assert shown(ONE, held) == [(LATE.id, Segment(1, 9))]
    assert windows(ONE, holdings(*stretch(1, 2, 9))) == ()


def test_a_window_leads_onto_the_next_timeline():
    two = history(2, (1, 5.5))
    held = holdings(*stretch(1, 2, 6), *stretch(2, 5, 7), records=(EARLY,), histories=[two])
    assert shown(Path.of(two), held) == [(EARLY.id, Segment(2, 7))]


def no_partial(segment):
    raise AssertionError(segment)


def test_what_is_held_of_an_ancestor_behind_the_switch_is_a_branch():
    two = history(2, (1, 5.5))
    held = holdings(*stretch(1, 2, 6), *stretch(2, 5, 7), histories=[two])
    (branch,) = branches(Path.of(two), held, no_partial)
    assert (branch.timeline, branch.parting, branch.until) == (1, at(5.5), at(7))


def test_an_ancestor_that_is_held_up_to_the_switch_is_none():
    two = history(2, (1, 5.5))
    held = holdings(*stretch(1, 2, 4), *stretch(2, 5, 7), histories=[two])
    assert branches(Path.of(two), held, no_partial) == ()


def test_a_partial_segment_counts_as_far_as_it_is_filled():
    two = history(2, (1, 5.5))
    held = holdings(*stretch(1, 2, 4), *stretch(2, 5, 7), histories=[two], partials=[(1, 5)])
    assert branches(Path.of(two), held, lambda segment: at(5.5)) == ()
    (branch,) = branches(Path.of(two), held, lambda segment: at(5.75))
    assert (branch.parting, branch.until) == (at(5.5), at(5.75))


def test_another_timeline_that_parted_earlier_is_a_branch_from_there():
    two, three = history(2, (1, 5.5)), history(3, (1, 4.5))
    held = holdings(*stretch(1, 2, 5), *stretch(2, 5, 8), *stretch(3, 4, 6), histories=[two, three])
    found = {each.timeline: each for each in branches(Path.of(three), held, no_partial)}
    assert (found[1].parting, found[1].until) == (at(4.5), at(6))
    assert (found[2].parting, found[2].until) == (at(4.5), at(9))
