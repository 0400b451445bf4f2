import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.values import MB, at, history, segment_names

from catalog.errors import StreamRefused
from catalog.inventory import Inventory
from catalog.lsn import LSN
from catalog.timeline import History
from catalog.walname import Segment
from walstream.commands import SystemFacts
from walstream.facts import ServerFacts
from walstream.resume import Start, find_start

ONE = History(1)


def held(*segments):
    """An inventory of segments given as timeline and number."""
    return Inventory.of(Segment(timeline, number) for timeline, number in segments)


def start(known, have, begins=(), slot=None, position=9.5, begun=()):
    """Where a receiver begins, as timeline and number of a segment."""
    facts = ServerFacts(SystemFacts(1, known.timeline, at(position)), 150000, MB, known)
    slot_position = None if slot is None else at(slot)
    kept, parts = ([Segment(*segment) for segment in segments] for segments in (begins, begun))
    found = find_start(facts, have, kept, slot_position, MB, parts)
    assert MB.offset(found.position) == 0
    return found.timeline, MB.number_at(found.position)


def test_with_nothing_held_it_begins_at_the_slots_restart_position():
    assert start(ONE, held(), slot=4.7) == (1, 4)


def test_with_nothing_held_and_no_slot_it_begins_where_the_server_is():
    assert start(ONE, held()) == (1, 9)


def test_a_slot_ahead_of_the_server_is_not_believed():
    assert start(ONE, held(), slot=12) == (1, 9)


def test_a_slot_before_the_switch_begins_on_the_older_timeline():
    assert start(history(2, (1, 6.5)), held(), slot=4.7) == (1, 4)
    assert start(history(2, (1, 6.5)), held(), slot=6.2) == (2, 6)


def test_it_goes_on_behind_the_newest_segment():
    assert start(ONE, held((1, 4), (1, 5)), slot=2) == (1, 6)


def test_it_goes_on_with_what_was_begun_though_nothing_is_complete():
    assert start(ONE, held(), begun=[(1, 6)]) == (1, 6)
    assert start(history(2, (1, 6.5)), held(), begun=[(1, 6)]) == (2, 6)
    assert start(history(2, (1, 4.5)), held(), begun=[(1, 6)]) == (2, 9)
    assert start(ONE, held((1, 3)), begun=[(1, 6)]) == (1, 4)
    assert start(ONE, held(), begins=[(1, 7)], begun=[(1, 6)]) == (1, 7)


def test_a_hole_is_filled_before_the_tail():
    assert start(ONE, held((1, 4), (1, 6), (1, 7))) == (1, 5)


def test_counting_begins_at_the_oldest_kept_backup():
    have = held((1, 2), (1, 4), (1, 5))
    assert start(ONE, have, begins=[(1, 5), (1, 4)]) == (1, 6)
    assert start(ONE, have, begins=[(1, 4), (1, 2)]) == (1, 3)


def test_the_segment_with_the_switch_is_fetched_on_the_newer_timeline():
    known = history(2, (1, 6.5))
    assert start(known, held((1, 5))) == (2, 6)
    assert start(known, held((1, 5), (1, 6), (1, 7))) == (2, 6)
    assert start(known, held((1, 5), (2, 6))) == (2, 7)


def test_a_switch_at_the_end_of_a_segment_leaves_that_segment_to_the_older_timeline():
    known = history(2, (1, 6))
    assert start(known, held((1, 4))) == (1, 5)
    assert start(known, held((1, 4), (1, 5))) == (2, 6)


def test_a_backup_that_began_right_before_the_switch_counts():
    known = history(2, (1, 6.5))
    assert start(known, held((2, 8)), begins=[(1, 6)]) == (2, 6)


def test_backups_and_wal_of_another_branch_do_not_count():
    known = history(3, (1, 6.5))
    assert start(known, held((2, 7), (2, 8)), begins=[(2, 7)], slot=8) == (3, 8)
    assert start(known, held((1, 7), (1, 8)), slot=8) == (3, 8)


def test_more_wal_of_an_ancestor_than_the_server_has_is_followed():
    assert start(history(2, (1, 6.5)), held(*((1, n) for n in range(4, 40)))) == (2, 6)


def test_more_wal_of_its_own_timeline_than_the_server_has_is_refused():
    with pytest.raises(StreamRefused) as caught:
        start(ONE, held((1, 8), (1, 9)), position=9.5)
    assert "up to 0/A00000" in caught.value.message and "0/980000" in caught.value.message
    assert start(ONE, held((1, 8), (1, 9)), position=10) == (1, 10)


def test_partial_segments_are_fetched_again():
    names = [*segment_names(1, [4]), f"{segment_names(1, [5])[0]}.partial"]
    assert start(ONE, Inventory.from_names(names, MB)) == (1, 5)


# A tree of timelines, in quarters of segments, against the rules taken literally.

QUARTERS = st.integers(0, 40)


@st.composite
def trees(draw):
    """Histories by timeline: each new one leaves any older one at any position, even before that began."""
    switches = {1: ()}
    for timeline in range(2, draw(st.integers(2, 6))):
        parent = draw(st.integers(1, timeline - 1))
        switches[timeline] = (*switches[parent], (parent, draw(QUARTERS) / 4))
    return [history(timeline, *left) for timeline, left in switches.items()]


SEGMENTS = st.tuples(st.integers(1, 5), st.integers(0, 10))


@given(trees(), st.data())
def test_the_start_is_the_first_segment_missing_on_the_servers_path(tree, data):
    known = data.draw(st.sampled_from(tree))
    have = data.draw(st.sets(SEGMENTS))
    begins = data.draw(st.lists(SEGMENTS, max_size=3))
    slot = data.draw(st.none() | QUARTERS.map(lambda quarters: quarters / 4))
    position = data.draw(st.integers(0, 48)) / 4
    expected = literally(known, have, begins, slot, position)
    if expected is None:
        with pytest.raises(StreamRefused):
            start(known, held(*have), begins, slot, position)
    else:
        assert start(known, held(*have), begins, slot, position) == expected


def literally(known, have, begins, slot, position):
    timelines = [*(switch.timeline for switch in known.switches), known.timeline]
    begun = [0.0, *(switch.position.value / MB.nbytes for switch in known.switches)]

    def owner(where):
        """The newest timeline that began at that place or before."""
        return [t for t, begin in zip(timelines, begun, strict=True) if begin <= where][-1]

    def counting(number):
        """The timeline whose copy of a segment counts."""
        return owner(number + 0.75)

    quarters = (0, 0.25, 0.5, 0.75)
    wanted = [n for t, n in begins if t in {owner(n + quarter) for quarter in quarters}]
    wanted = wanted or [n for t, n in have if counting(n) == t]
    if not wanted:
        number = int(position if slot in (None, 0) else min(slot, position))
        return counting(number), number
    number = min(wanted)
    while (counting(number), number) in have:
        number += 1
    return (counting(number), number) if number <= position else None


def test_a_start_is_a_value():
    assert Start(1, LSN(1 << 24)) == Start(1, LSN(1 << 24))
