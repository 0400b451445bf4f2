"""What serves metrics as a child: started again with pauses, said once why, and not waited for for long."""

import os
import signal

import pytest
from support.configurations import write
from support.metrics import answer_of, free_port
from support.protection import wait_until

from walstream.ops.companion import PATIENCE, Companion
from walstream.ops.supervision import LONGEST_PAUSE, SETTLED


@pytest.fixture
def companion():
    made = Companion(None)
    yield made
    if made.child is not None:
        made.child.signal(signal.SIGKILL)
        made.child.wait(30)
        made.child.close()


def ends(companion, config, now):
    """Start it, and see its end."""
    companion.look_after(config, now)
    assert companion.child.wait(30) is not None
    companion.look_after(config, now)


def test_nothing_runs_until_it_is_wanted(companion, tmp_path):
    companion.look_after(str(tmp_path / "none"), 0.0)
    assert companion.child is None and companion.time_to_wait(0.0) > 0


def test_one_that_ends_again_and_again_is_tried_with_pauses_and_said_once(companion, tmp_path, caplog):
    config, now = str(tmp_path / "none"), 1000.0
    companion.renew(True, now)
    pauses = []
    for _ in range(3):
        ends(companion, config, now)
        assert companion.child is None
        companion.look_after(config, now)
        assert companion.child is None, "there was no pause"
        pauses.append(companion.time_to_wait(now))
        now += LONGEST_PAUSE
    assert pauses[0] < pauses[1] < pauses[2]
    assert caplog.text.count("no metrics: exit code 2: cannot read") == 1


def test_the_same_trouble_is_said_again_when_one_has_lived_for_long(companion, tmp_path, caplog):
    config = str(tmp_path / "none")
    companion.renew(True, 0.0)
    ends(companion, config, 0.0)
    companion.look_after(config, LONGEST_PAUSE)
    companion.child.wait(30)
    companion.look_after(config, LONGEST_PAUSE + SETTLED + 1)
    assert caplog.text.count("no metrics: ") == 2


def test_one_that_does_not_end_is_killed_and_not_waited_for(companion, tmp_path):
    port = free_port()
    config = write(tmp_path, f"[walstream]\nwalstream_home = {tmp_path}\nmetrics_listen = 127.0.0.1:{port}\n")
    companion.renew(True, 0.0)
    companion.look_after(config, 0.0)
    wait_until(lambda: answer_of(port, "/healthz")[0] == 200)
    process = companion.child.pid
    os.kill(process, signal.SIGSTOP)
    companion.renew(False, 10.0)
    companion.look_after(config, 10.0 + PATIENCE / 2)
    assert companion.is_ending and companion.child.poll() is None
    companion.look_after(config, 10.0 + PATIENCE)
    assert not companion.is_ending
    assert companion.child.wait(30) == -signal.SIGKILL
    companion.look_after(config, 10.0 + PATIENCE)
    assert companion.child is None
