"""Scripts of the operator: what they are told, what their failure means, and that none runs for ever."""

import json
import time
import tracemalloc
from pathlib import Path

import pytest

from catalog.errors import HookFailed, Interrupted
from catalog.units import size
from walstream.ops.hooks import ARCHIVE, BACKUP, DELETE, Hooks, hooked
from walstream.ops.script import MOST, run_script


def hooks(timeout=30.0, **scripts):
    return Hooks("main", scripts, timeout, "/etc/walstream.conf")


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_a_script_is_told_by_environment_and_standard_input(tmp_path):
    ours = hooks(pre_backup=f"cat > {tmp_path}/in; env | grep ^WALSTREAM_ | sort > {tmp_path}/env")
    facts = {"backup_id": "20260131T120000", "backup_name": None, "tablespaces": {"a b": "/x"}}
    ours.before(BACKUP, facts)
    assert (tmp_path / "env").read_text().splitlines() == [
        "WALSTREAM_BACKUP_ID=20260131T120000",
        "WALSTREAM_BACKUP_NAME=",
        "WALSTREAM_CONFIGURATION=/etc/walstream.conf",
        "WALSTREAM_HOOK=backup",
        "WALSTREAM_PHASE=pre",
        "WALSTREAM_SERVER=main",
        'WALSTREAM_TABLESPACES={"a b": "/x"}',
    ]
    found = json.loads((tmp_path / "in").read_text())
    assert found["backup_name"] is None and found["tablespaces"] == {"a b": "/x"} and found["phase"] == "pre"


def test_one_that_fails_before_stops_the_work_and_says_what_it_said(caplog):
    ours = hooks(pre_delete="echo checking; echo no room >&2; exit 3")
    with pytest.raises(
        HookFailed, match="pre_delete_script of 'main' ended with exit code 3: checking; no room"
    ) as caught:
        with ours.around(DELETE, {}):
            raise AssertionError("the work was done")
    assert "nothing was done" in caught.value.hint


def test_one_that_fails_behind_is_logged_and_the_work_counts(caplog):
    with hooks(post_delete="exit 1").around(DELETE, {}):
        pass
    assert "post_delete_script of 'main' ended with exit code 1: it said nothing" in caplog.text


def test_the_one_behind_hears_what_was_done_or_what_went_wrong(tmp_path):
    ours = hooks(post_backup=f"cat >> {tmp_path}/in; echo >> {tmp_path}/in")
    with ours.around(BACKUP, {"backup_id": "x"}) as later:
        later["status"] = "DONE"
    with pytest.raises(Interrupted), ours.around(BACKUP, {"backup_id": "y"}):
        raise Interrupted("stopped by SIGINT")
    first, second = map(json.loads, (tmp_path / "in").read_text().splitlines())
    assert first["status"] == "DONE" and "error" not in first
    assert second["error"] == "stopped by SIGINT" and second["phase"] == "post"


def test_one_that_takes_too_long_is_killed_with_all_that_it_started(tmp_path):
    ours = hooks(3.0, pre_backup=f"sleep 300 & echo $! > {tmp_path}/pid; sleep 300")
    with pytest.raises(HookFailed, match="has not ended within"):
        ours.before(BACKUP, {})
    pid = int((tmp_path / "pid").read_text())
    give_up = time.monotonic() + 30
    while is_running(pid):
        assert time.monotonic() < give_up
        time.sleep(0.01)


def test_none_is_called_that_would_be_killed_at_once(tmp_path):
    with pytest.raises(HookFailed, match="pre_archive_script of 'main' was not called"):
        hooks(pre_archive=f"touch {tmp_path}/called").before(ARCHIVE, {}, lambda: True)
    assert not (tmp_path / "called").exists()


def test_of_one_that_says_a_lot_the_end_is_kept_and_that_there_was_more_is_said(caplog):
    caplog.set_level("INFO")
    ours = hooks(pre_backup="head -c 3000000 /dev/zero | tr '\\0' x; echo; echo disk full; exit 1")
    tracemalloc.start()
    with pytest.raises(HookFailed, match=r"exit code 1: x+; disk full \(the first") as caught:
        ours.before(BACKUP, {})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20
    assert f"(the first {size(3_000_000 + len('_disk full_') - MOST)} are left out)" in str(caught.value)
    assert caplog.text == ""


def test_one_is_told_more_than_fits_into_a_pipe_whether_it_listens_or_not(tmp_path):
    told = bytes(range(256)) * 4096
    assert run_script(f"sleep 0.1; cat > {tmp_path}/in", {}, told, 30.0).code == 0
    assert (tmp_path / "in").read_bytes() == told
    assert run_script("exit 3", {}, told, 30.0).code == 3


def test_without_scripts_nothing_is_put_around_archiving():
    def put(name, open_raw, path):
        return True

    assert hooked(put, hooks(pre_backup="x")) is put


def test_archiving_waits_for_its_script(tmp_path):
    stored = []

    def put(name, open_raw, path):
        stored.append(name)
        return True

    ours = hooked(put, hooks(pre_archive=f"test -e {tmp_path}/mounted", post_archive=f"cat > {tmp_path}/in"))
    with pytest.raises(HookFailed):
        ours("000000010000000000000001", lambda: None, "/x")
    assert stored == []
    (tmp_path / "mounted").touch()
    assert ours("000000010000000000000001", lambda: None, "/x") is True
    found = json.loads((tmp_path / "in").read_text())
    assert (found["segment"], found["hook"], found["stored"]) == ("000000010000000000000001", ARCHIVE, True)
