"""``show-servers``, ``list-servers`` and ``config-switch``, as far as no server is asked."""

import json
import os
import subprocess
import sys

import pytest

from catalog.active_model import read_active_model, write_active_model
from catalog.lock import Lock
from catalog.state import receiver_lock_path

TEXT = """[walstream]
walstream_home = {home}
[main]
description = the shop
conninfo = host=a password=secret
[two]
conninfo = host=t
[main:standby]
model = true
cluster = main
conninfo = postgresql://u:secret@b
[main:paused]
model = true
cluster = main
active = off
[two:standby]
model = true
cluster = two
slot_name = Wrong-Name
[main:lz4]
model = true
cluster = main
compression = lz4
compression_level = 22
"""


@pytest.fixture
def configured(commands):
    """Runs commands with that configuration; main has received before."""
    os.makedirs(f"{commands.home}/main/state")
    with open(commands.file, "w") as file:
        file.write(TEXT.format(home=commands.home))
    return commands


def home(commands):
    return f"{commands.home}/main"


def test_a_model_is_shown_wherever_servers_are_listed(configured):
    done = configured("config-switch", "main", "main:standby")
    assert (done.code, done.out) == (0, "main: model 'main:standby' is in force\n")
    assert "main - the shop (model: main:standby)\n" in configured("list-servers").out
    facts = json.loads(configured("-f", "json", "list-servers").out)
    assert facts["main"] == {"active_model": "main:standby", "description": "the shop"}
    facts = json.loads(configured("-f", "json", "show-servers", "main").out)["main"]
    assert (facts["active_model"], facts["conninfo"]) == ("main:standby", "postgresql://u:*****@b")
    source = facts["sources"]["conninfo"]
    assert (source["kind"], source["section"], source["line"]) == ("model", "main:standby", 11)
    status = json.loads(configured("-f", "json", "status", "main").out)["main"]
    assert status["active_model"] == {"description": "Active model", "message": "main:standby"}


def test_another_model_takes_the_place_of_the_first_and_reset_ends_it(configured):
    for model, said in [
        ("main:standby", "is in force"),
        ("main:standby", "was in force already"),
        ("main:paused", "is in force in place of 'main:standby'"),
    ]:
        assert said in configured("config-switch", "main", model).out
    done = configured("receive-wal", "main")
    assert done.code == 2 and "inactive with its model 'main:paused'" in done.err
    assert "main - the shop (model: main:paused) (inactive)" in configured("list-servers").out
    done = configured("-f", "json", "config-switch", "main", "--reset")
    assert json.loads(done.out)["main"] == {
        "active_model": None,
        "former_model": "main:paused",
        "process": None,
        "streaming": None,
    }
    assert "no model was in force" in configured("config-switch", "main", "--reset").out
    assert read_active_model(home(configured)) is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["main", "main:standyb"], "did you mean 'main:standby'?"),
        (["main", "x"], "it has main:lz4, main:paused, main:standby"),
        (["main", "two:standby"], "of cluster 'two', and server 'main' of 'main'"),
        (["main", "two"], "has no model 'two'"),
        (["main", "main:lz4"], "'compression_level' does not fit 'compression = lz4'"),
        (["two", "two:standby"], "line 19: 'slot_name' in [two:standby] cannot be 'Wrong-Name'"),
        (["mian", "main:standby"], "did you mean 'main'?"),
        (["main:standby", "main:standby"], "is a model, not a server"),
        (["main"], "one model is to be named, or --reset is"),
        (["main", "main:standby", "--reset"], "one model is to be named, or --reset is"),
    ],
)
def test_what_cannot_be_in_force_is_refused_and_nothing_changes(configured, words, said):
    done = configured("config-switch", *words)
    assert done.code == 2 and said in done.err
    assert read_active_model(home(configured)) is None


def test_a_server_that_never_received_has_no_place_for_a_model(configured):
    os.rmdir(f"{home(configured)}/state")
    done = configured("config-switch", "main", "main:standby")
    assert done.code == 1 and "walstream receive-wal main" in done.err
    assert not os.path.exists(f"{home(configured)}/state")


def test_a_lost_model_disables_the_server_until_reset(configured):
    write_active_model(home(configured), "gone")
    for words in (["check", "main"], ["show-servers", "main"], ["list-servers"], ["receive-wal", "main"]):
        done = configured(*words)
        assert done.code == 2
        assert "walstream config-switch main MODEL|--reset" in done.err + done.out
    assert configured("config-switch", "main", "--reset").code == 0
    assert configured("show-servers", "main").code == 0
    write_active_model(home(configured), "gone")
    assert configured("config-switch", "main", "main:standby").code == 0


def test_a_wrong_model_is_named_where_servers_are_listed(configured):
    done = configured("list-servers")
    assert done.code == 2 and "[two:standby]" in done.err
    done = configured("show-servers", "two")
    assert done.code == 0 and "[two:standby]" in done.err


def test_a_receiver_of_another_host_cannot_be_told_and_that_is_said(configured):
    path = receiver_lock_path(home(configured))
    with Lock(path, "receiving").acquire():
        with open(path, "w") as file:
            json.dump({"host": "elsewhere", "pid": 1}, file)
        done = configured("config-switch", "main", "main:standby")
    assert done.code == 1
    assert "on 'elsewhere', and cannot be told" in done.err and "restart it there" in done.err
    assert read_active_model(home(configured)) == "main:standby"


def test_a_backup_that_receives_is_left_alone(configured):
    here = home(configured)
    os.mkdir(f"{here}/lock")
    script = (
        "import sys; from catalog.lock import Lock\n"
        "with Lock(sys.argv[1], 'a').acquire(), Lock(sys.argv[2], 'b').acquire():\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-c", script, receiver_lock_path(here), f"{here}/lock/backup"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        done = configured("config-switch", "main", "main:standby")
        assert done.code == 0 and f"process {process.pid}, a backup" in done.err
        process.stdin.close()
        assert process.wait() == 0
