"""What an operator reads in the log while things happen: one line for each event, and each of them once."""

import json
import signal
from pathlib import Path

import pytest
from support.protection import stop, wait_until


@pytest.fixture
def ours(cluster_factory, protect):
    """Two servers, and a log in JSON."""
    made = protect(cluster_factory(segment_megabytes=1))
    made.configure({"main": {}, "two": {}})
    in_json(made)
    return made


def in_json(ours):
    file = Path(ours.config)
    file.write_text(file.read_text().replace("[walstream]\n", "[walstream]\nlog_format = json\n", 1))


def events(ours, server=None):
    """The lines of the log; of one server, or of none."""
    found = [json.loads(line) for line in ours.log.read_text().splitlines()]
    assert all({"time", "level", "message"} < each.keys() for each in found)
    assert all(("server" in each) != ("part" in each) for each in found)
    return [each for each in found if each.get("server") == server]


def said(ours, server, text):
    return [each for each in events(ours, server) if text in each["message"]]


def test_a_server_that_is_away_is_said_when_it_goes_and_when_it_is_back(ours):
    process = ours.start("run")
    try:
        for name in ("main", "two"):
            wait_until(lambda name=name: said(ours, name, "streaming timeline 1 from "))
        ours.cluster.stop()
        wait_until(lambda: said(ours, "main", "cannot connect"))
        ours.cluster.start()
        wait_until(lambda: said(ours, "main", " again, after ") and said(ours, "two", " again, after "))
    finally:
        assert stop(process, timeout=60) == 0, ours.log.read_text()
    for name in ("main", "two"):
        warnings = [each["message"] for each in events(ours, name) if each["level"] == "WARNING"]
        assert len(warnings) == len(set(warnings)) and all("until it works" in each for each in warnings)
        back = said(ours, name, " again, after ")
        assert len(back) == 1 and back[0]["seconds"] > 0 and back[0]["timeline"] == 1
        assert said(ours, name, "receiving has ended")[0]["position"]
        assert len(said(ours, name, "ended")) == 1
    assert [each["part"] for each in events(ours)] == ["run"] * len(events(ours))


def test_a_receiver_that_cannot_begin_is_one_line_of_its_supervisor(ours):
    ours.configure({"main": {"conninfo": ours.cluster.conninfo(user="nobody")}})
    in_json(ours)
    process = ours.start("run", "--log-level", "DEBUG")
    try:
        wait_until(lambda: len(said(ours, "main", "receiver ended: exit code 1")) >= 3)
    finally:
        assert stop(process) == 0
    ended = said(ours, "main", "receiver ended: exit code 1")
    assert [each["level"] for each in ended] == ["ERROR"] + ["DEBUG"] * (len(ended) - 1)
    assert '"nobody"' in ended[0]["message"]


def test_what_ends_a_receiver_whose_supervisor_was_killed_is_in_the_log(ours):
    ours.configure({"main": {}})
    in_json(ours)
    process = ours.start("run")
    wait_until(lambda: said(ours, "main", "streaming timeline 1 from "))
    process.send_signal(signal.SIGKILL)
    process.wait()
    ours.cluster.sql("SELECT pg_terminate_backend(%s)", ours.walsender())
    identity = ours.home() / "identity.json"
    identity.write_text(identity.read_text().replace('"system_identifier": "', '"system_identifier": "1'))
    wait_until(lambda: [each for each in events(ours, "main") if each["level"] == "ERROR"])
    (last,) = [each for each in events(ours, "main") if each["level"] == "ERROR"]
    assert "system identifier" in last["message"]


def test_a_scheduled_backup_is_two_lines_and_one_that_fails_as_well(ours):
    ours.configure({"main": {"backup_schedule": "* * * * *", "pre_backup_script": "echo a; echo b; exit 1"}})
    in_json(ours)
    with_schedule(ours)
    process = ours.start("run")
    wait_until(lambda: said(ours, "main", "has failed"), timeout=90)
    assert stop(process, timeout=60) == 0
    (begun,) = said(ours, "main", "scheduled backup begins")
    (failed,) = said(ours, "main", "pre_backup_script")
    assert failed["level"] == "ERROR" and "exit code 1: a; b" in failed["message"]
    ours.log.unlink()
    ours.configure({"main": {"backup_schedule": "* * * * *"}})
    in_json(ours)
    with_schedule(ours)
    process = ours.start("run")
    wait_until(lambda: said(ours, "main", ": DONE, "), timeout=90)
    assert stop(process, timeout=60) == 0
    (done,) = said(ours, "main", "DONE")
    assert done["backup"] in done["message"] and "WAL from" in done["message"]
    assert begun["message"] and not [each for each in events(ours, "main") if each["level"] != "INFO"]


def with_schedule(ours):
    """As if a backup had been due for long."""
    state = ours.home() / "state"
    if not state.exists():
        with ours.receiving():
            pass
        ours.log.unlink()
    (state / "schedule.json").write_text('{"schedule": "* * * * *", "since": 1e9}')
