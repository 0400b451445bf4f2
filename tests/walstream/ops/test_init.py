"""``init`` on real servers: what is lacking is said with its remedy, and then nothing is written."""

import io
import json
import os
from pathlib import Path

import pytest

from walstream.ops.init import derived_slot_name


@pytest.fixture
def nothing_written(commands):
    """``nothing_written(run)``: it failed with one error and one remedy at least, and left no trace."""

    def judge(run, code=1):
        assert run.code == code, run.out + run.err
        assert "walstream: error: " in run.err and "\nhint: " in run.err
        assert not os.path.exists(commands.file)
        assert not os.path.exists(os.path.join(commands.home, "main", "identity.json"))
        return run.err

    return judge


def test_a_server_is_added_with_repository_and_section(commands, server):
    run = commands.init(server.conninfo())
    assert run.code == 0, run.err
    assert f"next:\n  walstream -c {commands.file} receive-wal main" in run.out
    assert os.stat(commands.file).st_mode & 0o777 == 0o600
    text = Path(commands.file).read_text()
    assert f"walstream_home = {commands.home}" in text
    assert "[main]\n" in text and "slot_name = walstream\n" in text and "create_slot = auto\n" in text
    assert Path(commands.home, "main", "identity.json").exists()
    assert server.one("SELECT count(*) FROM pg_replication_slots") == 0, "a slot would wait for nobody"


def test_a_second_time_changes_nothing(commands, server):
    commands.init(server.conninfo())
    before = Path(commands.file).read_bytes()
    run = commands.init(server.conninfo())
    assert (run.code, Path(commands.file).read_bytes()) == (0, before)
    assert "has main already" in run.out


def test_another_conninfo_for_the_same_name_is_refused(commands, server):
    commands.init(server.conninfo())
    before = Path(commands.file).read_bytes()
    run = commands.init(server.conninfo("template1"))
    assert run.code == 2 and "another conninfo" in run.err
    assert Path(commands.file).read_bytes() == before


def test_a_home_that_the_file_contradicts_is_refused(commands, server, tmp_path):
    commands.init(server.conninfo())
    run = commands("init", "other", server.conninfo(), "--home", str(tmp_path / "elsewhere"))
    assert run.code == 2 and "another walstream_home" in run.err
    assert not (tmp_path / "elsewhere").exists()


def test_the_conninfo_is_read_from_standard_input_and_a_password_gets_advice(commands, server, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(server.conninfo(password="s3cret") + "\n"))
    run = commands.init("-")
    assert run.code == 0 and "passfile" in run.err
    assert "s3cret" not in run.out + run.err


