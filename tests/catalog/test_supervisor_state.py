"""What a supervisor publishes: written whole, read by others, believed only while its writer lives."""

import os

import pytest

from catalog.supervisor_state import (
    SupervisorState,
    live_supervisor_state,
    read_supervisor_state,
    remove_supervisor_state,
    supervisor_lock,
    write_supervisor_state,
)

STATE = SupervisorState(os.getpid(), 1000.5, 4711, 990.0, 2, None, -9, "it was killed")


@pytest.fixture
def home(tmp_path):
    (tmp_path / "main" / "state").mkdir(parents=True)
    return str(tmp_path / "main")


def test_what_was_written_is_read(home):
    assert read_supervisor_state(home) is None
    write_supervisor_state(home, STATE)
    assert read_supervisor_state(home) == STATE
    assert os.listdir(f"{home}/state") == ["supervisor.json"]
    remove_supervisor_state(home)
    remove_supervisor_state(home)
    assert read_supervisor_state(home) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"pid": 1, "more": 2}'])
def test_what_cannot_be_read_is_not_there(home, text):
    with open(f"{home}/state/supervisor.json", "w") as file:
        file.write(text)
    assert read_supervisor_state(home) is None


def test_a_state_counts_as_live_only_while_its_writer_holds_the_lock(home, tmp_path):
    write_supervisor_state(home, STATE)
    assert live_supervisor_state(home) is None
    with supervisor_lock(str(tmp_path)):
        assert live_supervisor_state(home) == STATE
        write_supervisor_state(home, SupervisorState(1, 0.0, None, None, 0, None, None, None))
        assert live_supervisor_state(home) is None
