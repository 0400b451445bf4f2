import pytest

from catalog.errors import ServerRefused, UsageError
from catalog.lsn import LSN
from walstream.commands import SlotPosition, start_replication
from walstream.connection import Connection
from walstream.facts import server_facts
from walstream.slots import create_slot, drop_slot, ensure_slot, find_slot, slot_facts

NAME = "walstream_slots"
MISSING = SlotPosition(None, None, None)


@pytest.fixture
def connection(server):
    for name in (NAME, "a_logical_one"):
        server.sql(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s", name
        )
    with Connection.open(server.conninfo(), application_name="walstream_test") as opened:
        yield opened
    server.sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active")


@pytest.fixture
def open_sql(server):
    return lambda: Connection.open(server.conninfo(), application_name="walstream_test", replication=False)


def test_a_slot_reserves_wal_as_soon_as_it_is_made(connection, open_sql):
    assert find_slot(connection, NAME, open_sql) == MISSING
    reached = server_facts(connection).system.position
    assert create_slot(connection, NAME) is True
    found = find_slot(connection, NAME, open_sql)
    assert found.kind == "physical"
    assert LSN(0) < found.restart <= reached


def test_a_slot_that_is_there_is_not_made_again(connection, open_sql):
    create_slot(connection, NAME)
    before = find_slot(connection, NAME, open_sql)
    assert create_slot(connection, NAME) is False
    assert find_slot(connection, NAME, open_sql) == before


def test_ensuring_makes_what_is_missing_only_when_it_may(connection, open_sql):
    with pytest.raises(ServerRefused) as caught:
        ensure_slot(connection, NAME, create=False, open_sql=open_sql)
    assert caught.value.sqlstate == "42704" and "--create-slot" in caught.value.hint
    made = ensure_slot(connection, NAME, create=True, open_sql=open_sql)
    assert made == ensure_slot(connection, NAME, create=False, open_sql=open_sql)
    assert made == find_slot(connection, NAME, open_sql).restart


def test_a_logical_slot_is_refused(cluster_factory):
    cluster = cluster_factory({"wal_level": "logical"})
    cluster.sql("SELECT pg_create_logical_replication_slot('a_logical_one', 'pgoutput')")

    def open_sql():
        return Connection.open(cluster.conninfo(), application_name="walstream_test", replication=False)

    with Connection.open(cluster.conninfo(), application_name="walstream_test") as connection:
        with pytest.raises(ServerRefused, match="is a logical one") as caught:
            ensure_slot(connection, "a_logical_one", create=True, open_sql=open_sql)
    assert "physical" in caught.value.hint


def test_a_dropped_slot_is_gone_and_a_missing_one_is_refused(connection, open_sql):
    create_slot(connection, NAME)
    drop_slot(connection, NAME)
    assert find_slot(connection, NAME, open_sql) == MISSING
    with pytest.raises(ServerRefused) as caught:
        drop_slot(connection, NAME)
    assert caught.value.sqlstate == "42704"


def test_a_slot_in_use_is_not_dropped(connection, server):
    create_slot(connection, NAME)
    position = server_facts(connection).system.position
    with Connection.open(server.conninfo(), application_name="walstream_test") as streaming:
        streaming.send(start_replication(position, 1, NAME))
        streaming.result()
        with pytest.raises(ServerRefused) as caught:
            drop_slot(connection, NAME)
        assert caught.value.sqlstate == "55006"


def test_a_temporary_slot_is_gone_with_its_connection(server, open_sql, connection, eventually):
    with Connection.open(server.conninfo(), application_name="walstream_test") as short:
        assert create_slot(short, NAME, temporary=True) is True
        assert find_slot(connection, NAME, open_sql).kind == "physical"
    eventually(lambda: find_slot(connection, NAME, open_sql) == MISSING)


def test_no_other_name_is_asked_for(connection, open_sql):
    with pytest.raises(UsageError):
        find_slot(connection, "it's", open_sql)


def test_the_facts_of_a_slot_say_what_it_keeps(connection, server, open_sql):
    with open_sql() as sql:
        assert slot_facts(sql, NAME) is None
        server.sql("SELECT pg_create_physical_replication_slot(%s)", NAME)
        empty = slot_facts(sql, NAME)
        assert (empty.kind, empty.active, empty.restart, empty.retained) == ("physical", False, None, None)
        drop_slot(connection, NAME)
        create_slot(connection, NAME)
        before = slot_facts(sql, NAME)
        server.load(1000)
        after = slot_facts(sql, NAME)
        assert after.retained > before.retained and after.wal_status == "reserved"


@pytest.mark.postgres(versions=[13, 14, 15, 16, 17, 18])
def test_the_facts_of_a_slot_say_what_it_may_still_keep_and_why_it_was_given_up(cluster_factory, pg_version):
    limits = {"max_slot_wal_keep_size": "8MB", "min_wal_size": "2MB", "max_wal_size": "4MB"}
    cluster = cluster_factory(limits, segment_megabytes=1)
    cluster.sql("SELECT pg_create_physical_replication_slot(%s, true)", NAME)
    with Connection.open(cluster.conninfo(), application_name="walstream_test", replication=False) as sql:
        before = slot_facts(sql, NAME)
        assert 0 < before.safe <= 10 << 20 and before.invalidated is None
        assert (before.inactive_since is not None) == (pg_version >= 17)
        cluster.load(10)
        cluster.switch_wal()
        assert slot_facts(sql, NAME).safe < before.safe
        for _ in range(12):
            cluster.load(10)
            cluster.switch_wal()
        cluster.sql("CHECKPOINT")
        lost = slot_facts(sql, NAME)
        assert (lost.wal_status, lost.restart, lost.retained) == ("lost", None, None)
        assert lost.invalidated == ("wal_removed" if pg_version >= 17 else None)


def test_a_slot_that_keeps_no_wal_is_made_again_or_refused(connection, open_sql, server):
    server.sql("SELECT pg_create_physical_replication_slot(%s)", NAME)
    with pytest.raises(ServerRefused, match="keeps no WAL"):
        ensure_slot(connection, NAME, create=False, open_sql=open_sql)
    assert ensure_slot(connection, NAME, create=True, open_sql=open_sql) is not None
