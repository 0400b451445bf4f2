"""A receiver whose network fails, or that has several hosts to choose from: it comes to the server it should."""

import contextlib
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.clusters import together
from support.load import load_on
from support.protection import RECEIVER, assert_same_wal, last_acknowledged, stop
from support.receiving import receiving

from catalog.lsn import LSN
from catalog.walname import history_name
from walstream.settings.load import load

pytestmark = pytest.mark.timeout(600)


def test_a_server_that_cannot_be_reached_for_a_while(cluster_factory, protect, network, eventually):
    cluster = cluster_factory(segment_megabytes=1)
    proxy = network(cluster)
    ours = protect(cluster, conninfo=proxy.conninfo())
    with ours.receiving("main", "--log-level", "DEBUG") as process:
        cluster.load(rows=1000)
        ours.catch_up()
        proxy.refuse()
        proxy.cut()
        cluster.load(rows=10000)
        eventually(lambda: ours.log.read_text().count("trying again in") >= 3)
        assert process.poll() is None
        proxy.admit()
        eventually(ours.streams, timeout=60)
        ours.catch_up()
    log = ours.log.read_text()
    refused = [line for line in log.splitlines() if "warning: " in line and "Connection refused" in line]
    assert len(refused) == 1 and refused[0].endswith("trying again until it works")
    assert log.count(": streaming timeline 1 from ") == 2 and " again, after " in log
    assert_same_wal(ours)


def test_a_server_that_gave_us_up_is_connected_to_again(cluster_factory, protect, network, eventually):
    cluster = cluster_factory({"wal_sender_timeout": "1s"}, segment_megabytes=1)
    proxy = network(cluster)
    ours = protect(cluster, conninfo=proxy.conninfo())
    with ours.receiving() as process, load_on(cluster):
        ours.catch_up()
        known = proxy.accepted
        proxy.stall("server")
        eventually(lambda: proxy.accepted > known)
        proxy.flow()
        eventually(ours.streams, timeout=60)
        ours.catch_up()
        assert process.poll() is None
    assert "terminating walsender process due to replication timeout" in cluster.log_text()
    assert_same_wal(ours)


def test_a_server_that_has_not_noticed_our_loss_keeps_the_slot_for_a_while_only(
    cluster_factory, protect, network, eventually
):
    cluster = cluster_factory({"wal_sender_timeout": "3s"}, segment_megabytes=1)
    proxy = network(cluster)
    ours = protect(cluster, conninfo=proxy.conninfo())
    with ours.receiving() as process, load_on(cluster):
        ours.catch_up()
        proxy.forget()
        eventually(lambda: "is active for PID" in ours.log.read_text())
        eventually(lambda: ours.log.read_text().count("streaming timeline 1") >= 2, timeout=60)
        ours.catch_up()
        assert process.poll() is None
    assert_same_wal(ours)


def test_synchronous_commits_wait_while_the_network_is_down_and_go_on_behind_it(
    cluster_factory, protect, network, eventually
):
    cluster = cluster_factory({"synchronous_standby_names": RECEIVER}, segment_megabytes=1)
    line = network(cluster)
    ours = protect(cluster, conninfo=line.conninfo())
    waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    with ours.receiving(), cluster.connect() as connection, ThreadPoolExecutor(1) as client:
        connection.execute("CREATE TABLE told (id int)")
        for number in range(3):
            line.refuse()
            line.cut(("reset", "close")[number % 2])
            commit = client.submit(connection.execute, "INSERT INTO told VALUES (1)")
            eventually(lambda: cluster.one(waits) == 1)
            position = LSN.parse(cluster.one("SELECT pg_current_wal_insert_lsn()::text"))
            assert not commit.done() and last_acknowledged(ours) < position
            line.admit()
            commit.result(60)
            assert ours.acknowledged() >= position
            assert_same_wal(ours, position)


