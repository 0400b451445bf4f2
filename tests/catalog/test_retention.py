"""What a policy wants kept: by examples, and by what must hold for any backups."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.values import START, history, record

from catalog.marks import KeepMark
from catalog.retention import (
    OBSOLETE,
    POTENTIALLY_OBSOLETE,
    UNJUDGED,
    VALID,
    Candidate,
    RetentionPolicy,
    judge,
    satisfies,
)
from catalog.statuses import DONE, SUSPECT, WAITING_FOR_WALS
from catalog.timeline import Path

FIRST = Path.of(history(1))
THREE = RetentionPolicy.parse("REDUNDANCY 3")
HALF_AN_HOUR = RetentionPolicy("", window=timedelta(minutes=30))


def backups(*minutes, **changes):
    """Full backups that ended so many minutes after START."""
    return [Candidate(record(minute - 0.5, minute, **changes), DONE) for minute in minutes]


def words(candidates, policy, minimum=0, current=FIRST, now=60):
    verdicts = judge(candidates, policy, minimum, current, START + timedelta(minutes=now))
    return [verdicts[each.record.id].shown for each in candidates]


@pytest.mark.parametrize(
    ("text", "redundancy", "window"),
    [
        ("REDUNDANCY 2", 2, None),
        (" redundancy  12 ", 12, None),
        ("RECOVERY WINDOW OF 36 HOURS", None, timedelta(hours=36)),
        ("recovery window of 1 day", None, timedelta(days=1)),
        ("RECOVERY WINDOW OF 2 WEEKS", None, timedelta(days=14)),
        ("RECOVERY WINDOW OF 3 MONTHS", None, timedelta(days=93)),
    ],
)
def test_a_policy_is_written_as_in_barman(text, redundancy, window):
    found = RetentionPolicy.parse(text)
    assert (found.redundancy, found.window) == (redundancy, window)
    assert RetentionPolicy.parse(found.text) == found


@pytest.mark.parametrize(
    "text", ["", "2", "REDUNDANCY 0", "REDUNDANCY -1", "RECOVERY WINDOW OF 0 DAYS", "7 DAYS"]
)
def test_anything_else_is_no_policy(text):
    with pytest.raises(ValueError):
        RetentionPolicy.parse(text)


def test_redundancy_keeps_the_newest():
    assert words(backups(5, 10, 15, 20, 25), THREE) == [OBSOLETE, OBSOLETE, VALID, VALID, VALID]


def test_a_minimum_above_the_redundancy_counts():
    assert words(backups(5, 10, 15, 20, 25), THREE, 4) == [OBSOLETE, VALID, VALID, VALID, VALID]


def test_a_window_keeps_the_backup_that_its_beginning_is_reached_from():
    assert words(backups(5, 10, 29, 31, 50), HALF_AN_HOUR) == [OBSOLETE, OBSOLETE, VALID, VALID, VALID]


def test_a_window_that_begins_when_a_backup_ends_is_reached_from_it_only_just():
    assert words(backups(10, 30, 50), HALF_AN_HOUR) == [VALID, VALID, VALID]


def test_behind_the_anchor_the_minimum_keeps_what_would_be_obsolete():
    assert words(backups(5, 10, 20), HALF_AN_HOUR, 2) == [OBSOLETE, POTENTIALLY_OBSOLETE, VALID]


def test_without_a_policy_nothing_is_judged_and_kept_ones_are_shown():
    kept = Candidate(record(4, 5), DONE, KeepMark(target="full", since=START))
    assert words([kept, *backups(10)], None) == ["KEEP:FULL", UNJUDGED]


def test_a_kept_backup_takes_a_place_and_stays_behind_it():
    found = backups(5, 10, 15, 20)
    found[3] = Candidate(found[3].record, DONE, KeepMark(target="standalone", since=START))
    found[0] = Candidate(found[0].record, DONE, KeepMark(target="full", since=START))
    verdicts = judge(found, RetentionPolicy.parse("REDUNDANCY 2"), 0, FIRST, START + timedelta(hours=1))
    shown = [verdicts[each.record.id].shown for each in found]
    assert shown == ["KEEP:FULL", OBSOLETE, VALID, "KEEP:STANDALONE"]
    assert [verdicts[each.record.id].goes for each in found] == [False, True, False, False]
    assert not any(verdict.stands_alone for verdict in verdicts.values())


@pytest.mark.parametrize("status", [WAITING_FOR_WALS, SUSPECT])
def test_one_that_cannot_be_relied_on_is_not_judged_and_makes_none_obsolete(status):
    doubtful = [Candidate(each.record, status) for each in backups(40, 50)]
    assert words([*backups(5, 10), *doubtful], RetentionPolicy.parse("REDUNDANCY 2")) == [
        VALID,
        VALID,
        "-",
        "-",
    ]
    assert words([*backups(5), *doubtful], HALF_AN_HOUR) == [VALID, "-", "-"]


def test_one_of_a_branch_that_was_left_makes_none_obsolete_and_goes_when_newer_ones_suffice():
    current = Path.of(history(2, (1, 12)))
    left = backups(20, 25)
    ours = [*backups(10, 30, timeline=1)[:1], Candidate(record(29.5, 30, timeline=2), DONE)]
    two = RetentionPolicy.parse("REDUNDANCY 2")
    assert words([ours[0], *left, ours[1]], two, current=current) == [VALID, VALID, VALID, VALID]
    one = RetentionPolicy.parse("REDUNDANCY 1")
    assert words([ours[0], *left, ours[1]], one, current=current) == [OBSOLETE, OBSOLETE, OBSOLETE, VALID]


def chain(root, *minutes):
    """Incremental backups, each on the one before."""
    parent = root.record.id
    for minute in minutes:
        made = Candidate(record(minute - 0.5, minute, type="incremental", parent=parent), DONE)
        parent = made.record.id
        yield made


def test_incremental_backups_share_the_fate_of_the_full_one():
    old, new = backups(5, 20)
    found = [old, *chain(old, 10, 15), new, *chain(new, 25)]
    assert words(found, RetentionPolicy.parse("REDUNDANCY 1")) == [OBSOLETE, OBSOLETE, OBSOLETE, VALID, VALID]


@pytest.mark.parametrize(("target", "of_children"), [("full", VALID), ("standalone", OBSOLETE)])
def test_what_rests_on_a_kept_backup_stays_if_all_behind_it_is_kept(target, of_children):
    old, new = backups(5, 20)
    old = Candidate(old.record, DONE, KeepMark(target=target, since=START))
    found = [old, *chain(old, 10), new]
    assert words(found, RetentionPolicy.parse("REDUNDANCY 1")) == [
        f"KEEP:{target.upper()}",
        of_children,
        VALID,
    ]


def test_an_incremental_backup_whose_full_one_is_missing_is_not_judged():
    (orphan,) = chain(backups(5)[0], 10)
    assert words([orphan, *backups(20)], RetentionPolicy.parse("REDUNDANCY 1")) == [UNJUDGED, VALID]


policies = st.one_of(
    st.integers(1, 5).map(lambda n: RetentionPolicy("", redundancy=n)),
    st.integers(1, 70).map(lambda n: RetentionPolicy("", window=timedelta(minutes=n))),
)
anything = st.lists(
    st.tuples(
        st.integers(1, 59),
        st.sampled_from([DONE, DONE, DONE, WAITING_FOR_WALS, SUSPECT]),
        st.sampled_from([None, None, "full", "standalone"]),
    ),
    max_size=12,
    unique_by=lambda each: each[0],
)


@given(anything, policies, st.integers(0, 6))
def test_whatever_there_is_the_promise_and_the_minimum_are_kept(drawn, policy, minimum):
    found = [
        Candidate(record(at - 0.5, at), status, KeepMark(target=keep, since=START) if keep else None)
        for at, status, keep in sorted(drawn)
    ]
    now = START + timedelta(hours=1)
    verdicts = judge(found, policy, minimum, FIRST, now)
    stay = [each for each in found if not verdicts[each.record.id].goes]
    counted = [each for each in found if each.status == DONE]
    assert satisfies(stay, FIRST) >= min(len(counted), max(minimum, policy.redundancy or 1))
    assert all(each in stay for each in found if each.status != DONE or each.keep is not None)
    if policy.window is not None:
        begin = now - policy.window
        before = [each for each in counted if each.record.end.time < begin]
        # Every moment of the window that could be reached can still be: from the last backup before it, and
        # from all that are inside.
        assert all(each in stay for each in counted if each.record.end.time >= begin)
        assert not before or before[-1] in stay
