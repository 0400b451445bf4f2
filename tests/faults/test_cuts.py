"""The network fails at random moments, under load: what was acknowledged is held, and is what the server wrote.

Each round lets it fail once, most often in the middle of a message, in ways that take turns.
"""

import itertools
import json
import shutil
import time

import pytest
from support.load import KEEPS_ITS_WAL, load_on
from support.protection import assert_same_wal, last_acknowledged, segment_size, wait_until

from catalog.walname import history_name

pytestmark = pytest.mark.timeout(7200)

# The server gives up a receiver of which it has heard nothing for so long.
SETTINGS = KEEPS_ITS_WAL | {"wal_sender_timeout": "2s"}


def test_segments_are_the_servers_after_a_network_that_fails_in_the_middle_of_messages(
    cluster_factory, protect, network, rounds, chance
):
    cluster = cluster_factory(SETTINGS, segment_megabytes=1, start=False)
    if chance.random() < 0.5:
        cluster.listen()
    cluster.start()
    size, proxy = segment_size(cluster), network(cluster)
    ours = protect(cluster, conninfo=proxy.conninfo(), synchronous=chance.choice(["on", "off"]))
    ways = itertools.cycle(chance.sample(WAYS, len(WAYS)))
    with ours.receiving() as process, load_on(cluster):
        begin = position = ours.catch_up()
        for number in range(rounds):
            way, before, walsender = next(ways), position, ours.walsender()
            print(f"round {number + 1}, behind {position}: {way.__name__}")
            way(proxy, chance)
            position = max(position, last_acknowledged(ours))
            assert_same_wal(ours, position, size.number_before(before))
            wait_until(lambda old=walsender: ours.walsender() not in (None, old), timeout=120)
            assert process.poll() is None, ours.log.read_text()
        position = ours.catch_up()
    assert_same_wal(ours, position, size.number_before(begin))
    assert position - begin > rounds * size.nbytes / 4
    assert "Traceback" not in ours.log.read_text()


def test_a_promotion_is_followed_wherever_the_network_fails_meanwhile(
    cluster_factory, standby_factory, protect, network, rounds, chance
):
    """One address leads to one standby after the other; each is promoted while we stream from it, and cut off."""
    server = cluster_factory(SETTINGS, segment_megabytes=1)
    server.load(rows=1000)
    proxy = network(server)
    ours = protect(server, conninfo=proxy.conninfo())
    for timeline in range(2, rounds + 2):
        before, server = server, standby_factory(server, SETTINGS)
        proxy.lead_to(server)
        ours.cluster = server
        with ours.receiving() as process:
            before.load(rows=chance.randrange(5000))
            before.stop()
            # The end of the stream, the history and the beginning of the next one are of this size.
            nbytes, how = chance.randrange(1, 1500), chance.choice(["reset", "close"])
            print(f"timeline {timeline}: {how} after {nbytes} bytes")
            proxy.after(nbytes, "cut", how)
            assert server.one("SELECT pg_promote()")
            server.load(rows=chance.randrange(1, 5000))
            wait_until(lambda old=timeline - 1: timeline_of_stream(ours) > old, timeout=60)
            position = ours.catch_up()
            assert not proxy.is_armed and history_name(timeline) in ours.stored()
            assert process.poll() is None, ours.log.read_text()
        assert_same_wal(ours, position, timeline=timeline)
        shutil.rmtree(before.directory)


def timeline_of_stream(ours):
    """The timeline that the receiver says it receives."""
    return json.loads((ours.home() / "state" / "receiver.json").read_text())["timeline"]


def some_bytes(chance):
    return chance.randrange(1, 1 << 19)


def has_failed(proxy):
    wait_until(lambda: not proxy.is_armed, timeout=60)


def cut(proxy, chance):
    proxy.after(some_bytes(chance), "cut", chance.choice(["reset", "close"]))
    has_failed(proxy)


def grow_slow_and_cut(proxy, chance):
    proxy.delay(chance.uniform(0.001, 0.05))
    cut(proxy, chance)
    proxy.delay(0)


def stall_and_cut(proxy, chance):
    proxy.after(some_bytes(chance), "stall")
    has_failed(proxy)
    time.sleep(chance.uniform(0, 1))
    proxy.cut(chance.choice(["reset", "close"]))
    proxy.flow()


def stall_and_go_on_and_cut(proxy, chance):
    proxy.after(some_bytes(chance), "stall")
    has_failed(proxy)
    time.sleep(chance.uniform(0, 1))
    proxy.flow()
    cut(proxy, chance)


def cut_and_refuse(proxy, chance):
    proxy.refuse()
    cut(proxy, chance)
    time.sleep(chance.uniform(0, 2))
    proxy.admit()


def leave_the_server_unaware(proxy, chance):
    """The server's side of the connection holds the slot, until it has heard nothing for too long."""
    proxy.after(some_bytes(chance), "forget")
    has_failed(proxy)


def pass_no_answers(proxy, chance):
    """The server hears nothing, and ends the connection; the next one stalls until all is well again."""
    known = proxy.accepted
    proxy.stall("server")
    wait_until(lambda: proxy.accepted > known, timeout=60)
    proxy.flow()


WAYS = [
    cut,
    grow_slow_and_cut,
    stall_and_cut,
    stall_and_go_on_and_cut,
    cut_and_refuse,
    leave_the_server_unaware,
    pass_no_answers,
]
