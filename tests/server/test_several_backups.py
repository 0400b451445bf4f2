"""Several servers in one ``backup`` command: side by side, each for itself, and ended together."""

import io
import json
import os
import re
import signal
import sys

import pytest
from support.protection import Protection, listing, stop, wait_until

from walstream.cli.output import Output
from walstream.cli.side_by_side import run_side_by_side

pytestmark = pytest.mark.postgres(versions=[18])  # the server's version plays no role

NAMES = ("one", "two")
SLOW = ("--bwlimit", "4000")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def ours(cluster_factory, cluster_directory, this_tree):
    """Two servers of the configuration, which are one cluster."""
    place = os.path.join(cluster_directory, "several")
    os.mkdir(place)
    return Protection(place, cluster_factory(), {name: {} for name in NAMES})


def ids(ours, name, mark):
    return sorted(path.parent.name for path in (ours.home(name) / "base").glob(f"*/{mark}"))


def running(ours):
    return ours.cluster.one("SELECT count(*) FROM pg_stat_progress_basebackup")


def start_slow_backups(ours):
    """A command whose two backups both copy at this moment."""
    process = ours.start("backup", "all", *SLOW)

    def copy():
        assert process.poll() is None, ours.log.read_text()
        begun = [any("base.tar" in path for path in listing(ours.home(name))) for name in NAMES]
        return all(begun) and running(ours) == 2

    wait_until(copy)
    return process


def assert_all_undone(ours):
    for name in NAMES:
        (failed,) = ids(ours, name, "failed.json")
        assert os.listdir(ours.home(name) / "base" / failed) == ["failed.json"]
        assert ids(ours, name, "record.json") == []
    wait_until(lambda: running(ours) == 0)


def test_several_servers_are_backed_up_and_each_is_told_of(ours):
    found = json.loads(ours.run("-f", "json", "backup", *NAMES, "--name", "both").stdout)
    assert {name: found[name]["status"] for name in NAMES} == dict.fromkeys(NAMES, "DONE")
    assert {name: [found[name]["backup_id"]] for name in NAMES} == {
        name: ids(ours, name, "record.json") for name in NAMES
    }
    done = ours.run("backup", "all", "--jobs", "1")
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(NAMES) and done.stderr == ""


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_several_backups_run_side_by_side_and_a_signal_ends_them_all(ours, signum):
    process = start_slow_backups(ours)
    assert stop(process, signum) == 130
    assert_all_undone(ours)
    said = ours.log.read_text()
    assert said.count("error:") == 1 and "stopped by a signal" in said and "Traceback" not in said
    assert json.loads(ours.run("-f", "json", "backup", "one").stdout)["one"]["status"] == "DONE"


def test_a_server_that_cannot_be_backed_up_keeps_no_other_from_it(ours):
    ours.configure({"one": {"active": "off"}, "two": {}, "three": {"conninfo": "host=/nonexistent"}})
    done = ours.run("-f", "json", "backup", "one", "two", "three", code=1)
    found = json.loads(done.stdout)
    assert found["two"]["status"] == "DONE" and found.keys() == {"two", "_ERROR"}
    assert [error.partition(":")[0] for error in found["_ERROR"]] == ["server 'one' is inactive", "three"]


def test_an_inactive_server_is_skipped_when_all_are_meant(ours):
    ours.configure({"one": {"active": "off"}, "two": {}})
    assert "one is inactive: skipped" in ours.run("backup", "all").stdout
    assert not ours.home("one").exists() and len(ids(ours, "two", "record.json")) == 1


def test_a_process_that_is_killed_is_told_of_and_the_other_goes_on(ours):
    process = start_slow_backups(ours)
    (started,) = ids(ours, "one", "started.json")
    mark = json.loads((ours.home("one") / "base" / started / "started.json").read_text())
    os.kill(mark["pid"], signal.SIGKILL)
    assert process.wait(60) == 1
    assert "one: the process ended: killed by SIGKILL" in ours.log.read_text()
    assert len(ids(ours, "two", "record.json")) == 1


def test_backups_whose_parent_is_gone_undo_themselves(ours):
    process = start_slow_backups(ours)
    stop(process, signal.SIGKILL)
    wait_until(lambda: all(ids(ours, name, "failed.json") for name in NAMES))
    assert_all_undone(ours)


def test_on_a_terminal_one_line_shows_how_far_all_are(ours, capsys):
    screen = Terminal()
    output = Output(sys.stdout, screen)
    request = json.dumps({"max_rate": 8000})
    words = {name: ["-c", ours.config, "backup", name, "--as-part", request] for name in NAMES}
    assert run_side_by_side(words, output, "backups of 2 servers", None) == 0
    lines = re.findall(r"backups of 2 servers: .* of .* \(\d+ %\).* left", screen.getvalue())
    assert lines and screen.getvalue().endswith("\r\x1b[K")
    assert [line.split()[2] for line in sorted(capsys.readouterr().out.splitlines())] == ["DONE,", "DONE,"]
