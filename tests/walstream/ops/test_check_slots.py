import pytest
from support import published
from support.configurations import MAIN, loaded
from support.published import NOW, slot

from catalog.errors import ConnectionFailed
from walstream.ops.check_slots import left_behind_items, slot_items
from walstream.ops.other_hosts import HostSlot
from walstream.ops.survey import Survey

GIB = 1 << 30


def cluster(limit="10240", **more):
    settings = {
        "max_slot_wal_keep_size": limit,
        "wal_segment_size": "16777216",
        "max_replication_slots": "10",
    }
    return published.cluster(**settings | more)


@pytest.fixture
def settings(tmp_path):
    return loaded(tmp_path, MAIN + "    slot_name = main\n").server("main")


@pytest.fixture
def item(settings):
    """``item(slot, receiving)``: what is said about our own slot."""

    def look(found, receiving=True, limit="10240"):
        return slot_items(settings, Survey(cluster=cluster(limit), slot=found), receiving)[0]

    return look


def test_a_slot_tells_what_it_keeps_and_what_it_may_still_keep(item):
    found = item(slot(retained=3 << 20, safe=5 * GIB))
    assert found.ok and not found.is_warning
    assert found.hint == "main keeps 3.0 MiB of WAL from 0/3000000 on and may lose it after 5.0 GiB more"


def test_without_a_limit_nothing_is_said_of_it(item):
    assert item(slot(safe=None), limit="-1").hint.endswith("from 0/3000000 on")


@pytest.mark.parametrize(("limit", "safe"), [("10240", GIB - 1), ("100", (16 << 20) - 1), ("100", -5)])
def test_a_slot_that_runs_short_is_a_warning(item, limit, safe):
    found = item(slot(safe=safe), limit=limit)
    assert found.is_warning and "raise max_slot_wal_keep_size" in found.remedy
    assert "walstream status main" in found.remedy


@pytest.mark.parametrize(("limit", "safe"), [("10240", GIB), ("100", 16 << 20)])
def test_a_slot_that_does_not_is_none(item, limit, safe):
    assert not item(slot(safe=safe), limit=limit).is_warning


def test_a_lost_slot_says_why_the_server_gave_it_up(item):
    found = item(slot(active=False, restart=None, wal_status="lost", invalidated="wal_removed"))
    assert not found.ok and "(wal_removed)" in found.hint
    assert (
        found.remedy == "the receiver makes it anew by itself; then take a new backup: walstream backup main"
    )


def test_a_lost_slot_is_dropped_by_hand_where_the_receiver_makes_none(tmp_path):
    manual = loaded(tmp_path, MAIN + "    slot_name = main\n    create_slot = manual\n").server("main")
    lost = slot(active=False, restart=None, wal_status="lost")
    found = slot_items(manual, Survey(cluster=cluster(), slot=lost), True)[0]
    assert "pg_drop_replication_slot('main')" in found.remedy and "walstream backup main" in found.remedy


def test_an_unreserved_slot_is_about_to_lose_wal(item):
    found = item(slot(wal_status="unreserved", safe=-1))
    assert not found.ok and "about to lose WAL" in found.hint


def test_an_inactive_slot_says_since_when(item):
    found = item(slot(active=False, inactive_since=NOW), receiving=False)
    assert not found.ok and "not active since 20" in found.hint


def test_a_slot_on_another_host_is_a_warning_with_the_sql_that_drops_it(settings):
    (found,) = left_behind_items(settings, [HostSlot("db2:5433", slot(active=False, retained=5 * GIB))])
    assert found.is_warning and found.label == "replication slot on db2:5433"
    assert "keeps 5.0 GiB" in found.hint
    assert "SELECT pg_drop_replication_slot('main');" in found.remedy


def test_one_that_fills_a_disk_without_a_limit_is_a_failure(settings):
    left = slot(active=False, retained=GIB, safe=None)
    (found,) = left_behind_items(settings, [HostSlot("db2", left, limited=False)])
    assert not found.ok and "fills that host's disk" in found.hint and found.remedy
    little = slot(active=False, retained=GIB - 1, safe=None)
    (found,) = left_behind_items(settings, [HostSlot("db2", little, limited=False)])
    assert found.is_warning


def test_hosts_without_our_slot_or_with_one_that_is_read_from_are_not_named(settings):
    assert left_behind_items(settings, [HostSlot("db2"), HostSlot("db3", slot(active=True))]) == []


def test_a_host_that_cannot_be_asked_is_named(settings):
    error = ConnectionFailed("no route", "look")
    (found,) = left_behind_items(settings, [HostSlot("db2", error=error)])
    assert found.is_warning and "no route" in found.hint and found.remedy == "look"


def test_a_server_that_gives_up_idle_slots_is_a_warning(settings):
    def labels(**more):
        found = slot_items(settings, Survey(cluster=cluster(**more), slot=slot()), True)
        return {each.label: each for each in found}

    found = labels(idle_replication_slot_timeout="3600")["idle_replication_slot_timeout"]
    assert found.is_warning and "3600 seconds" in found.hint and "ALTER SYSTEM" in found.remedy
    for other in ({}, {"idle_replication_slot_timeout": "0"}):
        assert "idle_replication_slot_timeout" not in labels(**other)
