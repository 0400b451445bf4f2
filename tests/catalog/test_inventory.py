from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.values import MB, segment_names

from catalog.inventory import Inventory, Run
from catalog.lsn import SegmentSize
from catalog.walname import Segment, history_name

# Few numbers, on both sides of where the middle part of a name changes.
numbers = st.integers(4090, 4102)
stored = st.sets(st.builds(Segment, st.integers(1, 3), numbers))


def names(segments, suffix=""):
    return [segment.name(MB) + suffix for segment in segments]


def expand(runs):
    return {Segment(run.timeline, number) for run in runs for number in range(run.first, run.last + 1)}


@given(stored, st.data())
def test_an_inventory_holds_the_segments_it_was_given_in_any_order_and_number(segments, data):
    listing = data.draw(st.permutations(names(segments) + names(data.draw(stored.map(list)) and segments)))
    inventory = Inventory.from_names(listing, MB)
    assert {run.timeline for runs in inventory.runs.values() for run in runs} == set(inventory.runs)
    assert expand(run for runs in inventory.runs.values() for run in runs) == segments
    assert inventory == Inventory.of(segments)


@given(stored)
def test_runs_are_in_order_and_as_long_as_they_can_be(segments):
    inventory = Inventory.from_names(names(segments), MB)
    for timeline in inventory.runs:
        assert all(a.last + 1 < b.first for a, b in pairwise(inventory.spans(timeline)))


@given(stored, stored)
def test_the_union_of_two_inventories_holds_what_is_in_either(repository, spool):
    assert Inventory.of(repository) | Inventory.of(spool) == Inventory.of(repository | spool)


@given(stored, st.integers(1, 4), numbers, numbers)
def test_what_is_missing_and_what_is_there_make_up_the_whole(segments, timeline, first, last):
    inventory = Inventory.of(segments)
    wanted = {Segment(timeline, number) for number in range(first, last + 1)}
    missing = inventory.missing(timeline, first, last)
    assert expand(missing) == wanted - segments
    assert all(a.last + 1 < b.first for a, b in pairwise(missing))
    assert {segment for segment in wanted if inventory.has(segment)} == wanted & segments


@given(stored, st.integers(1, 4))
def test_gaps_are_what_is_missing_between_the_oldest_and_the_newest(segments, timeline):
    inventory = Inventory.of(segments)
    mine = {segment for segment in segments if segment.timeline == timeline}
    oldest, newest = inventory.oldest(timeline), inventory.newest(timeline)
    assert (oldest, newest) == (
        min(mine, default=None),
        max(mine, key=lambda each: each.number, default=None),
    )
    if oldest and newest:
        assert inventory.gaps(timeline) == inventory.missing(timeline, oldest.number, newest.number)
    else:
        assert inventory.gaps(timeline) == ()


@given(stored, stored, st.sets(st.integers(1, 9)), st.lists(st.text(max_size=26)))
def test_partials_histories_and_other_files_are_kept_apart(segments, partials, histories, strangers):
    backups = [segment.name(MB) + ".00000028.backup" for segment in segments]
    listing = names(segments) + names(partials, ".partial") + backups + [*map(history_name, histories)]
    inventory = Inventory.from_names(listing + strangers, MB)
    assert expand(run for runs in inventory.runs.values() for run in runs) == segments
    assert (inventory.partials, inventory.histories) == (partials, histories)
    assert set(inventory.others) == set(strangers)


@pytest.mark.parametrize(
    "stranger",
    [
        "000000010000000000001000",
        "000000010000000000000ffe",
        "0000000100000000 00000FF",
        "000000000000000000000001",
        "+00000010000000000000001",
        "000000010000000000001000.partial",
    ],
)
def test_a_stranger_among_segments_is_named_and_takes_none_with_it(stranger):
    listing = [*segment_names(1, range(5)), stranger]
    inventory = Inventory.from_names(listing, MB)
    assert inventory.spans(1) == (Run(1, 0, 4),)
    assert inventory.others == (stranger,)
    assert inventory == Inventory.from_names(segment_names(1, range(5)), MB)


@pytest.mark.parametrize("megabytes", [1, 16, 1024])
def test_a_run_goes_on_where_the_middle_part_of_the_name_changes(megabytes):
    size = SegmentSize(megabytes << 20)
    inventory = Inventory.from_names((Segment(7, number).name(size) for number in range(3, 5000)), size)
    assert inventory.spans(7) == (Run(7, 3, 4999),)
    assert len(inventory.spans(7)[0]) == 4997


def test_an_empty_listing_holds_nothing():
    inventory = Inventory.from_names([], MB)
    assert inventory == Inventory()
    assert not inventory.has(Segment(1, 1))
    assert inventory.missing(1, 5, 4) == ()