def test_silence_is_noticed_and_an_idle_server_is_not_silent(
    cluster_factory, protect, network, eventually, caplog
):
    """Four receivers, each with a network of its own; the server itself asks nothing, and never notices."""
    cluster = cluster_factory({"wal_sender_timeout": "0", "autovacuum": "off"}, segment_megabytes=1)
    lines = {name: network(cluster) for name in ("well", "idle", "deaf", "cut_short")}
    ours = protect(cluster)
    ours.configure({name: {"conninfo": line.conninfo()} for name, line in lines.items()})
    settings = load(ours.config)
    with contextlib.ExitStack() as receivers:
        for name in lines:
            receivers.enter_context(receiving(settings.server(name), timeout=8))
        cluster.load(rows=1000)
        positions = {name: ours.catch_up(name) for name in lines}
        known = {name: ours.walsender(name) for name in lines}
        lines["idle"].stall()
        lines["deaf"].stall("server")
        lines["cut_short"].after(5000, "stall")
        cluster.load(rows=1000)
        lost = "the server has sent nothing for"
        eventually(lambda: sum(lost in message for message in caplog.messages) == 3, timeout=60)
        for name in ("idle", "deaf", "cut_short"):
            lines[name].flow()
            eventually(lambda name=name: ours.walsender(name) not in (None, known[name]), timeout=60)
        assert all(ours.catch_up(name) > positions[name] for name in lines)
        assert ours.walsender("well") == known["well"]
    for name in lines:
        assert_same_wal(ours, server=name)


def test_a_receiver_whose_network_stands_still_ends_soon_when_it_is_told_to(
    cluster_factory, protect, network, eventually
):
    cluster = cluster_factory(segment_megabytes=1)
    line = network(cluster)
    ours = protect(cluster, conninfo=line.conninfo())
    with ours.receiving() as process:
        cluster.load(rows=1000)
        ours.catch_up()
        line.stall()
        assert stop(process, timeout=20) == 0
    line.flow()
    with ours.receiving() as process:
        known = line.accepted
        line.stall()
        line.cut()
        eventually(lambda: line.accepted > known)
        assert stop(process, timeout=20) == 0


def test_pauses_do_not_grow_while_each_connection_brings_wal(cluster_factory, protect, network, eventually):
    cluster = cluster_factory(segment_megabytes=1)
    line = network(cluster)
    ours = protect(cluster, conninfo=line.conninfo())
    with ours.receiving("main", "--log-level", "DEBUG"):
        for _ in range(6):
            known = ours.walsender()
            line.cut()
            eventually(lambda known=known: ours.walsender() not in (None, known), timeout=60)
            cluster.load(rows=100)
            ours.catch_up()
    pauses = [float(each) for each in re.findall(r"trying again in ([0-9.]+) s", ours.log.read_text())]
    assert len(pauses) >= 6
    assert max(pauses) < 2


# several hosts


def is_received_from(cluster):
    """Whether our receiver streams from this cluster."""
    found = "SELECT count(*) FROM pg_stat_replication WHERE application_name = %s AND state = 'streaming'"
    return cluster.one(found, RECEIVER) == 1


@pytest.mark.parametrize("attrs", ["read-write", "primary", "prefer-standby", "any"])
def test_of_several_hosts_the_one_asked_for_is_received_from_and_a_failover_followed(
    cluster_factory, standby_factory, protect, eventually, attrs
):
    primary = cluster_factory(segment_megabytes=1)
    primary.load(rows=1000)
    standby = standby_factory(primary)
    hosts = (standby, primary) if attrs in ("primary", "read-write") else (primary, standby)
    chosen, other = (standby, primary) if attrs == "prefer-standby" else (primary, standby)
    ours = protect(chosen, conninfo=together(*hosts, target_session_attrs=attrs))
    with ours.receiving() as process:
        eventually(lambda: is_received_from(chosen))
        assert not is_received_from(other)
        with load_on(primary):
            eventually(lambda: primary.one("SELECT count(*) FROM busy") > 3000)
        primary.stop()
        assert standby.one("SELECT pg_promote()")
        ours.cluster = standby
        standby.load(rows=10000)
        eventually(lambda: is_received_from(standby), timeout=90)
        ours.catch_up()
        assert process.poll() is None
    assert history_name(2) in ours.stored()
    assert_same_wal(ours, timeline=2)


def test_a_receiver_that_wants_a_standby_takes_no_primary(
    cluster_factory, standby_factory, protect, eventually
):
    primary = cluster_factory(segment_megabytes=1)
    standby = standby_factory(primary)
    ours = protect(standby, conninfo=together(primary, standby, target_session_attrs="standby"))
    with ours.receiving("main", "--log-level", "DEBUG") as process:
        eventually(lambda: is_received_from(standby))
        standby.stop()
        eventually(lambda: ours.log.read_text().count("trying again in") >= 2)
        assert not is_received_from(primary)
        standby.start()
        eventually(lambda: is_received_from(standby), timeout=60)
        assert process.poll() is None
    standby.stop()
    assert "cannot connect" in ours.refusal("receive-wal", "main")
