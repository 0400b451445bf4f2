"""When receivers are started, told to end and killed: decisions about values, with the time as an argument."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from walstream.ops.health import state_of
from walstream.ops.supervision import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    LOOK,
    PATIENCE,
    SETTLED,
    Step,
    Watched,
    how_it_ended,
    next_step,
    note_end,
    note_start,
    time_to_wait,
)


def step(watched, now=0.0, *, stopped=False, held=False):
    return next_step(watched, stopped=stopped, held=held, now=now)


def ended(watched, after, now, code=1, chance=0.0):
    """Let a receiver begin, and end ``after`` seconds later; the moment at which the next one may begin."""
    note_start(watched, 4711, now)
    note_end(watched, code, "why", now + after, chance)
    return watched.next_try


def test_a_missing_receiver_is_started_at_once():
    assert step(Watched()) is Step.START


@pytest.mark.parametrize("why", ["stopped", "held", "unwanted"])
def test_no_receiver_is_started_where_none_is_to_run(why):
    watched = Watched(wanted=why != "unwanted")
    assert step(watched, stopped=why == "stopped", held=why == "held") is Step.NOTHING
    assert watched.waiting


def test_a_receiver_that_runs_is_left_alone():
    watched = Watched()
    note_start(watched, 4711, 0.0)
    assert step(watched, 1e6) is Step.NOTHING


@pytest.mark.parametrize("why", ["stopped", "unwanted"])
def test_a_receiver_that_is_to_end_is_told_once_and_killed_at_last(why):
    watched = Watched(wanted=why != "unwanted")
    note_start(watched, 4711, 0.0)
    stopped = why == "stopped"
    assert step(watched, 5.0, stopped=stopped) is Step.TELL
    watched.told = 5.0
    assert step(watched, 5.0 + PATIENCE - 1, stopped=stopped) is Step.NOTHING
    assert step(watched, 5.0 + PATIENCE, stopped=stopped) is Step.KILL


def test_pauses_grow_to_a_minute_and_no_further():
    watched, now, pauses = Watched(), 0.0, []
    for _ in range(10):
        next_try = ended(watched, 1.0, now)
        pauses.append(next_try - now - 1.0)
        assert step(watched, next_try - 0.01) is Step.NOTHING
        assert step(watched, next_try) is Step.START
        now = next_try
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]


def test_a_receiver_that_has_lived_for_a_minute_makes_pauses_short_again():
    watched = Watched()
    for _ in range(8):
        ended(watched, 1.0, 0.0)
    assert ended(watched, SETTLED, 100.0) == 100.0 + SETTLED + FIRST_PAUSE


def test_a_receiver_that_was_told_to_end_may_be_followed_at_once():
    watched = Watched()
    note_start(watched, 4711, 0.0)
    watched.told = 3.0
    note_end(watched, 0, None, 4.0, 0.5)
    assert watched.next_try == 4.0 and watched.failures == 0
    assert step(watched, 4.0) is Step.START


@given(st.integers(0, 2000), st.floats(0.0, 1.0), st.floats(0.0, 1e9))
def test_any_pause_is_near_its_length_and_spread_by_chance(failures, chance, now):
    watched = Watched(failures=failures)
    pause = ended(watched, 0.0, now, chance=chance) - now
    full = min(FIRST_PAUSE * 2 ** min(failures, 10), LONGEST_PAUSE)
    assert 0.74 * full <= pause <= full + 1e-6


@given(
    st.builds(
        Watched,
        wanted=st.booleans(),
        child=st.none() | st.just(4711),
        told=st.none() | st.floats(0.0, 200.0),
        next_try=st.floats(0.0, 200.0),
    ),
    st.floats(0.0, 300.0),
    st.booleans(),
    st.booleans(),
)
def test_there_is_nothing_to_do_before_it_is_time_to_look_again(watched, now, stopped, held):
    found = next_step(watched, stopped=stopped, held=held, now=now)
    wait = time_to_wait(watched, now)
    assert 0.0 <= wait <= LOOK
    sooner = now + wait * 0.99
    if found is Step.NOTHING and sooner < now + wait:  # of the smallest numbers no part is smaller
        assert next_step(watched, stopped=stopped, held=held, now=sooner) is Step.NOTHING


def test_what_is_published_has_times_that_others_understand():
    watched = Watched()
    ended(watched, 5.0, 100.0, code=-9)
    state = state_of(watched, 42, now=105.0, wall=1000.0)
    assert (state.pid, state.at, state.child, state.started) == (42, 1000.0, None, None)
    assert (state.next_try, state.last_exit, state.last_error) == (1001.0, -9, "why")
    note_start(watched, 12, 106.0)
    state = state_of(watched, 42, now=110.0, wall=1005.0)
    assert (state.child, state.started, state.restarts, state.next_try) == (12, 1001.0, 1, None)


def test_an_end_by_a_signal_is_said_by_its_name():
    assert how_it_ended(1) == "exit code 1"
    assert how_it_ended(-9) == "killed by SIGKILL"
    assert how_it_ended(-40) == "killed by signal 40"
