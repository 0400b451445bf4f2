"""Several processes of this program side by side: what they say, and how they end."""

import io
import os
import signal
import threading

import pytest

from catalog.errors import Interrupted
from walstream.cli.output import Output
from walstream.cli.side_by_side import run_side_by_side


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def output():
    """An output whose two streams can be read."""
    out, err = io.StringIO(), Terminal()
    made = Output(out, err, environ={"NO_COLOR": "1"})
    made.out, made.err = out, err
    return made


def test_nothing_to_run_is_no_failure(output):
    assert run_side_by_side({}, output, "nothing", None) == 0


def test_a_process_that_tells_no_events_is_a_failure_and_is_named(output):
    assert run_side_by_side({"one": ["--version"]}, output, "versions", None) == 1
    assert "one: not an event: b'walstream " in output.err.getvalue()


def test_what_each_failed_with_is_said_with_its_name(output, tmp_path):
    config = tmp_path / "walstream.conf"
    config.write_text(
        f"[walstream]\nwalstream_home = {tmp_path}\n"
        + "".join(f"[{name}]\nconninfo = host=/nonexistent\nslot_name = s\n" for name in ("one", "two"))
    )
    words = {name: ["-c", str(config), "backup", name, "--as-part", "{}"] for name in ("one", "two")}
    assert run_side_by_side(words, output, "backups", 1) == 1
    said = output.err.getvalue()
    assert "error: one: " in said and "error: two: " in said and "Traceback" not in said


def test_a_signal_starts_nothing_more_and_waits_for_what_runs(output):
    words = {str(number): ["demo"] for number in range(3)}
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
    with pytest.raises(Interrupted, match="stopped by a signal"):
        run_side_by_side(words, output, "demos", 1)