def test_empty_standard_input_is_a_usage_error(commands, nothing_written, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    nothing_written(commands.init("-"), code=2)


def test_a_connection_string_that_libpq_does_not_read_is_a_usage_error(commands, nothing_written):
    nothing_written(commands.init("host='"), code=2)


@pytest.mark.parametrize("name", ["all", "a/b", "", "walstream"])
def test_a_name_that_cannot_be_a_directory_is_refused(commands, nothing_written, server, name):
    nothing_written(commands.init(server.conninfo(), name), code=2)


def test_a_server_that_is_down(commands, nothing_written, tmp_path):
    err = nothing_written(commands.init(f"host={tmp_path} user=x dbname=postgres"))
    assert "check that the server runs" in err


def test_a_missing_role_gets_the_sql_that_makes_it(commands, nothing_written, server):
    err = nothing_written(commands.init(server.conninfo(user="nobody_here")))
    assert "CREATE ROLE nobody_here LOGIN REPLICATION;" in err


def test_a_role_without_replication_gets_the_sql_that_grants_it(commands, nothing_written, server):
    server.sql("CREATE ROLE plain LOGIN")
    try:
        err = nothing_written(commands.init(server.conninfo(user="plain")))
    finally:
        server.sql("DROP ROLE plain")
    assert "ALTER ROLE plain REPLICATION;" in err
    assert err.count("walstream: error:") == 1


def test_a_role_with_replication_alone_is_enough(commands, server):
    server.sql("CREATE ROLE streamer LOGIN REPLICATION")
    try:
        run = commands.init(server.conninfo(user="streamer"))
    finally:
        server.sql("DROP ROLE streamer")
    assert run.code == 0, run.err
    assert "GRANT EXECUTE ON FUNCTION pg_switch_wal() TO streamer;" in run.out


def test_a_wrong_password(commands, nothing_written, cluster_factory):
    cluster = cluster_factory(password_users=["bob"])
    cluster.sql("CREATE ROLE bob LOGIN REPLICATION PASSWORD 'right'")
    err = nothing_written(commands.init(cluster.conninfo(user="bob", password="wr0ng")))
    assert "password authentication failed" in err and "check user and password" in err
    assert "wr0ng" not in err


def test_a_missing_line_of_pg_hba_is_printed(commands, nothing_written, cluster_factory):
    cluster = cluster_factory(hba=["local replication postgres reject"])
    err = nothing_written(commands.init(cluster.conninfo()))
    assert "local replication postgres scram-sha-256" in err and "pg_reload_conf()" in err


def test_minimal_wal(commands, nothing_written, cluster_factory):
    cluster = cluster_factory({"wal_level": "minimal", "max_wal_senders": "0"})
    err = nothing_written(commands.init(cluster.conninfo()))
    assert "ALTER SYSTEM SET wal_level = replica;" in err
    assert "ALTER SYSTEM SET max_wal_senders = 10;" in err


@pytest.mark.parametrize("limit", ["0", "1"])
def test_no_free_slot(commands, nothing_written, cluster_factory, limit):
    cluster = cluster_factory({"max_replication_slots": limit})
    if limit == "1":
        cluster.sql("SELECT pg_create_physical_replication_slot('other')")
    err = nothing_written(commands.init(cluster.conninfo()))
    assert "ALTER SYSTEM SET max_replication_slots = 10;" in err


def test_no_free_wal_sender(commands, nothing_written, cluster_factory):
    cluster = cluster_factory({"max_wal_senders": "1"})
    with cluster.connect(replication="true"):
        err = nothing_written(commands.init(cluster.conninfo()))
    assert "ALTER SYSTEM SET max_wal_senders = 10;" in err


def test_another_clusters_repository(commands, server, cluster_factory):
    commands.init(server.conninfo())
    os.unlink(commands.file)
    run = commands.init(cluster_factory().conninfo())
    assert run.code == 1 and "system identifier" in run.err and "\nhint: " in run.err
    assert not os.path.exists(commands.file)


def test_a_foreign_directory_is_left_alone(commands, nothing_written, server):
    place = Path(commands.home, "main")
    place.mkdir(parents=True)
    (place / "precious").write_text("mine")
    nothing_written(commands.init(server.conninfo()))
    assert sorted(os.listdir(place)) == ["precious"]


def test_a_directory_of_barmans_is_left_alone(commands, server):
    place = Path(commands.home, "main")
    for name in ("base", "wals", "streaming", "incoming", "errors"):
        (place / name).mkdir(parents=True)
    (place / "identity.json").write_text('{"systemid": "7000000000000000000", "version": "15"}')
    run = commands.init(server.conninfo())
    assert run.code == 1 and "Barman" in run.err and "\nhint: " in run.err
    assert not os.path.exists(commands.file) and len(os.listdir(place)) == 6


def test_a_repository_that_cannot_be_made(commands, nothing_written, server):
    Path(commands.home).write_text("a file")
    nothing_written(commands.init(server.conninfo()))


def test_a_configuration_file_that_cannot_be_written(commands, server, tmp_path):
    (tmp_path / "file").write_text("")
    commands.file = str(tmp_path / "file" / "walstream.conf")
    run = commands.init(server.conninfo())
    assert run.code == 1 and "\nhint: " in run.err
    assert not os.path.exists(commands.home)


def test_a_slot_that_somebody_streams_from_is_left_to_him(commands, cluster_factory, standby_factory):
    cluster = cluster_factory()
    standby = standby_factory(cluster, start=False)
    cluster.sql("SELECT pg_create_physical_replication_slot('walstream', true)")
    standby.configure({"primary_slot_name": "walstream"})
    standby.start()
    commands.init(cluster.conninfo())
    assert "slot_name = walstream_main\n" in Path(commands.file).read_text()


def test_a_slots_name_is_made_of_letters_that_postgresql_takes():
    assert derived_slot_name("Shop-DB.1") == "walstream_shop_db_1"
    assert len(derived_slot_name("x" * 100)) == 63


def test_the_outcome_in_json(commands, server):
    run = commands("init", "main", server.conninfo(user="nobody_here"), "--home", commands.home, "-f", "json")
    document = json.loads(run.out)
    assert "CREATE ROLE" in document["main"]["lacks"][0]["remedy"] and document["_ERROR"]
