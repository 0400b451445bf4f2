"""The network fails at random moments, under load: what was acknowledged is held, and is what the server wrote.

Each round lets it fail once, most often in the middle of a message, in ways that take turns.
"""

import itertools
import time

import pytest
from support.load import KEEPS_ITS_WAL, load_on
from support.protection import assert_same_wal, last_acknowledged, segment_size, wait_until

pytestmark = pytest.mark.timeout(7200)

# The server gives up a receiver of which it has heard nothing for so long.
SETTINGS = KEEPS_ITS_WAL | {"wal_sender_timeout": "2s"}


def test_segments_are_the_servers_after_a_network_that_fails_in_the_middle_of_messages(
    cluster_factory, protect, network, rounds, chance
):
    cluster = cluster_factory(SETTINGS, segment_megabytes=1)
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
