"""Recoveries that fetch ahead, on real servers: what they take from the lookahead, and what trouble does to them.

Recovered is one story for each version (``support.recoveries``), which a test leaves as it was.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tarfile

import pytest
from support.clusters import fingerprint, pg_tool
from support.protection import decompressed, wait_until
from support.recoveries import AHEAD, MB, end_of, following, middle, names, replaced, unmounted

from backup import lookahead
from catalog.errors import ServerError
from catalog.walname import Segment
from walstream.ops import postmaster

pytestmark = pytest.mark.timeout(300)


def is_ready(cluster):
    """Whether a server takes connections."""
    return postmaster.status(cluster.directory, cluster.pid) == "ready"


def test_at_most_so_many_segments_are_decoded_ahead_and_in_the_end_nothing_is_left(story, recovery):
    ours = recovery("--target-tli", "1")
    number = middle(story)
    ours.start(following(number)[0])
    wait_until(lambda: ours.waiting() == following(number))
    pid = ours.prefetcher()
    for name in following(number):
        assert (ours.directory / name).read_bytes() == decompressed(story.stored(name))
    assert sorted(os.listdir(ours.directory)) == [*following(number), lookahead.LOCK]
    ours.open()
    assert ours.cluster.wait_for_recovery() == "ended"
    assert fingerprint(ours.cluster) == story.content[1]
    wait_until(ours.has_left_nothing)
    assert postmaster.is_gone(pid)


def test_a_repository_that_is_gone_for_a_while_is_lived_on_the_lookahead_and_then_waited_for(story, recovery):
    ours = recovery("--target-tli", "1")
    number = middle(story)
    ours.start(following(number)[0])
    wait_until(lambda: ours.waiting() == following(number))
    with unmounted(story):
        ours.open()
        wait_until(lambda: "trying again" in ours.cluster.log_text())
        restored = [line for line in ours.cluster.log_text().splitlines() if "restored log file" in line]
        assert all(any(name in line for line in restored) for name in following(number))
        wait_until(lambda: ours.prefetcher() is None)
    assert ours.cluster.wait_for_recovery() == "ended"
    assert fingerprint(ours.cluster) == story.content[1]


def hole(story):
    return replaced(story.stored(following(middle(story))[2]), None)


def damage(story):
    return replaced(story.stored(following(middle(story))[2]), b"spoilt")


@pytest.mark.parametrize(
    ("trouble", "said"),
    [(hole, "the recovery needs it"), (damage, "damaged"), (unmounted, "holds no repository")],
)
def test_trouble_in_front_of_the_end_stops_the_recovery_which_goes_on_when_it_is_over(
    story, recovery, trouble, said
):
    ours = recovery("--target-tli", "1")
    with trouble(story):
        ours.start(patience=1)
        with pytest.raises(ServerError):
            ours.cluster.wait_for_recovery()
        assert said in ours.cluster.log_text() and "FATAL" in ours.cluster.log_text()
        ours.cluster.close()
        wait_until(ours.has_left_nothing)
    ours.start()
    assert ours.cluster.wait_for_recovery() == "ended"
    assert fingerprint(ours.cluster) == story.content[1]


def test_a_walstream_that_cannot_start_stops_the_recovery_too(story, recovery):
    ours = recovery("--target-tli", "1")
    right = ours.command
    ours.command = right.replace("-m walstream", "-m walstream_is_gone")
    ours.start()
    with pytest.raises(ServerError):
        ours.cluster.wait_for_recovery()
    ours.cluster.close()
    ours.command = right
    ours.start()
    assert ours.cluster.wait_for_recovery() == "ended"
    assert fingerprint(ours.cluster) == story.content[1]


@pytest.mark.parametrize("end", ["fast", "immediate", "killed"])
def test_a_server_that_ends_while_a_command_waits_ends_that_too(story, recovery, end):
    ours = recovery("--target-tli", "1")
    with hole(story):
        ours.start()
        wait_until(lambda: "trying again" in ours.cluster.log_text())
        end_of(ours.cluster, end)
        wait_until(ours.has_left_nothing)
        assert not (ours.data / "pg_wal" / "RECOVERYXLOG").exists()
    ours.start()
    assert ours.cluster.wait_for_recovery() == "ended"
    assert fingerprint(ours.cluster) == story.content[1]


@pytest.mark.parametrize("spoilt", [b"spoilt", None], ids=["damaged", "missing"])
def test_what_lies_behind_a_target_that_is_reached_does_not_matter(story, recovery, spoilt):
    ours = recovery("--target-lsn", str(story.fork), "--target-tli", "1")
    last = Segment.parse(ours.plan["last_needed_wal"], MB)
    assert last == Segment.at(1, story.fork, MB)
    with contextlib.ExitStack() as stack:
        for name in names(1, last.number + 1, last.number + 2):
            stack.enter_context(replaced(story.stored(name), spoilt))
        ours.start()
        assert ours.cluster.wait_for_recovery() == "paused"
        assert fingerprint(ours.cluster) == story.before
        assert not ours.waiting()
        ours.cluster.sql("SELECT pg_wal_replay_resume()")
        wait_until(lambda: not ours.cluster.one("SELECT pg_is_in_recovery()"))


def test_at_the_switch_the_lookahead_goes_on_with_the_next_timeline(story, recovery):
    ours = recovery("--target-tli", "2")
    switch = MB.number_at(story.path.legs[0].end)
    ours.start(names(1, switch - 3)[0])
    expected = [*names(1, switch - 3, switch - 2, switch - 1), *names(2, *range(switch, switch + 5))]
    wait_until(lambda: ours.waiting() == expected)
    ours.open()
    assert ours.cluster.wait_for_recovery() == "ended"
    assert fingerprint(ours.cluster) == story.content[2]


@pytest.mark.parametrize("timeline", [1, 2])
def test_each_branch_gets_its_own_segments(story, recovery, timeline):
    ours = recovery("--target-tli", str(timeline))
    ours.start()
    assert ours.cluster.wait_for_recovery() == "ended"
    assert fingerprint(ours.cluster) == story.content[timeline]


def test_a_prefetcher_that_is_killed_is_replaced_and_what_it_left_is_removed(story, recovery):
    ours = recovery("--target-tli", "1")
    number = middle(story)
    ours.start(following(number)[0])
    wait_until(lambda: ours.waiting() == following(number))
    killed = ours.prefetcher()
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: postmaster.is_gone(killed))
    # What it was in the middle of.
    (ours.directory / f"{following(number + AHEAD)[0]}.walstream-tmp.1-00").write_bytes(b"half")
    ours.open()
    assert ours.cluster.wait_for_recovery() == "ended"
    assert fingerprint(ours.cluster) == story.content[1]
    wait_until(ours.has_left_nothing)


def test_a_prefetcher_that_is_killed_last_leaves_nothing_to_the_new_timeline(story, recovery):
    ours = recovery("--target-lsn", str(story.fork), "--target-tli", "1", "--target-action", "promote")
    last = MB.number_at(story.fork)
    ours.start(names(1, last - 2)[0])
    wait_until(lambda: ours.waiting() == names(1, last - 2, last - 1, last))
    os.kill(ours.prefetcher(), signal.SIGKILL)
    ours.open()
    assert ours.cluster.wait_for_recovery() == "ended"
    assert fingerprint(ours.cluster) == story.before
    wait_until(ours.has_left_nothing)


@pytest.mark.parametrize("end", ["fast", "immediate", "killed"])
def test_the_prefetcher_ends_with_its_server_and_the_next_start_goes_on(story, recovery, end):
    ours = recovery("--target-tli", "1")
    number = middle(story)
    ours.start(following(number)[0])
    wait_until(lambda: ours.waiting() == following(number))
    end_of(ours.cluster, end)
    wait_until(ours.has_left_nothing)
    ours.open()
    ours.start()
    assert ours.cluster.wait_for_recovery() == "ended"
    assert fingerprint(ours.cluster) == story.content[1]


def test_a_data_directory_that_is_removed_takes_the_prefetcher_with_it(story, recovery):
    ours = recovery("--target-tli", "1")
    number = middle(story)
    ours.start(following(number)[0])
    wait_until(lambda: ours.waiting() == following(number))
    pid = ours.prefetcher()
    removed = ours.data.rename(ours.data.with_name("removed"))
    shutil.rmtree(removed, ignore_errors=True)  # the server that still runs may write
    wait_until(lambda: postmaster.is_gone(pid))


def test_a_standby_outlives_all_trouble_and_goes_on_when_it_is_over(story, recovery):
    ours = recovery("--standby-mode", "--target-tli", "1")
    number = middle(story)
    ours.cluster.settings["wal_retrieve_retry_interval"] = "50ms"
    with replaced(story.stored(following(number + AHEAD)[0]), b"spoilt"):
        ours.start(following(number)[0])
        wait_until(lambda: ours.waiting() == following(number))
        with unmounted(story):
            ours.open()
            wait_until(lambda: ours.cluster.log_text().count("holds no repository") > 3)
            assert ours.cluster.one("SELECT pg_is_in_recovery()")
        wait_until(lambda: ours.cluster.log_text().count("damaged") > 3)
        assert ours.cluster.one("SELECT pg_is_in_recovery()")
        wait_until(lambda: not ours.directory.exists())
    wait_until(lambda: fingerprint(ours.cluster) == story.content[1])
    wait_until(lambda: not ours.directory.exists())
    assert ours.cluster.one("SELECT pg_promote()")
    wait_until(ours.has_left_nothing)


def test_a_paused_standby_finds_its_segments_later_and_its_promotion_ends_the_prefetcher(story, recovery):
    ours = recovery("--standby-mode", "--target-tli", "1")
    number = middle(story)
    ours.start(following(number)[0])
    wait_until(lambda: is_ready(ours.cluster))
    ours.cluster.sql("SELECT pg_wal_replay_pause()")
    ours.open()
    wait_until(lambda: ours.waiting() == following(number + 1))
    pid = ours.prefetcher()
    assert ours.cluster.one("SELECT pg_promote(false)")
    wait_until(lambda: not ours.cluster.one("SELECT pg_is_in_recovery()"))
    assert fingerprint(ours.cluster) == story.content[1]
    wait_until(ours.has_left_nothing)
    assert postmaster.is_gone(pid)


def test_neither_a_base_backup_nor_a_restartpoint_minds_the_lookahead(story, recovery, tmp_path):
    ours = recovery("--standby-mode", "--target-tli", "1")
    number = middle(story)
    ours.start(following(number)[0])
    wait_until(lambda: ours.waiting() == following(number))
    cluster = ours.cluster
    wait_until(lambda: is_ready(cluster))
    cluster.sql("CHECKPOINT")
    listed = {name for (name,) in cluster.sql("SELECT name FROM pg_ls_waldir()")}
    assert listed and not any("lookahead" in name for name in listed)
    tool = pg_tool(story.version, "pg_basebackup")
    if tool is not None:
        words = ["-d", cluster.conninfo(), "-D", tmp_path / "copy", "-Ft", "-X", "none", "-c", "fast"]
        subprocess.run([tool, *words], check=True, capture_output=True)
        with tarfile.open(tmp_path / "copy" / "base.tar") as archive:
            inside = [name for name in archive.getnames() if "pg_wal/" in name]
        assert "pg_wal/archive_status" in [name.removeprefix("./") for name in inside]
        assert not any("lookahead" in name for name in inside)
    assert ours.waiting() == following(number)
    assert "lookahead" not in "".join(
        line for line in cluster.log_text().splitlines() if "restore_command" not in line
    )
