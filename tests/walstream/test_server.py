import os
import time

import pytest

from catalog.errors import ServerRefused
from catalog.lsn import LSN
from walstream.connection import Connection
from walstream.ops import unprivileged
from walstream.server import (
    CommitLevel,
    checkpoint,
    cluster_facts,
    data_size,
    is_standby,
    switch_wal,
    system_identifier,
)

# Asked of every version that is here; what else there is, of the usual ones.
every_version = pytest.mark.postgres(versions=[13, 14, 15, 16, 17, 18])


@pytest.fixture
def sql(server):
    with Connection.open(server.conninfo(), application_name="walstream_test", replication=False) as opened:
        yield opened


@pytest.fixture
def as_plain(server):
    """A connection of a role that may do nothing in particular."""
    server.sql("DROP ROLE IF EXISTS plain")
    server.sql("CREATE ROLE plain LOGIN")
    with Connection.open(
        server.conninfo(user="plain"), application_name="walstream_test", replication=False
    ) as opened:
        yield opened
    server.sql("DROP ROLE plain")


@every_version
def test_facts_about_a_primary(sql, server):
    found = cluster_facts(sql)
    assert found.version // 10000 == server.version
    assert (found.in_recovery, found.may_replicate, found.may_switch_wal) == (False, True, True)
    assert found.role == server.one("SELECT current_user")
    assert found.settings["wal_level"] == "replica"
    assert found.settings["block_size"] == "8192"
    assert found.settings["data_directory"] == server.directory
    assert ("summarize_wal" in found.settings) == (server.version >= 17)
    assert [(space.name, space.location) for space in found.tablespaces] == [
        ("pg_default", ""),
        ("pg_global", ""),
    ]
    assert abs(found.clock_offset) < 5


@every_version
def test_a_plain_role_is_told_what_it_may_not_and_sees_fewer_settings(as_plain):
    found = cluster_facts(as_plain)
    assert (found.role, found.may_replicate, found.may_switch_wal) == ("plain", False, False)
    assert "data_directory" not in found.settings
    assert found.settings["wal_level"] == "replica"


def test_connections_that_stream_and_slots_are_counted(sql, server):
    before = cluster_facts(sql)
    with Connection.open(server.conninfo(), application_name="walstream_test") as walsender:
        walsender.query('CREATE_REPLICATION_SLOT "walstream_counted" TEMPORARY PHYSICAL')
        found = cluster_facts(sql)
        assert (found.slots, found.wal_senders) == (before.slots + 1, before.wal_senders + 1)


@every_version
def test_roles_and_databases_that_commit_in_another_way_are_named(cluster_factory):
    cluster = cluster_factory()
    cluster.sql("CREATE ROLE bob")
    cluster.sql("ALTER ROLE bob SET synchronous_commit = remote_apply")
    cluster.sql("ALTER ROLE bob SET work_mem = '4MB'")
    cluster.sql("ALTER DATABASE postgres SET synchronous_commit = off")
    cluster.sql("ALTER ROLE bob IN DATABASE postgres SET synchronous_commit = local")
    with Connection.open(cluster.conninfo(), application_name="walstream_test", replication=False) as sql:
        found = cluster_facts(sql)
    assert set(found.commit_levels) == {
        CommitLevel("bob", None, "remote_apply"),
        CommitLevel(None, "postgres", "off"),
        CommitLevel("bob", "postgres", "local"),
    }
    assert found.settings["synchronous_commit"] == "off"  # as for whoever asks there


def test_the_room_that_data_takes_is_told_to_whoever_may_see_it(cluster_factory):
    cluster = cluster_factory()
    cluster.sql("CREATE ROLE plain LOGIN")
    cluster.sql("REVOKE CONNECT ON DATABASE template1 FROM PUBLIC")
    with Connection.open(cluster.conninfo(), application_name="walstream_test", replication=False) as sql:
        assert data_size(sql) == cluster.one("SELECT sum(pg_database_size(oid)) FROM pg_database")
    with Connection.open(
        cluster.conninfo(user="plain"), application_name="walstream_test", replication=False
    ) as sql:
        assert data_size(sql) is None
        assert cluster_facts(sql).role == "plain"


def test_a_tablespace_is_named_with_its_place(cluster_factory, cluster_directory):
    cluster = cluster_factory()
    place = os.path.join(cluster_directory, "space")
    os.mkdir(place)
    unprivileged.way().give(place)
    cluster.sql(f"CREATE TABLESPACE fast LOCATION '{place}'")
    with Connection.open(cluster.conninfo(), application_name="walstream_test", replication=False) as sql:
        (fast,) = (space for space in cluster_facts(sql).tablespaces if space.oid >= 16384)
    assert (fast.name, fast.location) == ("fast", place)


def test_the_system_identifier_is_the_one_of_the_replication_protocol(sql, server):
    with Connection.open(server.conninfo(), application_name="walstream_test") as walsender:
        assert system_identifier(sql) == int(walsender.row("IDENTIFY_SYSTEM")[0])


def test_a_primary_is_no_standby(sql):
    assert is_standby(sql) is False


@every_version
def test_switching_names_the_segment_that_was_ended(sql, server):
    server.load(10)
    current = server.one("SELECT pg_walfile_name(pg_current_wal_lsn())")
    assert switch_wal(sql) == current
    server.load(1)
    assert server.one("SELECT pg_walfile_name(pg_current_wal_insert_lsn())") > current


def test_without_new_wal_nothing_is_switched_and_the_segment_before_is_named(sql, server):
    # Not a test of idleness: a server may write WAL of its own between two calls.
    server.load(10)
    first = switch_wal(sql)
    again = switch_wal(sql)
    assert again >= first


def test_whoever_may_not_switch_is_told_the_grant(as_plain):
    with pytest.raises(ServerRefused) as caught:
        switch_wal(as_plain)
    assert caught.value.sqlstate == "42501"
    assert "GRANT EXECUTE ON FUNCTION pg_switch_wal()" in caught.value.hint


def test_a_checkpoint_is_done_and_refused_to_others_with_the_grant(sql, as_plain, server):
    def position():
        return LSN.parse(server.one("SELECT checkpoint_lsn::text FROM pg_control_checkpoint()"))

    before = position()
    server.load(10)
    checkpoint(sql)
    assert position() > before
    with pytest.raises(ServerRefused) as caught:
        checkpoint(as_plain)
    assert "pg_checkpoint" in caught.value.hint


def test_the_clock_offset_is_what_has_to_be_added(sql, monkeypatch):
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 3600)
    assert cluster_facts(sql).clock_offset == pytest.approx(3600, abs=5)
