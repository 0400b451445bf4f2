"""The operator's scripts around real work."""

import json
from pathlib import Path

import pytest
from support.protection import wait_until

from catalog.errors import HookFailed

pytestmark = pytest.mark.postgres(versions=[18])  # the server's version plays no role

KINDS = ("backup", "archive", "delete", "wal_delete", "recovery")


def test_each_kind_of_work_has_its_scripts(cluster_factory, protect, cluster_directory):
    cluster = cluster_factory(segment_megabytes=1)
    ours = protect(cluster)
    scripts = {
        # At one go: the receiver's scripts and a backup's may speak at the same time.
        f"{phase}_{kind}_script": f"told=$(cat); printf '%s\\n' \"$told\" >> '{ours.place}/told'"
        for kind in KINDS
        for phase in ("pre", "post")
    }
    ours.configure({"main": scripts})
    with ours.receiving():
        first = ours.backup()
        for _ in range(2):
            cluster.load(rows=300)
            cluster.switch_wal()
        second = ours.backup()
        ours.catch_up()
    restored = Path(cluster_directory) / "restored"
    ours.restore(restored, second, str(restored), server="main")
    ours.run("delete", "main", first)
    told = [json.loads(line) for line in (ours.place / "told").read_text().splitlines() if line]
    seen = {(each["hook"], each["phase"]) for each in told}
    assert seen == {(kind, phase) for kind in KINDS for phase in ("pre", "post")}
    done = [each for each in told if each["hook"] == "backup" and each["phase"] == "post"]
    assert [each["backup_id"] for each in done] == [first, second] and {each["status"] for each in done} == {
        "DONE"
    }
    (gone,) = [each for each in told if each["hook"] == "wal_delete" and each["phase"] == "post"]
    assert gone["files"] > 0 and not any("error" in each for each in told)


@pytest.mark.parametrize("kind", ["backup", "recovery", "delete"])
def test_a_script_that_fails_before_leaves_everything_as_it_was(
    cluster_factory, protect, cluster_directory, kind
):
    ours = protect(cluster_factory())
    done = ours.backup()
    ours.configure({"main": {f"pre_{kind}_script": "echo not today; exit 1", "basebackup_retry_times": "3"}})
    dest = Path(cluster_directory) / "restored"
    words = {"backup": ("main",), "recovery": ("main", done, str(dest)), "delete": ("main", done)}[kind]
    command = "restore" if kind == "recovery" else kind
    dest.mkdir()
    said = ours.refusal(command, *words)
    assert "not today" in said and HookFailed.__name__ not in said
    assert not any(dest.iterdir())
    assert [path.parent.name for path in (ours.home() / "base").glob("*/record.json")] == [done]
    assert len(list((ours.home() / "base").iterdir())) == 1


def test_while_the_archive_script_fails_receiving_goes_on_and_archiving_recovers(cluster_factory, protect):
    cluster = cluster_factory(segment_megabytes=1)
    ours = protect(cluster)
    ours.configure({"main": {"pre_archive_script": f"test -e '{ours.place}/mounted'"}})
    with ours.receiving():
        for _ in range(3):
            cluster.load(rows=300)
            cluster.switch_wal()
        wait_until(lambda: len(list((ours.home() / "streaming").glob("????????????????????????"))) >= 3)
        assert not ours.stored()
        (ours.place / "mounted").touch()
        ours.catch_up()
        wait_until(lambda: not list((ours.home() / "streaming").glob("????????????????????????")))
    assert "archiving goes on with" in ours.log.read_text()


@pytest.mark.postgres(versions=[18])
def test_a_receiver_that_is_stopped_does_not_wait_for_a_long_archive_script_and_loses_nothing(
    cluster_factory, protect
):
    cluster = cluster_factory(segment_megabytes=1)
    ours = protect(cluster)
    ours.configure({"main": {"post_archive_script": f"touch '{ours.place}/called'; sleep 600"}})
    with ours.receiving():
        cluster.load(rows=3000)
        cluster.switch_wal()
        wait_until((ours.place / "called").exists)
        said = ours.run("receive-wal", "main", "--stop").stdout
        assert "has ended" in said
    left = sorted(path.name for path in (ours.home() / "streaming").glob("????????????????????????"))
    assert left and "post_archive_script of 'main' was ended" in ours.log.read_text()
    ours.configure({"main": {"post_archive_script": f"echo $WALSTREAM_SEGMENT >> '{ours.place}/segments'"}})
    with ours.receiving():
        ours.catch_up()
        wait_until(lambda: set(left) <= set(ours.stored()))
    assert set(left) <= set((ours.place / "segments").read_text().split())


def test_a_script_that_fails_behind_a_backup_is_a_warning_on_one_line(cluster_factory, protect):
    ours = protect(cluster_factory())
    ours.configure({"main": {"post_backup_script": "echo one; echo two; exit 3"}})
    said = ours.run("backup", "main").stderr
    assert said == "warning: post_backup_script of 'main' ended with exit code 3: one; two\n"
