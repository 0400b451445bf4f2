"""The throwaway server, on real binaries."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from support.clusters import assert_same_rows, copy_cluster

from catalog.errors import ServerError
from walstream.ops.throwaway import ThrowawayServer

ROOT = Path(__file__).parents[3]


def test_a_started_server_takes_connections(server, pg_version):
    assert int(server.one("SHOW server_version_num")) // 10000 == pg_version


def test_it_listens_on_a_short_private_socket_and_nowhere_else(server):
    assert server.one("SHOW listen_addresses") == ""
    assert len(server.socket_directory) + len("/.s.PGSQL.65535.lock") < 100
    assert os.stat(server.socket_directory).st_mode & 0o077 == 0


def test_replication_connections_are_let_in(server):
    with server.connect(replication="true") as connection:
        assert len(connection.execute("IDENTIFY_SYSTEM").fetchall()) == 1


def test_settings_win_over_the_file_and_leave_no_trace_in_it(cluster_factory):
    cluster = cluster_factory({"work_mem": "123kB"}, start=False)
    cluster.configure({"work_mem": "456kB", "cluster_name": "it's \\ here"})
    cluster.start()
    assert (cluster.one("SHOW work_mem"), cluster.one("SHOW cluster_name")) == ("123kB", "it's \\ here")
    assert "123kB" not in Path(cluster.directory, "postgresql.conf").read_text()


def test_a_reload_reads_the_file_again(cluster_factory, eventually):
    cluster = cluster_factory()
    cluster.configure({"work_mem": "789kB"})
    cluster.reload()
    eventually(lambda: cluster.one("SHOW work_mem") == "789kB")


@pytest.mark.parametrize("extra", [{}, {"replication": "true"}])
def test_a_password_user_is_let_in_with_the_password_only(cluster_factory, extra):
    cluster = cluster_factory(password_users=["bob"])
    cluster.sql("CREATE ROLE bob LOGIN REPLICATION PASSWORD 'se ''\\cret'")
    with cluster.connect(user="bob", password="se '\\cret", require_auth="scram-sha-256", **extra):
        pass
    with pytest.raises(psycopg.OperationalError, match="password"):
        cluster.connect(user="bob", password="wrong", **extra)


def test_a_crash_loses_no_commit(cluster_factory):
    cluster = cluster_factory()
    cluster.load(rows=1000)
    cluster.kill()
    assert cluster.pid is None
    cluster.start()
    assert "not properly shut down" in cluster.log_text()
    assert cluster.one("SELECT count(*) FROM load") == 1000


@pytest.mark.parametrize("mode", ["smart", "fast", "immediate"])
def test_a_stopped_server_is_gone_and_can_be_started_again(cluster_factory, mode):
    cluster = cluster_factory()
    cluster.stop(mode)
    assert not Path(cluster.directory, "postmaster.pid").exists()
    cluster.start()
    assert cluster.one("SELECT 1") == 1


def test_a_server_that_cannot_start_says_why_and_leaves_nothing_running(cluster_factory):
    cluster = cluster_factory({"shared_buffers": "nonsense"}, start=False)
    with pytest.raises(ServerError, match="invalid value for parameter"):
        cluster.start()
    assert cluster.pid is None
    assert cluster.socket_directory is None


def test_a_server_that_runs_is_not_started_twice(server):
    with pytest.raises(ServerError, match="runs already"):
        server.start()


def test_a_server_that_never_ran_has_no_address(tmp_path):
    with pytest.raises(ServerError, match="was not started"):
        ThrowawayServer("/nowhere", str(tmp_path)).conninfo()


def test_an_exception_closes_the_server(pg_bin, cluster_directory):
    server = ThrowawayServer(pg_bin, os.path.join(cluster_directory, "data"))
    with pytest.raises(ZeroDivisionError), server:
        server.init()
        server.start()
        _ = 1 / 0
    assert server.pid is None


SCRIPT = """
import sys
from walstream.ops.throwaway import ThrowawayServer
server = ThrowawayServer(sys.argv[1], sys.argv[2])
server.init()
server.start()
print(server.pid, server.socket_directory)
sys.exit(3)
"""


def test_no_server_outlives_the_process_that_started_it(pg_bin, cluster_directory):
    argv = [sys.executable, "-c", SCRIPT, pg_bin, os.path.join(cluster_directory, "data")]
    ended = subprocess.run(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    pid, socket_directory = ended.stdout.split()
    assert ended.returncode == 3
    assert not os.path.exists(socket_directory)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


def test_a_standby_streams_and_is_promoted(cluster_factory, standby_factory, eventually):
    primary = cluster_factory()
    primary.load(rows=100)
    standby = standby_factory(primary)
    primary.load(rows=100)
    eventually(lambda: standby.one("SELECT count(*) FROM load") == 200)
    assert_same_rows(primary, standby)
    standby.sql("SELECT pg_promote(wait => false)")
    assert standby.wait_for_recovery() == "ended"


@pytest.mark.parametrize(
    ("action", "hot", "outcome"),
    [
        ("promote", "on", "ended"),
        ("promote", "off", "ended"),
        ("pause", "on", "paused"),
        ("shutdown", "on", "stopped"),
    ],
)
def test_the_end_of_a_restored_clusters_recovery_is_seen(
    cluster_factory, cluster_directory, action, hot, outcome
):
    primary = cluster_factory()
    copy = os.path.join(cluster_directory, "copy")
    copy_cluster(primary, copy)
    primary.load(rows=100)
    target = primary.switch_wal()
    primary.load(rows=100)
    Path(copy, "recovery.signal").touch()
    restore = f"cp {primary.directory}/pg_wal/%f %p"
    settings = {"restore_command": restore, "recovery_target_lsn": target, "recovery_target_action": action}
    restored = cluster_factory(settings | {"hot_standby": hot}, directory=copy, start=False)
    restored.start(wait=False)
    assert restored.wait_for_recovery() == outcome
    assert outcome == "stopped" or restored.one("SELECT count(*) FROM load") == 100


def test_a_recovery_that_fails_tells_the_end_of_the_log(cluster_factory, cluster_directory):
    primary = cluster_factory()
    copy = os.path.join(cluster_directory, "copy")
    copy_cluster(primary, copy)
    Path(copy, "recovery.signal").touch()
    restored = cluster_factory({"restore_command": "false"}, directory=copy, start=False)
    restored.start(wait=False)
    with pytest.raises(ServerError, match="could not locate"):
        restored.wait_for_recovery()
