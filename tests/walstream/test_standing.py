import time

from walstream.standing import BRIEF, CONNECTING, STREAMING, WAITING, Standing


def test_trying_again_and_again_is_one_long_wait():
    standing = Standing(None)
    standing.since = 1.0
    for phase in (WAITING, CONNECTING, WAITING):
        standing.enter(phase, "refused")
        assert (standing.phase, standing.since, standing.trouble) == (phase, 1.0, "refused")


def test_a_stream_and_its_end_begin_a_new_time():
    standing = Standing(None)
    standing.since = 1.0
    standing.enter(STREAMING)
    assert standing.since > 1.0 and standing.trouble is None
    standing.since = 2.0
    standing.enter(STREAMING)
    assert standing.since == 2.0
    standing.enter(WAITING, "lost")
    assert standing.since > 2.0


def test_streams_that_last_for_a_moment_do_not_make_a_long_wait_short(monkeypatch):
    standing = Standing(None)
    standing.since = 1.0
    now = 100.0
    monkeypatch.setattr(time, "time", lambda: now)
    for _ in range(3):
        standing.enter(STREAMING)
        assert standing.since == now
        now += BRIEF / 2
        standing.enter(WAITING, "lost")
        assert standing.since == 1.0
    standing.enter(STREAMING)
    now += BRIEF
    standing.enter(WAITING, "lost")
    assert standing.since == now
